"""Analytic geometry of a beating heart and of the thorax around it, in short-axis slices.

The ventricles are closed curves in polar coordinates that change smoothly with the position z along the long
axis, so that a volume is an integral of the geometry and owes nothing to any voxel grid.

Heart frame, in mm: the origin lies on the axis of the left ventricle in the mitral plane at end-diastole, z
grows from base to apex, angles count from the direction of the right ventricle. Thorax frame, in mm: same
origin, x to the right and y down in the usual short-axis view (sternum left, lung above, liver below).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
PartArray = NDArray[np.uint8]

_ANGLES = (np.arange(2048) + 0.5) * (2.0 * np.pi / 2048)  # rad; curves are looked up at these
_WIDEST = 0.2  # where the left ventricle is widest, as a fraction of its length from the base


class Part(IntEnum):
    """What a point of the scene belongs to; ``OUTSIDE`` means "not heart", and air where there is no body."""

    OUTSIDE = 0
    FAT = 1
    MUSCLE = 2
    MARROW = 3
    LUNG = 4
    LIVER = 5
    SPLEEN = 6
    FLUID = 7
    VESSEL = 8
    RV_BLOOD = 9
    RV_TRABECULA = 10
    THIN_WALL = 11
    LV_WALL = 12
    LV_BLOOD = 13
    PAPILLARY = 14


def contraction(phase: float, end_systole: float) -> float:
    """Degree of contraction in [0, 1]: 0 at ``phase`` 0 (end-diastole), 1 at ``end_systole``; periodic.

    Cosine ejection, then early filling (80 %), diastasis and the atrial kick (20 %).
    """
    phase %= 1.0
    if phase <= end_systole:
        return float(0.5 - 0.5 * np.cos(np.pi * phase / end_systole))
    late = (phase - end_systole) / (1.0 - end_systole)
    early_filling = _smooth_step(late / 0.55)
    atrial_kick = _smooth_step((late - 0.7) / 0.3)
    return 1.0 - 0.8 * early_filling - 0.2 * atrial_kick


def _smooth_step(value: float) -> float:
    clipped = min(max(value, 0.0), 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def _bump(angle: FloatArray, centre: float, sharpness: float) -> FloatArray:
    """Periodic bump of height 1 at ``centre`` (von Mises shape); width in rad about 1 / sqrt(sharpness)."""
    return np.exp(sharpness * (np.cos(angle - centre) - 1.0))


@dataclass(frozen=True)
class HeartShape:
    """The two ventricles at one instant. Lengths in mm, angles in rad, the rest relative."""

    lv_base: float
    endo_apex: float
    epi_apex: float
    endo_radius: float
    epi_radius: float
    rv_base: float
    rv_apex: float
    rv_width: float
    rv_span: float
    tilt: float = 0.0
    oval: float = 0.0
    oval_angle: float = 0.0
    septal_thickening: float = 0.0
    septal_flattening: float = 0.0
    papillary_turn: float = 0.0
    infarct_angle: float = 0.0
    infarct_endo: float = 0.0
    infarct_epi: float = 0.0

    def boundaries(
        self,
        angle: FloatArray,
        z: FloatArray | float,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Distance in mm from the axis: endocardium, epicardium, inner face of the RV free wall.

        ``angle`` (rad) and ``z`` (mm) broadcast. Where a structure is absent its curve falls together with
        the next inner one (no cavity: 0; no right ventricle: the epicardium).
        """
        oval = 1.0 + self.oval * np.cos(2.0 * (angle - self.oval_angle))
        infarct = _bump(angle, self.infarct_angle, 3.0)
        shared = oval * (1.0 - self.septal_flattening * _bump(angle, 0.0, 1.5))
        thick_septum = 1.0 - self.septal_thickening * _bump(angle, 0.0, 2.0)
        endo = self.endo_radius * _ellipsoid(z, self.lv_base, self.endo_apex) * shared
        endo = endo * thick_septum * (1.0 + self.infarct_endo * infarct)
        epi = self.epi_radius * _ellipsoid(z, self.lv_base, self.epi_apex) * shared
        epi = np.maximum(epi * (1.0 + self.infarct_epi * infarct), endo)
        return endo, epi, epi + self._rv_thickness(angle, z)

    def _rv_thickness(self, angle: FloatArray, z: FloatArray | float) -> FloatArray:
        along = np.clip((z - self.rv_base) / (self.rv_apex - self.rv_base), 0.0, 1.0)
        span = self.rv_span * (1.0 - 0.3 * along)
        across = (np.mod(angle + np.pi, 2.0 * np.pi) - np.pi) / span
        lobe = np.clip(1.0 - np.abs(across) ** 3, 0.0, 1.0) * (1.0 + 0.25 * across)
        return self.rv_width * np.sqrt(1.0 - along**1.6) * lobe

    def volumes_ml(self, angles: int = 240, planes: int = 240) -> dict[str, float]:
        """Volumes in mL of 'rv' and 'lv' cavity and 'myocardium', by quadrature in polar coordinates.

        A tilted valve plane cuts each ray at a known radius, so only angle and z are sampled (midpoints).
        """
        angle = ((np.arange(angles) + 0.5) * (2.0 * np.pi / angles))[None, :]
        start = min(self.lv_base, self.rv_base) - abs(self.tilt) * (self.epi_radius + self.rv_width)
        step = (self.epi_apex - start) / planes
        z = (start + (np.arange(planes) + 0.5) * step)[:, None]
        endo, epi, rv = self.boundaries(angle, z)
        slope = self.tilt * np.sin(angle)
        slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
        cell = step * (2.0 * np.pi / angles) / 1000.0

        def volume(inner: FloatArray | float, outer: FloatArray, base: float) -> float:
            cut = (z - base) / slope
            low = np.maximum(np.where(slope < 0, cut, 0.0), inner)
            high = np.minimum(np.where(slope > 0, np.maximum(cut, 0.0), np.inf), outer)
            return float(0.5 * cell * np.sum(np.where(high > low, high**2 - low**2, 0.0)))

        return {
            "rv": volume(epi, rv, self.rv_base),
            "myocardium": volume(endo, epi, self.lv_base),
            "lv": volume(0.0, endo, self.lv_base),
        }

    def fitted(self, volumes_ml: dict[str, float], akinetic_from: HeartShape | None = None) -> HeartShape:
        """The same heart with radii scaled until it holds ``volumes_ml`` (keys as in :meth:`volumes_ml`).

        With ``akinetic_from`` the infarcted sector stays where that shape has it, endocardium and epicardium.
        """
        shape = self
        wall_and_cavity = volumes_ml["lv"] + volumes_ml["myocardium"]
        for _ in range(20):
            now = shape.volumes_ml()
            if all(abs(now[name] / wanted - 1.0) < 1e-4 for name, wanted in volumes_ml.items()):
                break
            shape = replace(
                shape,
                endo_radius=shape.endo_radius * (volumes_ml["lv"] / now["lv"]) ** 0.5,
                epi_radius=shape.epi_radius * (wall_and_cavity / (now["lv"] + now["myocardium"])) ** 0.5,
                rv_width=shape.rv_width * (volumes_ml["rv"] / now["rv"]) ** 0.8,
            )
            if akinetic_from is not None:
                still = akinetic_from
                endo = still.endo_radius * (1.0 + still.infarct_endo) / shape.endo_radius - 1.0
                epi = still.epi_radius * (1.0 + still.infarct_epi) / shape.epi_radius - 1.0
                shape = replace(shape, infarct_endo=endo, infarct_epi=epi)
        return shape

    def between(self, other: HeartShape, fraction: float) -> HeartShape:
        """The shape ``fraction`` in [0, 1] of the way to ``other``."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return HeartShape(**{name: (1.0 - fraction) * a + fraction * b for name, (a, b) in pairs.items()})

    def parts(self, x: FloatArray, y: FloatArray, z: FloatArray) -> PartArray:
        """:class:`Part` of every point of the planes ``z``: ``x``, ``y`` any shape S in the heart frame, mm.

        Returns (len(z), *S) uint8. ``y`` is the coordinate along which the valve planes are tilted.
        """
        radius, bins = _polar(x, y)
        return np.stack([self._plane(x, y, radius, bins, float(level)) for level in z])

    def _plane(
        self,
        x: FloatArray,
        y: FloatArray,
        radius: FloatArray,
        bins: NDArray[np.intp],
        z: float,
    ) -> PartArray:
        lift = self.tilt * y
        endo, epi, rv = (curve.astype(np.float32) for curve in self.boundaries(_ANGLES, z))
        wall = rv + np.clip(0.6 * (rv - epi), 0.0, 2.6)
        trabecula, rv_trabecula = self._trabeculae(endo, epi, rv, z)
        parts = np.zeros(radius.shape, np.uint8)
        parts[radius < self._fat_edge(wall, z)[bins]] = Part.FAT
        parts[radius < wall[bins]] = Part.THIN_WALL
        parts[radius < rv[bins]] = Part.RV_TRABECULA
        parts[radius < rv_trabecula[bins]] = Part.RV_BLOOD
        in_epi = radius < epi[bins]
        atrium = in_epi & (lift > z - self.lv_base)
        outflow = ~in_epi & (lift > z - self.rv_base) & (parts >= Part.RV_BLOOD)
        parts[in_epi] = Part.LV_WALL
        in_endo = radius < endo[bins]
        parts[in_endo] = Part.PAPILLARY
        parts[in_endo & (radius < trabecula[bins]) & ~self._papillary(x, y, z)] = Part.LV_BLOOD
        parts[outflow & (parts != Part.THIN_WALL)] = Part.VESSEL
        if atrium.any():
            parts[atrium] = self._atrium(x, y, radius, epi[bins])[atrium]
        return parts

    def _fat_edge(self, wall: FloatArray, z: float) -> FloatArray:
        """Outer edge of the epicardial fat: thickest in the grooves where the ventricles join."""
        groove = _bump(_ANGLES, self.rv_span, 14.0) + _bump(_ANGLES, -self.rv_span, 14.0)
        near_base = np.clip(1.0 - (z - self.lv_base) / 60.0, 0.3, 1.2)
        exists = np.clip((wall - 1.0) / 4.0, 0.0, 1.0)
        return wall + exists * (0.4 + near_base * (5.0 * groove + 2.0 * _bump(_ANGLES, 1.2, 2.0)))

    def _trabeculae(
        self,
        endo: FloatArray,
        epi: FloatArray,
        rv: FloatArray,
        z: float,
    ) -> tuple[FloatArray, FloatArray]:
        """Inner edges of the trabeculated layers of both ventricles: coarser towards the apex."""
        along = float(np.clip((z - self.lv_base) / (self.endo_apex - self.lv_base), 0.0, 1.0))
        ripple = np.cos(12.0 * _ANGLES + 0.31 * z) * np.cos(7.0 * _ANGLES - 0.23 * z)
        free = 1.0 - _bump(_ANGLES, 0.0, 1.5)  # the septum is smooth
        lv = endo * (1.0 - (0.07 + 0.25 * along) * np.clip(ripple, 0.0, 1.0) * free)
        rv_ripple = np.clip(np.cos(13.0 * _ANGLES + 0.4 * z) * np.cos(8.0 * _ANGLES - 0.3 * z), 0.0, 1.0)
        return lv, rv - np.maximum(rv - epi, 0.0) * (0.04 + 0.4 * along) * rv_ripple

    def _papillary(self, x: FloatArray, y: FloatArray, z: float) -> NDArray[np.bool_]:
        """The two papillary muscles, at the anterior and the posterior third of the lateral wall."""
        along = (z - self.lv_base) / (self.endo_apex - self.lv_base)
        found = np.zeros(x.shape, bool)
        if not 0.25 < along < 0.9:
            return found
        for angle in (2.15 + self.papillary_turn, -2.3 + self.papillary_turn):
            endo = float(self.boundaries(np.array([angle]), z)[0][0])
            distance = endo - 6.5
            size = 5.2 * min(1.0, (along - 0.25) / 0.1)
            found |= (x - distance * np.cos(angle)) ** 2 + (y - distance * np.sin(angle)) ** 2 < size**2
        return found

    def _atrium(self, x: FloatArray, y: FloatArray, radius: FloatArray, epi: FloatArray) -> PartArray:
        """Above the mitral plane: left atrium within a thin wall, and the aortic root beside the septum."""
        parts = np.where(radius < 0.84 * epi, Part.VESSEL, Part.THIN_WALL).astype(np.uint8)
        parts[radius > 0.91 * epi] = Part.FAT
        root = 0.42 * self.epi_radius
        from_root = np.hypot(x - 1.15 * root, y + 0.35 * root)
        parts[from_root < root + 1.8] = Part.THIN_WALL
        parts[from_root < root - 0.4] = Part.VESSEL
        return parts


@dataclass(frozen=True)
class GroupRanges:
    """What a group's hearts look like: each pair is the range of a uniform draw.

    Volumes in mL for a body surface of 1.9 m2, ejection fractions in [0, 1], longitudinal shortening in mm;
    ``elongation`` is the cavity's length over the cube root of its volume.
    """

    lv_ml: tuple[float, float]
    lv_ejection: tuple[float, float]
    myocardium_ml: tuple[float, float]
    rv_ml: tuple[float, float]
    rv_ejection: tuple[float, float]
    shortening: tuple[float, float]
    elongation: tuple[float, float]
    septal_thickening: tuple[float, float] = (0.0, 0.05)
    septal_flattening: tuple[float, float] = (0.0, 0.03)
    rv_span: tuple[float, float] = (1.35, 1.6)


RANGES = {
    "NOR": GroupRanges((110, 150), (0.56, 0.67), (85, 115), (120, 170), (0.50, 0.63), (10, 15), (1.52, 1.66)),
    "MINF": GroupRanges((145, 205), (0.22, 0.37), (100, 140), (95, 140), (0.47, 0.60), (5, 9), (1.45, 1.58)),
    "DCM": GroupRanges((215, 310), (0.10, 0.28), (125, 180), (130, 210), (0.20, 0.42), (3, 6), (1.38, 1.50)),
    "HCM": GroupRanges(
        (105, 150), (0.58, 0.74), (150, 220), (100, 140), (0.50, 0.63), (8, 12), (1.58, 1.72), (0.1, 0.28)
    ),
    "RV": GroupRanges(
        (90, 125), (0.52, 0.62), (70, 95), (170, 235), (0.18, 0.37), (6, 10), (1.52, 1.66), (0.0, 0.03),
        (0.10, 0.20), (1.6, 1.8),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """Short-axis planes in the heart frame: z of the first and distance between neighbours in mm, number."""

    first: float
    spacing: float
    slices: int

    @classmethod
    def draw(cls, rng: np.random.Generator, apex: float, slices: int | None) -> Stack:
        """A stack from the mitral plane at end-diastole, or one slice above it, to the apex.

        With ``slices`` the spacing follows; else it is 5 to 10 mm or what at most 12 slices need.
        """
        above = int(rng.integers(0, 2))
        wanted = float(rng.choice([5.0, 6.0, 7.0, 8.0, 9.0, 10.0]))
        least = float(np.ceil(10.0 * apex / ((slices or 12) - above)) / 10.0)
        spacing = least if slices else max(wanted, least)
        count = slices or above + int(np.ceil(apex / spacing))
        return cls(spacing * (0.5 - above + float(rng.uniform(-0.025, 0.025))), spacing, count)


def draw_heart(
    rng: np.random.Generator,
    ranges: GroupRanges,
    size: float,
    slices: int | None,
    infarct: bool,
) -> tuple[HeartShape, HeartShape, Stack]:
    """Draw a heart at end-diastole and end-systole, and the stack of slices planned on it.

    Volumes scale with ``size`` (1 for a body surface of 1.9 m2). The stack has ``slices`` or up to 12 slices.
    The valve planes descend by whole half-slices, so that the slices tile the ventricles in both phases: a
    basal slice is ventricle, or half of it is, and counting voxels finds the volume.
    """
    names = [field.name for field in fields(GroupRanges)]
    draw = {name: float(rng.uniform(*getattr(ranges, name))) for name in names}
    volumes = {"lv": draw["lv_ml"], "myocardium": draw["myocardium_ml"], "rv": draw["rv_ml"]}
    volumes = {name: value * size for name, value in volumes.items()}
    length = draw["elongation"] * (1000.0 * volumes["lv"]) ** (1.0 / 3.0)
    apex = length + 0.055 * volumes["myocardium"] ** 0.5 * float(rng.uniform(9.0, 12.0))
    stack = Stack.draw(rng, apex, slices)
    diastole = HeartShape(
        lv_base=0.0,
        endo_apex=length,
        epi_apex=apex,
        endo_radius=25.0,
        epi_radius=33.0,
        rv_base=0.0,
        rv_apex=length * float(rng.uniform(0.88, 0.97)),
        rv_width=25.0,
        rv_span=draw["rv_span"],
        tilt=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.06, 0.1)),
        oval=float(rng.uniform(0.0, 0.06)),
        oval_angle=float(rng.uniform(0.0, np.pi)),
        septal_thickening=draw["septal_thickening"],
        septal_flattening=draw["septal_flattening"],
        papillary_turn=float(rng.uniform(-0.35, 0.35)),
        infarct_angle=float(rng.uniform(-np.pi, np.pi)),
        infarct_endo=0.07 if infarct else 0.0,
    ).fitted(volumes)
    half = 0.5 * stack.spacing
    systole = replace(
        diastole,
        lv_base=half * max(1, round(draw["shortening"] / half)),
        rv_base=half * max(1, round(1.25 * draw["shortening"] / half)),
        endo_apex=length - float(rng.uniform(2.0, 5.0)),
        epi_apex=apex - 1.0,
        rv_apex=diastole.rv_apex - 2.0,
    )
    emptied = {
        "lv": volumes["lv"] * (1.0 - draw["lv_ejection"]),
        "myocardium": volumes["myocardium"],
        "rv": volumes["rv"] * (1.0 - draw["rv_ejection"]),
    }
    systole = systole.fitted(emptied, akinetic_from=diastole if infarct else None)
    return diastole, systole, stack


def _polar(x: FloatArray, y: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Distance of each point from the origin, and the index of its direction among ``_ANGLES``."""
    turns = np.arctan2(y, x) * (_ANGLES.size / (2.0 * np.pi))
    return np.hypot(x, y).astype(np.float32), np.floor(turns).astype(np.intp) % _ANGLES.size


