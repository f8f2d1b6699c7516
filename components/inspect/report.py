"""The data report: one HTML page that needs no other file, no script and no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.inspect.config import InspectConfig
from components.inspect.distributions import MEANINGS, OF_FILES, OF_NAMES, OF_PIXELS, Counts, Distributions
from components.inspect.drift import CHANCE, Drift
from components.inspect.rejected import EACH, Rejected
from components.shared.page import render

_NAMES = 12  # the most frequent names of a distribution by names


@dataclass(frozen=True)
class Bar:
    """Holds a bin's share of our photographs and of the champion's, 0..1; None when the latter is unknown."""

    name: str
    ours: float
    theirs: float | None


def write_report(
    path: Path,
    ours: Distributions,
    theirs: Distributions | None,
    drifts: Mapping[str, Drift],
    result: Mapping[str, Any],
    rejected: Mapping[str, Rejected],
    config: InspectConfig,
) -> None:
    """Writes the page.

    Args:
        path: of the page.
        ours: the distributions of the dataset.
        theirs: the distributions of the champion's dataset; None when unknown.
        drifts: distribution -> drift.
        result: content of drift.json.
        rejected: kind of the reason -> photographs.
        config: holds the limits.
    """
    measures = OF_FILES | OF_PIXELS
    page = render(
        Path(__file__).with_name("data.html.jinja"),
        data=ours,
        theirs=theirs,
        total=sum(ours.files.values()),
        kept=sum(ours.files[split] for split in ("train", "val", "test")),
        drifts=drifts,
        result=result,
        rejected=rejected,
        each=EACH,
        config=config,
        chance=CHANCE,
        meanings=MEANINGS,
        units={name: measures[name].unit if name in measures else "" for name in MEANINGS},
        bars={
            name: _bars(counts, theirs.counts.get(name) if theirs else None, name in OF_NAMES)
            for name, counts in ours.counts.items()
        },
    )
    path.write_text(page, encoding="utf-8")


def _bars(ours: Counts, theirs: Counts | None, names: bool) -> list[Bar]:
    """Returns the bars: numbers in the order of their bins, from the first filled to the last; names by frequency."""
    both = [counts for counts in (ours, theirs) if counts]
    bins = list(dict.fromkeys(name for counts in both for name in counts))
    if names:
        bins = sorted(bins, key=lambda name: -max(_share(counts, name) for counts in both))[:_NAMES]
    else:
        filled = [place for place, name in enumerate(bins) if any(counts[name] for counts in both)]
        bins = bins[filled[0] : filled[-1] + 1] if filled else []
    return [Bar(name or "none", _share(ours, name), _share(theirs, name) if theirs else None) for name in bins]


def _share(counts: Counts, name: str) -> float:
    return counts.get(name, 0) / max(1, sum(counts.values()))
