"""Analytic geometry of a beating heart in short-axis slices.

The ventricles are closed curves in polar coordinates that change smoothly with the position z along the long
axis, so that a volume is an integral of the geometry and owes nothing to any voxel grid.

Heart frame, in mm: the origin lies on the axis of the left ventricle in the mitral plane at end-diastole, z
grows from base to apex, angles count from the direction of the right ventricle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from scripts.data.parts import ANGLES, FloatArray, Part, PartArray, polar

_WIDEST = 0.2  # where the left ventricle is widest, as a fraction of its length from the base


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


def _ellipsoid(z: FloatArray | float, base: float, apex: float) -> FloatArray:
    """Relative radius of a truncated ellipsoid of revolution; 0 beyond the apex."""
    along = (z - base) / (apex - base)
    return np.sqrt(np.clip(1.0 - ((along - _WIDEST) / (1.0 - _WIDEST)) ** 2, 0.0, 1.0))


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
        radius, bins = polar(x, y)
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
        endo, epi, rv = (curve.astype(np.float32) for curve in self.boundaries(ANGLES, z))
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
        groove = _bump(ANGLES, self.rv_span, 14.0) + _bump(ANGLES, -self.rv_span, 14.0)
        near_base = np.clip(1.0 - (z - self.lv_base) / 60.0, 0.3, 1.2)
        exists = np.clip((wall - 1.0) / 4.0, 0.0, 1.0)
        return wall + exists * (0.4 + near_base * (5.0 * groove + 2.0 * _bump(ANGLES, 1.2, 2.0)))

    def _trabeculae(
        self,
        endo: FloatArray,
        epi: FloatArray,
        rv: FloatArray,
        z: float,
    ) -> tuple[FloatArray, FloatArray]:
        """Inner edges of the trabeculated layers of both ventricles: coarser towards the apex."""
        along = float(np.clip((z - self.lv_base) / (self.endo_apex - self.lv_base), 0.0, 1.0))
        ripple = np.cos(12.0 * ANGLES + 0.31 * z) * np.cos(7.0 * ANGLES - 0.23 * z)
        free = 1.0 - _bump(ANGLES, 0.0, 1.5)  # the septum is smooth
        lv = endo * (1.0 - (0.07 + 0.25 * along) * np.clip(ripple, 0.0, 1.0) * free)
        rv_ripple = np.clip(np.cos(13.0 * ANGLES + 0.4 * z) * np.cos(8.0 * ANGLES - 0.3 * z), 0.0, 1.0)
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
