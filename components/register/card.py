"""The model card of a version: what it is, what it was made of, how it was scored, what it is not for.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from collections.abc import Mapping
from typing import Any

_COLUMNS = {"champion": "champion of then", "gray": "gray", "mean_by_lightness": "mean color by lightness"}


def model_card(
    generator: Mapping[str, Any],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tags: Mapping[str, str],
    sources: str,
) -> str:
    """Markdown.

    Args:
        generator: what generator.json holds.
        training: what training.json holds; what it lacks is said to be unknown.
        metrics: what metrics.json holds.
        tags: git_commit, data_version, recipe, weights_sha256.
        sources: a table of the training photographs with their licences.

    Its pictures are those of samples.png, beside it.
    """
    shape, protocol = generator["generator"], metrics["protocol"]
    encoder = "its own convolutions" if shape.get("encoder", "none") == "none" else f"{shape['encoder']} (ImageNet)"
    seconds = training.get("seconds")
    lasted = f"{seconds / 3600:.2f} hours" if isinstance(seconds, int | float) else "an unknown time"
    made_of = {
        "photographs": f"version `{tags['data_version']}` of `data/`",
        "recipe, code": f"`{tags['recipe']}`, commit `{tags['git_commit']}`",
        "training": f"{generator['images']} images, repeats counted: windows of {generator['crop']} pixels of "
        f"photographs of {generator['size']}",
        "machine": f"{lasted} on {training.get('device', 'an unknown device')}, torch {training.get('torch', '?')}",
        **({"labels": ", ".join(shape["labels"])} if shape.get("labels") else {}),
        "weights": f"SHA-256 `{tags['weights_sha256']}`",
    }
    return _CARD.format(
        encoder=encoder,
        channels=shape["channels"],
        levels=shape["levels"],
        sources=sources,
        examples=_examples(metrics),
        limits="\n".join(f"- {limit}" for limit in _limits(metrics, shape)),
        made_of="\n".join(f"| {name} | {text} |" for name, text in made_of.items()),
        table=_table(metrics),
        count=protocol["images"],
        size=protocol["size"],
        absent=", ".join(metrics.get("absent") or {}) or "nothing",
        definitions=_definitions(protocol),
    )


_CARD = """# Model card: colorizer

Adds plausible colors to a black-and-white photograph: a and b of CIELAB from L and noise, by a conditional GAN (U-Net,
encoder: {encoder}; {channels} channels, {levels} levels). L is kept as it is.

## What it was made of

| | |
| --- | --- |
{made_of}

Trained on these photographs, by folder; each keeps its own licence:

{sources}

## How good it is

{table}

On {count} photographs of {size} pixels that it never saw. Not measured: {absent}.

{definitions}

## Examples, good and bad

![Best, median and worst by l1_ab: gray, colored, true](samples.png)

Not chosen by hand: {examples}

## What it is for, and what not

For giving an impression of how a scene may have looked: family albums, illustrations, a start for coloring by hand; by
people who know that the colors are made up, and who say so to others.

Not for evidence of what anything, or anybody, looked like: skin, hair, uniforms, flags, goods, places. Not for passing
a colored photograph off as one taken in color. Not for medical, scientific or forensic pictures.

## Limits

- Its colors are guesses from what such things look like in its photographs. It is poor at what those show seldom, and
  at things that come in any color.
- Whom and what its photographs show, nobody has counted: how it fares by skin color or region is not known.
- The figures are of the photographs that were set aside, of the same sources as those that it learned from. Old
  photographs, with grain, scratches and fading, are another matter.
{limits}
"""


def _examples(metrics: Mapping[str, Any]) -> str:
    """The photographs of samples.png by name."""
    groups = []
    for group, photographs in metrics.get("examples", {}).items():
        named = ", ".join(f"`{each['path']}` ({_figure(each['l1_ab'])})" for each in photographs)
        groups.append(f"{group} {named}")
    return (
        "the test photographs by l1_ab: " + "; ".join(groups) if groups else "by l1_ab of the test photographs"
    ) + "."


def _limits(metrics: Mapping[str, Any], shape: Mapping[str, Any]) -> list[str]:
    """What the figures themselves say against it."""
    count = metrics["protocol"]["images"]
    found = [f"{count} test photographs are few: another {count} would show other figures."] if count < 1000 else []
    plain = metrics.get("mean_by_lightness", {})
    worse = [
        name
        for name, better in (("l1_ab", "down"), ("psnr", "up"), ("ssim", "up"))
        if all(isinstance(each.get(name), float) for each in (metrics, plain))
        and (metrics[name] < plain[name]) == (better == "up")
    ]
    if worse:
        found.append(f"Worse than the mean color of each lightness, which is nearly gray, by {', '.join(worse)}.")
    if shape.get("noise") == "none":
        found.append("It knows one coloring of each photograph.")
    return found


def _table(metrics: Mapping[str, Any]) -> str:
    others = [name for name in _COLUMNS if metrics.get(name)]
    rows = [
        f"| metric | this model | {' | '.join(_COLUMNS[name] for name in others)} |",
        f"| --- | ---: |{' ---: |' * len(others)}",
    ]
    for name, value in metrics.items():
        if isinstance(value, int | float):
            cells = [_figure(value), *(_figure(metrics[other].get(name)) for other in others)]
            rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _definitions(protocol: Mapping[str, Any]) -> str:
    described = protocol.get("metrics", {})
    return "\n".join(f"- `{name}`: {metric['definition']}" for name, metric in described.items())


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
