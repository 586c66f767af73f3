"""Drawing: two kinds of plot as SVG, on a scale of powers of ten. So few lines are less to keep than a library is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LABELS, _MARGIN, _BAR = 820, 250, 16, 20
_TOP, _BOTTOM = 44, 30
_STYLE = (
    "<style>text{font:12px sans-serif;fill:#24292f}.title{font-size:14px;font-weight:600}.dim{fill:#57606a}"
    ".grid{stroke:#d0d7de}.whisker{stroke:#24292f}</style>"
)
COLOURS = {"ours": "#1f883d", "hears": "#0969da", "other": "#afb8c1", "limit": "#d4a72c"}


@dataclass(frozen=True)
class Bar:
    """One candidate: its median, its spread, and the text at its end."""

    label: str
    kind: str
    median: float
    low: float
    high: float
    text: str


class _Scale:
    """From a number to a place, by powers of ten."""

    def __init__(self, numbers: Sequence[float], start: float, end: float) -> None:
        self.first = math.floor(math.log10(min(numbers)))
        self.last = max(self.first + 1, math.ceil(math.log10(max(numbers))))
        self._start, self._end = start, end

    def __call__(self, number: float) -> float:
        part = (math.log10(number) - self.first) / (self.last - self.first)
        return round(self._start + part * (self._end - self._start), 1)

    @property
    def powers(self) -> list[float]:
        """Each power of ten on it."""
        return [10.0**power for power in range(self.first, self.last + 1)]


def bars(title: str, candidates: Sequence[Bar], names: Mapping[float, str]) -> str:
    """A bar for each, the shortest first; `names` says what the powers of ten are called."""
    ordered = sorted(candidates, key=lambda bar: bar.median)
    height = _TOP + _BAR * len(ordered) + _BOTTOM
    scale = _Scale([number for bar in ordered for number in (bar.low, bar.high)], _LABELS, _WIDTH - 190)
    bottom = height - _BOTTOM
    parts = [_line(scale(power), _TOP - 6, scale(power), bottom, "grid") for power in scale.powers]
    parts += [
        _text(scale(power), bottom + 18, names.get(power, f"{power:g}"), "dim", "middle") for power in scale.powers
    ]
    for place, bar in enumerate(ordered):
        y = _TOP + _BAR * place
        parts.append(_text(_LABELS - 8, y + 13, bar.label, "", "end"))
        width = max(1.0, scale(bar.median) - _LABELS)
        parts.append(
            f'<rect x="{_LABELS}" y="{y + 2}" width="{width:.1f}" height="{_BAR - 6}" fill="{COLOURS[bar.kind]}"/>'
        )
        parts.append(_line(scale(bar.low), y + 9, scale(bar.high), y + 9, "whisker"))
        parts.append(_text(max(scale(bar.high), scale(bar.median)) + 6, y + 13, bar.text, "dim", "start"))
    return _svg(title, height, parts)


def lines(title: str, series: Mapping[str, Sequence[tuple[float, float]]], kinds: Mapping[str, str], unit: str) -> str:
    """A line for each series of points."""
    height = 360
    points = [point for of_series in series.values() for point in of_series]
    across = _Scale([x for x, _ in points], 90, _WIDTH - 200)
    up = _Scale([y for _, y in points], height - 50, _TOP)
    parts = [_line(90, up(power), _WIDTH - 200, up(power), "grid") for power in up.powers]
    parts += [_text(82, up(power) + 4, f"{power:,g} {unit}", "dim", "end") for power in up.powers]
    parts += [_text(across(power), height - 28, f"{power:,.0f}", "dim", "middle") for power in across.powers]
    for name, of_series in series.items():
        path = " ".join(f"{across(x)},{up(y)}" for x, y in of_series)
        colour = COLOURS[kinds[name]]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{across(x)}" cy="{up(y)}" r="3.5" fill="{colour}"/>' for x, y in of_series]
        x, y = of_series[-1]
        parts.append(_text(across(x) + 10, up(y) + 4, name, "", "start"))
    return _svg(title, height, parts)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">'
    )
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, _STYLE, ground, _text(_MARGIN, 24, title, "title", "start"), *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{name} text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/>'
