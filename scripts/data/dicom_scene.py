"""What a scanner measures of a phantom patient: planes, pictures and times of a cardiac MR examination.

Volumes of the short axis are (phases, x, y, slices), x the column and y the row of a picture, slices ordered along the
normal (direction of rows x direction of columns), which here leads from apex to base.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from scripts.data.dicom_objects import Frame, Plane, Series
from scripts.data.patients import PhantomPatient

_SMALLEST_PHASES, _SMALLEST_ES = 8, 4
_VIEWS = {"CINE LA 2CH": 0.5 * np.pi, "CINE LA 4CH": 0.0}  # angle between a picture's rows and the right ventricle


@lru_cache(maxsize=8)
def phantom_patient(patient: int = 1, seed: int = 0, smallest: bool = False) -> PhantomPatient:
    """The patient (numbered from 1) whom the study shows; if ``smallest`` the heart cycle has 8 phases, the fourth ES.

    Its ``ed`` and ``es`` are counted from 1; its slices go from base to apex.
    """
    drawn = PhantomPatient.from_seed(seed, patient, smallest=smallest)
    return replace(drawn, frames=_SMALLEST_PHASES, es=_SMALLEST_ES) if smallest else drawn


def dicom_phantom_times(
    patient: int = 1, seed: int = 0, smallest: bool = False, *, irregular: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Trigger times (phases, slices) and lengths of the heart cycle (slices,), both in ms, slices as in the truth.

    If ``irregular`` no two slices share a trigger time: each has its own heart rate and its own first delay.
    """
    person = phantom_patient(patient, seed, smallest)
    slices = person.matrix[2]
    rng = np.random.default_rng([seed, patient, 1])
    cycle = np.full(slices, round(float(rng.uniform(750.0, 1050.0)), 1))
    delay = np.full(slices, 10.0)
    if irregular:
        cycle = np.round(cycle * rng.uniform(0.96, 1.04, slices), 1)
        delay = np.round(rng.permutation(slices) * 20.0 / slices + rng.uniform(1.0, 2.0, slices), 1)
    return np.round(delay + np.arange(person.frames)[:, None] * cycle / person.frames, 1), cycle


