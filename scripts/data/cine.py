"""A cine study in memory, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MIN_SLICES = 5
"""A short-axis stack has at least so many slices: fewer do not cover a ventricle (80 mm at 8 to 10 mm), and long-axis
views, perfusion and mapping have one to four."""
MIN_PHASES = 2


@dataclass(frozen=True)
class Body:
    """What is known of the patient's body; None where the source does not say. ``sex`` is "M" or "F"."""

    height_m: float | None = None
    weight_kg: float | None = None
    sex: str | None = None

    @property
    def bsa_m2(self) -> float | None:
        """Body surface area in m2 (Mosteller, N Engl J Med 317:1098, 1987), None without height or weight."""
        if self.height_m is None or self.weight_kg is None:
            return None
        return (100.0 * self.height_m * self.weight_kg / 3600.0) ** 0.5


@dataclass(frozen=True)
class SourceInstance:
    """The DICOM image that one slice of one phase came from; ``frame`` counts from 1, None in a single-frame object."""

    path: Path = field(repr=False)
    sop_instance_uid: str
    sop_class_uid: str
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class CineStudy:
    """A short-axis cine: every slice in every phase of one heartbeat.

    Args:
        images: (P, x, y, S) float32, as stored times rescale slope plus intercept; x counts columns and y rows of a
            DICOM image, slices follow the plane normal (row direction x column direction), phases follow time.
        affine: (4, 4) float64, voxel index (x, y, slice) to RAS millimetres.
        times_ms: (P, S) ms after the R wave, of each phase in each slice; None if unknown.
        heart_rate: beats a minute, None if unknown.
        body: height, weight and sex.
        source: "DICOM", "NIfTI" or "ACDC".
        repairs: what was wrong in the files and how it was taken, in words that identify nobody.
        instances: [phase][slice], for references in results; None where the source is not DICOM.
        given_phases: phases that the source names, {"ED": 0, "ES": 9}, counted from 0.
        phi: what identifies the patient, by DICOM keyword: only for a report that asks for it, hidden in ``repr``.
    """

    images: NDArray[np.float32] = field(repr=False)
    affine: NDArray[np.float64]
    times_ms: NDArray[np.float64] | None = field(repr=False)
    heart_rate: float | None
    body: Body
    source: str
    repairs: tuple[str, ...] = ()
    instances: tuple[tuple[SourceInstance, ...], ...] | None = field(default=None, repr=False)
    given_phases: dict[str, int] = field(default_factory=dict)
    phi: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(dx, dy, dz) mm: between columns, between rows, between slice planes (never a slice's thickness)."""
        return plane_spacing(self.affine)


def plane_spacing(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """In-plane voxel size and the distance of slice planes, in mm, of an affine (4, 4); a sheared one is understood."""
    column, row, step = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    normal = np.cross(column, row)
    area = float(np.linalg.norm(normal))
    distance = abs(float(step @ normal)) / area if area > 0 else 0.0
    return float(np.linalg.norm(column)), float(np.linalg.norm(row)), distance
