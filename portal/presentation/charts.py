"""Bar chart geometry for the SVG of `macros/charts.html`."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

# The drawing is this wide and high; the page stretches it to the room it has.
WIDTH, HEIGHT = 600.0, 160.0
# So many labels fit under a chart on the narrowest screen.
LABELS = 6
_BINARY = 1024
_STEPS = (1, 2, 3, 4, 5, 6, 8)
_GAP = 0.24  # of a bar's place


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of one series, in the drawing's own units."""

    series: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Place:
    """The bars at one label, the first series lowest, and the strip that reacts to the pointer."""

    label: str
    is_labelled: bool
    x: float
    width: float
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, and the round number at which the scale ends."""

    top: int | float
    places: list[Place]

    @property
    def is_empty(self) -> bool:
        return not any(bar.height for place in self.places for bar in place.bars)


def bars(labels: Sequence[str], series: Sequence[Sequence[Decimal | float]], *, binary: bool = False) -> Chart:
    """Stack the series, each with one value for a label, into one bar for each label.

    Values below zero count as zero. `binary` ends the scale at a round number of KiB, MiB and so on.
    """
    values = [[max(0.0, float(value)) for value in one] for one in series]
    if any(len(one) != len(labels) for one in values):
        raise ValueError("each series of a chart needs one value for each label")
    top = _round_up(max((sum(stack) for stack in zip(*values, strict=True)), default=0.0), binary=binary)
    share = WIDTH / max(1, len(labels))
    every = max(1, -(-len(labels) // LABELS))
    return Chart(
        top,
        [
            Place(
                label,
                # Counted from the newest, which is what is looked for.
                is_labelled=(len(labels) - 1 - position) % every == every // 2,
                x=round(position * share, 2),
                width=round(share, 2),
                bars=_stacked([one[position] for one in values], position * share, share, top),
            )
            for position, label in enumerate(labels)
        ],
    )


def _stacked(values: Sequence[float], x: float, share: float, top: float) -> list[Bar]:
    made, base = [], HEIGHT
    for number, value in enumerate(values):
        height = value / top * HEIGHT
        base -= height
        made.append(
            Bar(number, round(x + share * _GAP / 2, 2), round(base, 2), round(share * (1 - _GAP), 2), round(height, 2))
        )
    return made


def _round_up(value: float, *, binary: bool) -> int | float:
    """Return the smallest round number that is no smaller and has a half worth writing."""
    if value <= 10 and not binary:
        return max(2, 2 * ceil(value / 2))
    unit = 1
    while binary and value >= unit * _BINARY:
        unit *= _BINARY
    size = 1
    while True:
        for step in _STEPS:
            if unit * size * step >= value:
                return unit * size * step
        size *= 10
