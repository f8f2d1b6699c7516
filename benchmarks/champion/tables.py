"""The tables of the champion's figures, as Markdown, and its goals: which are met, and where."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.champion.groups import ALL, SAMPLE

Part = Mapping[str, Any]
"""Figures over all photographs or of a slice, as the evaluation returns them."""
Verdict = tuple[str, bool]
"""A figure as text, and whether it meets its goal."""

NAMES = {
    "challenger": "champion",
    "champion": "before",
    "pix2pix": "pix2pix's recipe",
    "gray": "gray",
    "mean_by_lightness": "mean color by lightness",
}
SHARES = ("0.8", "1")
_DIGITS = {
    "l1_ab": 2,
    "l1_ab_best": 2,
    "psnr": 2,
    "ssim": 3,
    "colorfulness": 1,
    "colorfulness_error": 1,
    "colorfulness_correlation": 2,
    "ab_intersection": 3,
    "kid_efflite0": 4,
    "diversity": 2,
}


def tables(result: Part) -> str:
    """Formats all tables.

    Args:
        result: the content of metrics.json; its slices are the rows below that of all photographs.
    """
    parts = {ALL: {"photographs": result["protocol"]["images"], **result}} | result["slices"]
    skin = [_skin(result["skin"])] if result.get("skin", {}).get("faces") else []
    return "\n\n".join((_candidates(parts), _default(parts), _equal(parts), *skin, _goals(parts))) + "\n"


def _candidates(parts: Mapping[str, Part]) -> str:
    """Formats the figures of each candidate over all photographs and over the sample set."""
    rows = []
    for name in (name for name in (ALL, SAMPLE) if name in parts):
        for who in (who for who in NAMES if who == "challenger" or who in parts[name]):
            figures = parts[name] if who == "challenger" else parts[name][who]
            values = [_number(figures.get(metric), digits) for metric, digits in _DIGITS.items()]
            rows.append([name, NAMES[who], *values])
    return _table(["photographs", "", *_DIGITS], rows, texts=2)


def _default(parts: Mapping[str, Part]) -> str:
    """Formats the champion's figures at its default strength, by slice."""
    metrics = ("colorfulness_error", "colorfulness_correlation", "ab_intersection", "kid_efflite0")
    rows = []
    for name, part in parts.items():
        values = [_number(part.get(metric), _DIGITS[metric]) for metric in metrics]
        figures = [_number(part["l1_ab"], 2), below_gray(part)[0], _number(_share(part), 2), *values]
        rows.append([name, str(part["photographs"]), *figures])
    return _table(["default strength", "n", "l1_ab", "minus gray's", "colorfulness / true", *metrics], rows)


def _equal(parts: Mapping[str, Part]) -> str:
    """Formats the figures where champion and the one before are as colorful as a share of the photographs, by slice."""
    header, rows = ["equal colorfulness", "n"], []
    for share in SHARES:
        header += [f"l1_ab at {share}", "before", "difference", f"kid_efflite0 at {share}", "before"]
    for name, part in parts.items():
        row = [name, str(part["photographs"])]
        for share in SHARES:
            l1_ab, kid = (
                [_number(_at(part, share, who, metric), _DIGITS[metric]) for who in ("challenger", "champion")]
                for metric in ("l1_ab", "kid_efflite0")
            )
            row += [*l1_ab, _beaten(share)(part)[0], *kid]
        rows.append(row)
    return _table(header, rows)


def _skin(skin: Part) -> str:
    """Formats the errors inside faces, by the skin's lightness in the photograph."""
    metrics = ("chroma_error", "chroma_difference", "hue_error")
    rows = [
        [name, NAMES[who], str(each["faces"]), *(_number(each.get(metric), 1) for metric in metrics)]
        for name in skin["challenger"]
        for who in NAMES
        if who in skin
        for each in (skin[who][name],)
    ]
    return _table(["skin", "", "faces", *metrics], rows, texts=2)


def _goals(parts: Mapping[str, Part]) -> str:
    """Formats each goal's figure by slice, met or not, and how often it is met."""
    met, rows = dict.fromkeys(GOALS, 0), []
    for name, part in parts.items():
        row = [name, str(part["photographs"])]
        for goal, judge in GOALS.items():
            text, reached = judge(part)
            met[goal] += reached
            row.append(f"{text} {'met' if reached else '**not met**'}")
        rows.append(row)
    rows.append(["met", "", *(f"{count} of {len(parts)}" for count in met.values())])
    return _table(["goal", "n", *GOALS], rows)


def below_gray(part: Part) -> Verdict:
    """Judges l1_ab against gray's at the default strength: the interval of the difference is below zero."""
    return _interval(part["baseline_difference"]["gray"].get("l1_ab"))


def full_not_above_gray(part: Part) -> Verdict:
    """Judges l1_ab at the photographs' own colorfulness: it is not above gray's."""
    value = _at(part, "1", "challenger", "l1_ab")
    gap = None if value is None else value - part["gray"]["l1_ab"]
    return _number(gap, 2), gap is not None and gap <= 0


def kid_halved(part: Part) -> Verdict:
    """Judges kid_efflite0 at the default strength: at most half of that of the champion before."""
    ours, before = part.get("kid_efflite0"), part["champion"].get("kid_efflite0")
    met = ours is not None and before is not None and ours <= before / 2
    return f"{_number(ours, 4)} / {_number(before, 4)}", met


def _beaten(share: str) -> Callable[[Part], Verdict]:
    """Makes the judge of l1_ab against the champion before, at a share of the photographs' colorfulness."""
    return lambda part: _interval(part["equal_colorfulness"].get(share, {}).get("difference", {}).get("l1_ab"))


def _bound(
    figure: Callable[[Part], float | None], digits: int, *, least: float = 0, most: float = 1e9
) -> Callable[[Part], Verdict]:
    """Makes the judge of a figure with bounds."""

    def judge(part: Part) -> Verdict:
        value = figure(part)
        return _number(value, digits), value is not None and least <= value <= most

    return judge


def _share(part: Part) -> float | None:
    colors, real = part["colorfulness"], part["colorfulness_real"]
    return colors / real if colors is not None and real else None


GOALS: dict[str, Callable[[Part], Verdict]] = {
    "l1_ab minus gray's: surely below 0": below_gray,
    "colorfulness / true: 0.8 or more": _bound(_share, 2, least=0.8),
    "at full colorfulness, l1_ab minus gray's: not above 0": full_not_above_gray,
    "at 0.8 of it, l1_ab minus the champion's before: surely below 0": _beaten("0.8"),
    "at full colorfulness: surely below 0": _beaten("1"),
    "colorfulness_error: 12 at most": _bound(lambda part: part["colorfulness_error"], 1, most=12),
    "its correlation: 0.5 or more": _bound(lambda part: part["colorfulness_correlation"], 2, least=0.5),
    "ab_intersection: 0.8 or more": _bound(lambda part: part["ab_intersection"], 3, least=0.8),
    "kid_efflite0 / before: half at most": kid_halved,
}
"""Goal -> its judge. The issue asks for the first five of every row, for the others of all photographs."""


def _at(part: Part, share: str, who: str, metric: str) -> float | None:
    """Returns a model's figure at a share of the photographs' colorfulness; None where its curve does not reach it."""
    value: float | None = part["equal_colorfulness"].get(share, {}).get(who, {}).get(metric)
    return value


def _interval(gap: Mapping[str, float] | None) -> Verdict:
    if gap is None:
        return "–", False
    return f"{gap['value']:+.2f} ({gap['low']:+.2f} to {gap['high']:+.2f})", gap["high"] < 0


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))