@lru_cache(maxsize=2)
def render_cine(patient: int, seed: int, smallest: bool) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Images and labels of all phases, slices from apex to base; shared, therefore not to be written to."""
    person = phantom_patient(patient, seed, smallest)
    rendered = [person.render(frame) for frame in range(1, person.frames + 1)]
    images = np.stack([np.clip(image, 0, 4095).astype(np.uint16)[:, :, ::-1] for image, _ in rendered])
    labels = np.stack([label[:, :, ::-1] for _, label in rendered])
    for array in (images, labels):
        array.setflags(write=False)
    return images, labels


@dataclass(frozen=True)
class Scene:
    """Where the phantom lies in the patient (LPS, mm), and what the scanner makes of it."""

    person: PhantomPatient
    patient: int
    seed: int
    oblique: bool

    @property
    def axes(self) -> NDArray[np.float64]:
        """Columns: directions of a picture's rows and columns and their normal, from apex to base."""
        if not self.oblique:
            return np.eye(3)
        row = np.array([0.71, 0.70, -0.04])  # the usual short axis: right in the picture is left and behind
        row /= np.linalg.norm(row)
        normal = np.cross(row, [-0.31, 0.27, -0.91])
        normal /= np.linalg.norm(normal)
        usual = np.stack([row, np.cross(normal, row), normal], axis=1)
        turn = np.random.default_rng([self.seed, self.patient, 2]).uniform(-8.0, 8.0, 3)
        return Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ usual

    def point(self, x: float, y: float, z: float) -> NDArray[np.float64]:
        """Place of a point that lies ``x``, ``y`` mm from the image's centre at ``z`` of the heart's frame."""
        return np.array([34.0, -21.0, 12.0]) + self.axes @ [x, y, self.person.scan.voxels.middle - z]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Index (x, y, slice) of the truth to LPS millimetres."""
        voxels, spacing = self.person.scan.voxels, self.person.spacing
        width, height, slices = self.person.matrix
        corner = (-0.5 * (width - 1) * spacing[0], -0.5 * (height - 1) * spacing[1])
        affine = np.eye(4)
        affine[:3, :3] = self.axes * spacing
        affine[:3, 3] = self.point(*corner, voxels.level(slices - 1))
        return affine

    def series(self, images: NDArray[np.uint16], smallest: bool, irregular: bool) -> list[Series]:
        """Everything that the scanner measured and the archive added, in the order of the examination."""
        times, cycle = dicom_phantom_times(self.patient, self.seed, smallest, irregular=irregular)
        middle = images.shape[3] // 2
        size = 64 if smallest else 160
        clock = (times[:, middle], float(cycle[middle]))
        short_axis = Series("short_axis", 5, "CINE SA", tuple(self._short_axis(images, times, cycle)))
        long_axis = [
            Series("long_axis", number, name, tuple(self._cine_of(images, self._long_axis(angle, size), size, clock)))
            for number, (name, angle) in enumerate(_VIEWS.items(), 3)
        ]
        planes = self._localiser_planes(size)
        frames = [Frame(self._cut(images[0], plane, size), plane, index) for index, plane in enumerate(planes)]
        screen = [frame for frame in short_axis.frames if frame.phase == 0][middle]
        screenshot = Series("capture", 99, "SCREEN SAVE", (replace(screen, slice=0),), capture=True)
        return [Series("localiser", 1, "LOCALISER", tuple(frames)), *long_axis, short_axis, screenshot]

    def _short_axis(
        self, images: NDArray[np.uint16], times: NDArray[np.float64], cycle: NDArray[np.float64]
    ) -> Iterator[Frame]:
        """Slice after slice from base to apex, as planned at the scanner; headers claim slices with gaps between."""
        affine, spacing, count = self.affine, self.person.spacing, images.shape[3]
        row, column = self.axes[:, 0], self.axes[:, 1]
        for index in reversed(range(count)):
            plane = Plane(affine[:3, 3] + index * affine[:3, 2], row, column, spacing[0], round(0.8 * spacing[2], 1))
            for phase in range(images.shape[0]):
                pixels = np.ascontiguousarray(images[phase, :, :, index].T)
                yield Frame(
                    pixels, plane, count - 1 - index, phase, float(times[phase, index]), round(float(cycle[index]), 1)
                )

    def _cine_of(
        self,
        images: NDArray[np.uint16],
        plane: Plane,
        size: int,
        clock: tuple[NDArray[np.float64], float],
    ) -> Iterator[Frame]:
        """A cine of one plane; ``clock`` is the trigger times and the length of the cycle in ms."""
        for phase, volume in enumerate(images):
            yield Frame(self._cut(volume, plane, size), plane, 0, phase, float(clock[0][phase]), clock[1])

    def _long_axis(self, angle: float, size: int) -> Plane:
        """A square of 288 mm that holds the axis of the left ventricle, turned by ``angle`` from the right one."""
        voxels = self.person.scan.voxels
        angle += voxels.body_angle + voxels.rv_angle
        row = self.axes @ [np.cos(angle), np.sin(angle), 0.0]
        down = self.axes @ [*voxels.axis_slope, -1.0]
        down -= (down @ row) * row
        return self._square(row, down / np.linalg.norm(down), size)

    def _localiser_planes(self, size: int) -> list[Plane]:
        """Transverse, coronal and sagittal through the middle of the heart."""
        left, back, feet = np.eye(3)[0], np.eye(3)[1], -np.eye(3)[2]
        return [self._square(*directions, size) for directions in ((left, back), (left, feet), (back, feet))]

    def _square(self, row: NDArray[np.float64], column: NDArray[np.float64], size: int) -> Plane:
        spacing = 288.0 / size
        centre = self.point(*self.person.scan.voxels.centre, self.person.scan.voxels.middle)
        return Plane(centre - 0.5 * (size - 1) * spacing * (row + column), row, column, spacing, 6.0)

    def _cut(self, volume: NDArray[np.uint16], plane: Plane, size: int) -> NDArray[np.uint16]:
        """The picture (rows, columns) of a ``plane`` through a short-axis stack, which is continued at its edges."""
        down, right = np.mgrid[:size, :size] * plane.spacing
        points = plane.position[:, None, None] + plane.row[:, None, None] * right + plane.column[:, None, None] * down
        inverse = np.linalg.inv(self.affine)
        index = np.einsum("ij,jkl->ikl", inverse[:3, :3], points) + inverse[:3, 3, None, None]
        return np.rint(map_coordinates(volume.astype(np.float32), index, order=1, mode="nearest")).astype(np.uint16)
