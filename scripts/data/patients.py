"""The patients of the phantom: who they are, how their heart beats and how it is scanned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.data.groups import GROUPS, RANGES, draw_heart
from scripts.data.heart import HeartShape, contraction
from scripts.data.rendering import Scan
from scripts.data.thorax import Thorax
from scripts.data.voxels import Pixels, VoxelGrid


@dataclass(frozen=True)
class PhantomPatient:
    """One synthetic patient: everything but the pixels. Frames are counted from 1."""

    group: str
    height_cm: float
    weight_kg: float
    frames: int
    ed: int
    es: int
    diastole: HeartShape
    systole: HeartShape
    scan: Scan

    @classmethod
    def from_seed(
        cls,
        seed: int,
        number: int,
        group: str | None = None,
        smallest: bool = False,
    ) -> PhantomPatient:
        """Draw patient ``number`` (from 1); how many others there are has no influence.

        Without ``group`` the groups take turns. ``smallest`` gives 48 to 64 pixels of about 5 mm and 5 thick
        slices. Raises ValueError for a number below 1 or an unknown group.
        """
        if number < 1:
            raise ValueError(f"Patients are numbered from 1, got {number}.")
        group = GROUPS[(number - 1) % len(GROUPS)] if group is None else group
        if group not in RANGES:
            raise ValueError(f"Expected a group of {', '.join(GROUPS)}, got {group!r}.")
        rng = np.random.default_rng([seed, number])
        height, weight = _draw_body(rng)
        surface = (height * weight / 3600.0) ** 0.5  # Mosteller 1987, m2
        slices = 5 if smallest else None
        diastole, systole, stack = draw_heart(rng, RANGES[group], surface / 1.9, slices, group == "MINF")
        pixels = Pixels.draw(rng, smallest)
        frames = int(rng.integers(25, 31))
        blood_level = float(rng.uniform(100.0, 300.0))
        es = int(rng.integers(10, 14))
        thorax = Thorax.draw(rng, diastole, fat=max(6.0, 1.6 * weight / (height / 100.0) ** 2 - 26.0))
        thickness = stack.spacing if smallest else min(stack.spacing, 8.0)
        voxels = VoxelGrid.draw(rng, stack, pixels, 0.5 * diastole.epi_apex, thickness)
        flip_angle = float(rng.uniform(45.0, 60.0))
        noise = blood_level / float(rng.uniform(40.0, 80.0))
        scan = Scan(voxels, thorax, flip_angle, blood_level, noise, (seed, number))
        return cls(group, height, weight, frames, 1, es, diastole, systole, scan)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between the centres of voxels along (x, y, z)."""
        return self.scan.voxels.spacing

    @property
    def matrix(self) -> tuple[int, int, int]:
        """Number of voxels along (x, y, z)."""
        return self.scan.voxels.matrix

    def shape(self, frame: int) -> HeartShape:
        """The heart at ``frame`` in [1, frames]; raises ValueError outside."""
        if not 1 <= frame <= self.frames:
            raise ValueError(f"Expected a frame from 1 to {self.frames}, got {frame}.")
        phase, end_systole = (frame - self.ed) / self.frames, (self.es - self.ed) / self.frames
        return self.diastole.between(self.systole, contraction(phase, end_systole))

    def analytic_volumes_ml(self, frame: int) -> dict[str, float]:
        """Volumes in mL of 'rv', 'myocardium' and 'lv' at ``frame``, from the geometry, not from voxels."""
        return self.shape(frame).volumes_ml()

    def render(self, frame: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Image and label of ``frame`` in [1, frames], each (x, y, z) on ``matrix``: see :meth:`Scan.render`."""
        return self.scan.render(self.shape(frame), frame)


def _draw_body(rng: np.random.Generator) -> tuple[float, float]:
    """Height in cm and weight in kg, both whole numbers."""
    height = float(np.clip(rng.normal(171.0, 8.0), 150.0, 195.0).round())
    weight = float((np.clip(rng.normal(25.5, 3.5), 18.5, 36.0) * (height / 100.0) ** 2).round())
    return height, weight