def _ellipsoid(z: FloatArray | float, base: float, apex: float) -> FloatArray:
    """Relative radius of a truncated ellipsoid of revolution; 0 beyond the apex."""
    along = (z - base) / (apex - base)
    return np.sqrt(np.clip(1.0 - ((along - _WIDEST) / (1.0 - _WIDEST)) ** 2, 0.0, 1.0))


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
        radius, bins = _polar(x - self.centre[0], y - self.centre[1])
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
        rib = np.cos(15.0 * _ANGLES + 3.0 * self.ripple[7]) > 0.35
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
        cos, sin = np.cos(_ANGLES), np.sin(_ANGLES)
        fat = self.fat * np.clip(0.6 + 0.5 * np.cos(_ANGLES - 3.4), 0.2, 1.1)
        reach = self.reach + (48.0 - self.reach) * level
        left = self.centre[0] + reach + self.muscle + self.fat
        width = np.where(cos < 0, left, self.width * (1.0 - 0.15 * level))
        height = np.where(sin < 0, 180.0 - 62.0 * level + 0.5 * self.fat, 290.0)
        skin = (np.abs(cos / width) ** 2.4 + np.abs(sin / height) ** 2.4) ** (-1.0 / 2.4)
        for k in range(4):
            wave = np.cos((k + 2) * _ANGLES + 6.0 * self.ripple[k + 4] + level)
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
