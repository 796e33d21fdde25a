"""From the geometry of a heart and a thorax to image and label: what a scanner makes of them.

Each voxel averages the bSSFP signal of what it holds (partial volume). The sum is multiplied by the sensitivity
of the receive coils and by the unevenness of the tissues, blurred by the point spread, and gets Rician noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scripts.data.heart import HeartShape
from scripts.data.parts import Part, PartArray
from scripts.data.thorax import Thorax
from scripts.data.tissues import part_signals
from scripts.data.voxels import VoxelGrid, Window

_FINE = 3  # points in each direction of a heart voxel

# Structures of the ACDC label by part; papillary muscles and trabeculae belong to their cavity.
_LABELS = {
    Part.RV_BLOOD: 1,
    Part.RV_TRABECULA: 1,
    Part.LV_WALL: 2,
    Part.LV_BLOOD: 3,
    Part.PAPILLARY: 3,
}
_LABEL_OF = np.array([_LABELS.get(part, 0) for part in Part], np.uint8)


@dataclass(frozen=True)
class Scan:
    """A scan of one thorax: all that stays the same while the heart beats in it.

    ``flip_angle`` in degrees; ``blood_level`` and ``noise`` are brightness and standard deviation in units of the
    image; ``seed`` (of the data set, of the patient) begins the seed of every random field.
    """

    voxels: VoxelGrid
    thorax: Thorax
    flip_angle: float
    blood_level: float
    noise: float
    seed: tuple[int, int]

    def render(self, shape: HeartShape, frame: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Image and label of the heart ``shape``, each (x, y, z) on the grid; ``frame`` > 0 seeds flow and noise.

        The image is int16 with minimum 0. The label holds 0 background, 1 RV cavity, 2 LV myocardium, 3 LV
        cavity: what fills most of the voxel.
        """
        signal = self._surroundings.copy()
        label = np.zeros(self.voxels.matrix, np.uint8)
        rng = np.random.default_rng([*self.seed, frame])
        for index in range(self.voxels.matrix[2]):
            self._render_heart(shape, index, rng, signal, label)
        signal *= self._shading
        signal = gaussian_filter(signal, (0.55, 0.55, 0.0))  # the point spread of a zero-filled acquisition
        noise = rng.standard_normal((2, *self.voxels.matrix), np.float32) * self.noise
        image = np.rint(np.hypot(signal + noise[0], noise[1])).astype(np.int16)
        return image - image.min(), label

    def _render_heart(
        self,
        shape: HeartShape,
        index: int,
        rng: np.random.Generator,
        signal: NDArray[np.float32],
        label: NDArray[np.uint8],
    ) -> None:
        """Average the heart over the voxels of slice ``index`` into ``signal``, its majority into ``label``.

        ``rng`` gives the flow that makes the blood uneven.
        """
        origin = self.voxels.axis(self.voxels.level(index))
        window = self.voxels.window(origin, shape.epi_radius + shape.rv_width + 14.0)
        parts = self._heart_parts(shape, index, origin, window)
        covered = (parts != Part.OUTSIDE).mean(0, dtype=np.float32)
        inside = self._signals[parts].mean(0)
        classes = _LABEL_OF[parts]
        counts = np.stack([(classes == value).sum(0, dtype=np.uint8) for value in range(4)])
        flow = gaussian_filter(rng.standard_normal(covered.shape, np.float32), 1.3)
        flow *= 0.22 * (inside / self.blood_level) ** 2
        target = signal[(*window, index)]
        target *= 1.0 - covered
        target += inside * (1.0 + flow)
        label[(*window, index)] = counts.argmax(axis=0)

    def _heart_parts(
        self,
        shape: HeartShape,
        index: int,
        origin: tuple[float, float],
        window: Window,
    ) -> PartArray:
        """What lies at the points of each voxel of ``window`` in slice ``index``: (27, W, H) uint8.

        The points of a voxel come first, which makes summing over them fast; ``origin`` is the heart's axis.
        """
        voxels = self.voxels
        offsets = (np.arange(_FINE) + 0.5) / _FINE - 0.5
        planes = voxels.level(index) + offsets * voxels.slice_thickness
        points = np.stack(voxels.coordinates(origin, voxels.body_angle + voxels.rv_angle, _FINE, window))
        size = (points.shape[1] // _FINE, points.shape[2] // _FINE)
        points = points.reshape(2, size[0], _FINE, size[1], _FINE).transpose(0, 2, 4, 1, 3)
        x, y = np.ascontiguousarray(points)
        return shape.parts(x, y, planes).reshape(-1, *size)

    @cached_property
    def _signals(self) -> NDArray[np.float32]:
        """Brightness of each :class:`Part`."""
        return part_signals(self.flip_angle, self.blood_level)

    @cached_property
    def _surroundings(self) -> NDArray[np.float32]:
        """Brightness of everything but the heart, (x, y, z): the same in all frames."""
        width, height, slices = self.voxels.matrix
        planes = np.array([self.voxels.level(index) for index in range(slices)])
        x, y = self.voxels.coordinates(self.voxels.centre, self.voxels.body_angle, 2)
        parts = self.thorax.parts(x, y, planes)
        signal = self._signals[parts].reshape(slices, width, 2, height, 2)
        return np.ascontiguousarray(np.moveaxis(signal.mean((2, 4)), 0, 2))

    @cached_property
    def _shading(self) -> NDArray[np.float32]:
        """Receive sensitivity (1 at the heart, high near the coils) times the unevenness of the tissues."""
        x, y = self.voxels.coordinates(self.voxels.centre, self.voxels.body_angle, 1)
        coils = ((-100.0, -50.0), (-95.0, 50.0), (0.0, -135.0), (150.0, 20.0), (60.0, 150.0))
        coil = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2.0 * 85.0**2)) for a, b in coils)
        at_heart = sum(np.exp(-(a**2 + b**2) / (2.0 * 85.0**2)) for a, b in coils)
        rng = np.random.default_rng([*self.seed, 0])
        texture = gaussian_filter(rng.standard_normal(self.voxels.matrix, np.float32), (2.5, 2.5, 0.0))
        return (coil / at_heart)[:, :, None].astype(np.float32) * (1.0 + 0.045 * texture / texture.std())
