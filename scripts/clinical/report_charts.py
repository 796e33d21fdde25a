"""The volume curve and the bullseye of a report, as coordinates for its templates, which draw them as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

from scripts.clinical.report_pictures import STRUCTURE_COLORS
from scripts.clinical.wall_thickness import SEGMENTS

THICKNESS_MM = (0.0, 20.0)
"""Ends of the bullseye's colour scale, the same for every patient so that two of them can be compared."""


@dataclass(frozen=True)
class Curve:
    """The volume curve in an SVG of ``width`` x ``height``; lengths in its units.

    Attributes:
        left, right, top, bottom: of the axes.
        x_label: what the horizontal axis shows.
        x_ticks, y_ticks: (place, text).
        lines: [name, colour, points ((x, y, what a pointer over it says), ...)].
        marks: (x, name) of the phases marked.
    """

    x_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[tuple[str, str, tuple[tuple[float, float, str], ...]], ...]
    marks: tuple[tuple[float, str], ...]
    width: int = 640
    height: int = 320
    left: int = 56
    right: int = 624
    top: int = 40
    bottom: int = 272


def curve(
    volumes_ml: Mapping[str, Sequence[float]], times_ms: Sequence[float] | None, marked: Mapping[str, int]
) -> Curve:
    """Volumes over time.

    Args:
        volumes_ml: structure to its P volumes, mL.
        times_ms: of the P phases; None: they are numbered from 1.
        marked: name to phase (from 0), such as {"ED": 0, "ES": 9}.
    """
    count = len(next(iter(volumes_ml.values())))
    at = [float(t) for t in times_ms] if times_ms is not None else [float(p) for p in range(1, count + 1)]
    low, high = min(at) if times_ms is None else min(0.0, *at), max(at)
    high = high if high > low else low + 1
    x_ticks = _ticks(low, high, integer=times_ms is None)
    y_ticks = _ticks(0.0, max(1.0, *(max(line) for line in volumes_ml.values())))

    def x(value: float) -> float:
        return round(Curve.left + 12 + (value - low) / (high - low) * (Curve.right - Curve.left - 24), 2)

    def y(value: float) -> float:
        return round(Curve.bottom - value / y_ticks[-1] * (Curve.bottom - Curve.top), 2)

    def said(name: str, phase: int) -> str:
        when = "" if times_ms is None else f", {at[phase]:.0f} ms"
        return f"{name.upper()} {volumes_ml[name][phase]:.1f} mL, phase {phase + 1}{when}"

    lines = tuple(
        (name.upper(), STRUCTURE_COLORS[name], tuple((x(t), y(v), said(name, p)) for p, (t, v) in enumerate(zip(at, line, strict=True))))
        for name, line in volumes_ml.items()
    )  # fmt: skip
    return Curve(
        x_label="phase" if times_ms is None else "time after the R wave (ms)",
        x_ticks=tuple((x(t), f"{t:g}") for t in x_ticks if low <= t <= high),
        y_ticks=tuple((y(v), f"{v:g}") for v in y_ticks),
        lines=lines,
        marks=tuple((x(at[phase]), name) for name, phase in marked.items()),
    )


def _ticks(low: float, high: float, integer: bool = False) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``."""
    return [float(t) for t in MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], integer=integer).tick_values(low, high)]


@dataclass(frozen=True)
class Sector:
    """One segment of a bullseye: SVG path data about the centre (0, 0), where its text stands, and what it says."""

    path: str
    x: float
    y: float
    color: str
    text_color: str
    text: str
    title: str


def bullseye(thickness_mm: Sequence[float | None]) -> tuple[Sector, ...]:
    """Segments 1 to 16 as in Cerqueira et al., Circulation 105:539, 2002: anterior up, septum left, base outside.

    Args:
        thickness_mm: of the 16 segments; None: not measured.
    """
    return tuple(_sector(number, value) for number, value in enumerate(thickness_mm))


def _sector(number: int, value: float | None) -> Sector:
    ring, place = divmod(number, 6)
    width = 90.0 if ring == 2 else 60.0
    outer, inner = (100.0 - 26.0 * ring, 74.0 - 26.0 * ring)
    middle = 90.0 + width * place  # degrees, counter-clockwise from the right
    begin, end = (_at(r, middle + a) for r, a in ((outer, -width / 2), (outer, width / 2)))
    back, close = (_at(r, middle + a) for r, a in ((inner, width / 2), (inner, -width / 2)))
    path = f"M{begin}A{outer:g} {outer:g} 0 0 0 {end}L{back}A{inner:g} {inner:g} 0 0 1 {close}Z"
    x, y = (float(v) for v in _at((outer + inner) / 2, middle).split())
    title = f"{number + 1} {SEGMENTS[number]}: {'not measured' if value is None else f'{value:.1f} mm'}"
    if value is None:
        return Sector(path, x, y, "#e3e6ea", "#000000", "-", title)
    color, dark = thickness_color(value)
    return Sector(path, x, y, color, "#ffffff" if dark else "#000000", f"{value:.1f}", title)


def thickness_color(mm: float) -> tuple[str, bool]:
    """The colour of a thickness, and whether it is so dark that white text has more contrast on it than black.

    By relative luminance (WCAG 2.2): at 0.179 the contrast ratios of black and white are equal, 4.6.
    """
    low, high = THICKNESS_MM
    rgb = colormaps["YlGnBu"](min(max((mm - low) / (high - low), 0.0), 1.0))[:3]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return to_hex(rgb), 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179


def _at(radius: float, degrees: float) -> str:
    """A point about the centre in SVG, whose y goes down."""
    angle = math.radians(degrees)
    return f"{radius * math.cos(angle):.2f} {-radius * math.sin(angle):.2f}"
