"""The thorax around the heart of the phantom: body outline, lungs, diaphragm, liver and other organs.

Thorax frame, in mm: the origin lies on the axis of the left ventricle, x grows to the right and y downwards in
the usual short-axis view (sternum left, lung above, liver below), z from the base of the heart to its apex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.data.heart import HeartShape
from scripts.data.parts import ANGLES, FloatArray, Part, PartArray, polar


@dataclass(frozen=True)
class Ellipse:
    """An organ's outline in the thorax frame: centre and semi-axes in mm, drift of the centre per mm of z."""

    part: Part
    x: float
    y: float
    half_width: float
    half_height: float
    drift_x: float = 0.0
    drift_y: float = 0.0


@dataclass(frozen=True)
class Thorax:
    """Body outline and organs. Lengths in mm; a level is 0 at the base of the heart and 1 at its apex."""

    fat: float
    muscle: float
    reach: float
    floor: float
    length: float
    width: float
    ripple: tuple[float, ...]
    lung_vessels: tuple[Ellipse, ...]
    liver_vessels: tuple[Ellipse, ...]
    organs: tuple[Ellipse, ...]
    centre: tuple[float, float] = (30.0, 35.0)

    @classmethod
    def draw(cls, rng: np.random.Generator, heart: HeartShape, fat: float) -> Thorax:
        """A thorax that fits around ``heart``, with ``fat`` mm under the skin over the sternum."""
        floor = heart.epi_radius + float(rng.uniform(3.0, 7.0))
        return cls(
            fat=fat,
            muscle=float(rng.uniform(9.0, 14.0)),
            reach=heart.epi_radius + heart.rv_width + 5.0,
            floor=floor,
            length=heart.epi_apex,
            width=float(rng.uniform(115.0, 140.0)),
            ripple=tuple(rng.uniform(-1.0, 1.0, 8).tolist()),
            lung_vessels=_draw_vessels(rng, 50, (-40.0, 120.0), (-120.0, 60.0), (0.8, 2.8)),
            liver_vessels=_draw_vessels(rng, 16, (-90.0, 20.0), (50.0, 160.0), (1.5, 4.5)),
            organs=_draw_organs(rng, floor),
        )

    def parts(self, x: FloatArray, y: FloatArray, z: FloatArray) -> PartArray:
        """:class:`Part` of every point of the planes ``z``: ``x``, ``y`` (H, W) mm; (len(z), H, W) uint8."""
        radius, bins = polar(x - self.centre[0], y - self.centre[1])
        return np.stack([self._plane(x, y, radius, bins, float(level)) for level in z])

    def _plane(
        self,
        x: FloatArray,
        y: FloatArray,
        radius: FloatArray,
        bins: NDArray[np.intp],
        z: float,
    ) -> PartArray:
        level = float(np.clip(z / self.length, -0.3, 1.3))
        skin, fat = self._outline(level)
        inner = skin - fat - self.muscle
        rib = np.cos(15.0 * ANGLES + 3.0 * self.ripple[7]) > 0.35
        parts = np.zeros(radius.shape, np.uint8)
        parts[radius < skin[bins]] = Part.FAT
        parts[radius < (skin - fat)[bins]] = Part.MUSCLE
        marrow = np.where(rib, inner + 0.55 * self.muscle, 0.0)
        parts[radius < marrow[bins]] = Part.MARROW
        parts[radius < (inner + 1.5)[bins]] = Part.MUSCLE
        cavity = radius < inner[bins]
        parts[cavity] = Part.LUNG
        for vessel in self.lung_vessels:
            _stamp(parts, x, y, z, vessel, Part.LUNG)
        self._abdomen(parts, x, y, z, level, cavity)
        return parts

    def _outline(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Skin radius and subcutaneous fat thickness (mm) over the angle bins, around the body's centre."""
        cos, sin = np.cos(ANGLES), np.sin(ANGLES)
        fat = self.fat * np.clip(0.6 + 0.5 * np.cos(ANGLES - 3.4), 0.2, 1.1)
        reach = self.reach + (48.0 - self.reach) * level
        left = self.centre[0] + reach + self.muscle + self.fat
        width = np.where(cos < 0, left, self.width * (1.0 - 0.15 * level))
        height = np.where(sin < 0, 180.0 - 62.0 * level + 0.5 * self.fat, 290.0)
        skin = (np.abs(cos / width) ** 2.4 + np.abs(sin / height) ** 2.4) ** (-1.0 / 2.4)
        for k in range(4):
            wave = np.cos((k + 2) * ANGLES + 6.0 * self.ripple[k + 4] + level)
            skin *= 1.0 + 0.012 * self.ripple[k] * wave
        return skin.astype(np.float32), fat.astype(np.float32)

    def _abdomen(
        self,
        parts: PartArray,
        x: FloatArray,
        y: FloatArray,
        z: float,
        level: float,
        cavity: NDArray[np.bool_],
    ) -> None:
        """Everything below the diaphragm, which the heart rests on; painted into ``parts``."""
        dome = self.floor * (1.0 - 0.3 * level) + 0.0016 * (x + 10.0) ** 2 + (0.22 - 0.4 * level) * x
        depth = y - dome
        pad = 26.0 * np.exp(-(((x + 0.85 * self.reach) / 22.0) ** 2)) + 2.5
        parts[cavity & (depth > -pad)] = Part.FAT
        below = cavity & (depth > 0)
        parts[below] = Part.MUSCLE
        inside = cavity & (depth > 2.2)
        parts[inside] = Part.FAT
        liver_edge = 18.0 + 30.0 * level - 0.25 * (y - self.floor) + 6.0 * np.sin(y / 17.0)
        parts[inside & (x < liver_edge)] = Part.LIVER
        for vessel in self.liver_vessels:
            _stamp(parts, x, y, z, vessel, Part.LIVER)
        for organ in self.organs:
            _stamp(parts, x, y, z, organ, None)


def _draw_vessels(
    rng: np.random.Generator,
    count: int,
    x: tuple[float, float],
    y: tuple[float, float],
    size: tuple[float, float],
) -> tuple[Ellipse, ...]:
    """Vessels that cross the slices obliquely; each pair is the range of a uniform draw in mm."""
    low = (x[0], y[0], size[0], size[0], -0.6, -0.6)
    high = (x[1], y[1], size[1], size[1], 0.6, 0.6)
    return tuple(Ellipse(Part.VESSEL, *row) for row in rng.uniform(low, high, (count, 6)).tolist())


def _draw_organs(rng: np.random.Generator, floor: float) -> tuple[Ellipse, ...]:
    """Aorta, caval vein, spine, stomach, spleen and bowel; later ones cover earlier ones."""

    def shift() -> float:
        return float(rng.uniform(-6.0, 6.0))

    aorta_x = 44.0 + shift()
    spine_x, spine_y = 62.0 + shift(), floor + 72.0 + shift()
    kinds = 3 * (Part.MUSCLE, Part.LIVER, Part.MUSCLE, Part.SPLEEN, Part.LUNG, Part.LIVER, Part.FLUID)
    boxes = rng.uniform((5.0, floor + 35.0, 6.0, 6.0), (110.0, floor + 150.0, 18.0, 18.0), (len(kinds), 4))
    loops = [Ellipse(kind, *box) for kind, box in zip(kinds, boxes.tolist(), strict=True)]
    return (
        *loops,
        Ellipse(Part.SPLEEN, 98.0 + shift(), floor + 42.0 + shift(), 18.0, 38.0),
        Ellipse(Part.MUSCLE, 48.0 + shift(), floor + 30.0 + shift(), 25.0, 20.0, -0.1, -0.1),
        Ellipse(Part.SPLEEN, 50.0 + shift(), floor + 29.0 + shift(), 12.0, 9.0, -0.1, -0.1),
        Ellipse(Part.VESSEL, 2.0 + shift(), floor + 24.0 + shift(), 9.0, 12.0, 0.2, 0.3),
        Ellipse(Part.MUSCLE, spine_x, spine_y, 24.0, 21.0),
        Ellipse(Part.MARROW, spine_x, spine_y, 21.0, 18.0),
        Ellipse(Part.FLUID, spine_x + 24.0, spine_y + 14.0, 9.0, 9.0),
        Ellipse(Part.MUSCLE, spine_x + 24.0, spine_y + 14.0, 5.0, 4.0),
        Ellipse(Part.THIN_WALL, aorta_x, floor + 22.0, 13.5, 13.5, -0.1, 0.2),
        Ellipse(Part.VESSEL, aorta_x, floor + 22.0, 11.5, 11.5, -0.1, 0.2),
    )


def _stamp(
    parts: PartArray,
    x: FloatArray,
    y: FloatArray,
    z: float,
    ellipse: Ellipse,
    only_on: Part | None,
) -> None:
    """Paint an ellipse into ``parts``, over everything inside the body or only over one part.

    ``x`` and ``y`` must be a regular grid (it may be rotated): only a window around the ellipse is looked at.
    """
    centre_x, centre_y = ellipse.x + ellipse.drift_x * z, ellipse.y + ellipse.drift_y * z
    steps = np.array([[x[1, 0] - x[0, 0], x[0, 1] - x[0, 0]], [y[1, 0] - y[0, 0], y[0, 1] - y[0, 0]]])
    row, column = np.linalg.solve(steps, [centre_x - x[0, 0], centre_y - y[0, 0]])
    size = max(ellipse.half_width, ellipse.half_height) / np.hypot(steps[0], steps[1]).min() + 1.0
    window = tuple(slice(max(0, int(at - size)), max(0, int(at + size) + 2)) for at in (row, column))
    across = (x[window] - centre_x) / ellipse.half_width
    down = (y[window] - centre_y) / ellipse.half_height
    there = parts[window]
    inside = across**2 + down**2 < 1.0
    inside &= (there == only_on) if only_on is not None else (there != Part.OUTSIDE)
    there[inside] = ellipse.part
