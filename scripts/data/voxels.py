"""Where the voxels of a scan lie: the stack of slices planned on a heart, and the pixels of its planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.data.parts import FloatArray

Window = tuple[slice, slice]


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


@dataclass(frozen=True)
class Pixels:
    """How a plane is divided: spacing in mm, number of pixels (x, y), whether the image is wider than high."""

    spacing: float
    size: tuple[int, int]
    landscape: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, smallest: bool) -> Pixels:
        """224 to 256 pixels on the longer side; ``smallest``: 56 to 64, of about 5 mm. One in five is landscape."""
        landscape = bool(rng.random() < 0.2)
        long = int(rng.choice([56, 60, 64] if smallest else [224, 240, 256]))
        field_of_view = rng.uniform(290.0, 320.0) if smallest else rng.uniform(330.0, 410.0)
        short = 2 * round(0.5 * long * float(rng.uniform(0.86, 0.92) if smallest else rng.uniform(0.72, 0.88)))
        spacing = round(float(field_of_view) / long, 4)
        return cls(spacing, (long, short) if landscape else (short, long), landscape)


@dataclass(frozen=True)
class VoxelGrid:
    """The voxels of one scan, and how heart and thorax lie in them. Lengths in mm, angles in rad.

    ``matrix`` counts voxels and ``spacing`` is the distance of their centres along (x, y, z). ``first_slice`` is
    the z of slice 0 in the heart frame. The axis of the left ventricle crosses the plane z = ``middle`` at
    ``centre``, from the image's centre, and drifts by ``axis_slope`` per mm of z. The thorax is turned by
    ``body_angle``, and the direction of the right ventricle by another ``rv_angle``.
    """

    spacing: tuple[float, float, float]
    matrix: tuple[int, int, int]
    slice_thickness: float
    first_slice: float
    middle: float
    centre: tuple[float, float]
    axis_slope: tuple[float, float]
    body_angle: float
    rv_angle: float

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        stack: Stack,
        pixels: Pixels,
        middle: float,
        slice_thickness: float,
    ) -> VoxelGrid:
        """Place the planes of ``stack``, divided into ``pixels``, on a heart whose middle is at z = ``middle`` mm."""
        return cls(
            spacing=(pixels.spacing, pixels.spacing, stack.spacing),
            matrix=(*pixels.size, stack.slices),
            slice_thickness=slice_thickness,
            first_slice=stack.first,
            middle=middle,
            centre=(float(rng.uniform(-12.0, 22.0)), float(rng.uniform(-22.0, 14.0))),
            axis_slope=(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.12, 0.12))),
            body_angle=float(rng.normal(0.0, 0.08)) + (1.25 if pixels.landscape else 0.0),
            rv_angle=float(np.clip(rng.normal(2.8, 0.25), 2.3, 3.3)),
        )

    def level(self, index: int) -> float:
        """z of slice ``index`` in the heart frame, in mm."""
        return self.first_slice + index * self.spacing[2]

    def axis(self, z: float) -> tuple[float, float]:
        """Where the axis of the left ventricle meets the plane ``z``, in mm from the image's centre."""
        along = z - self.middle
        return self.centre[0] + self.axis_slope[0] * along, self.centre[1] + self.axis_slope[1] * along

    def window(self, origin: tuple[float, float], reach: float) -> Window:
        """The pixels within ``reach`` mm of ``origin`` (mm from the image's centre) along both axes."""
        bounds = []
        for axis in (0, 1):
            at = origin[axis] / self.spacing[axis] + 0.5 * (self.matrix[axis] - 1)
            low, high = at - reach / self.spacing[axis], at + reach / self.spacing[axis]
            bounds.append(slice(max(0, int(low)), min(self.matrix[axis], int(high) + 2)))
        return bounds[0], bounds[1]

    def coordinates(
        self,
        origin: tuple[float, float],
        angle: float,
        fine: int,
        window: Window | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Coordinates in mm of ``fine`` x ``fine`` points a pixel, in a frame at ``origin`` turned by ``angle``.

        Two arrays (``fine`` x W, ``fine`` x H), W and H the pixels of ``window`` or of the whole plane.
        """
        axes = []
        for axis in (0, 1):
            chosen = slice(0, self.matrix[axis]) if window is None else window[axis]
            points = chosen.start + (np.arange((chosen.stop - chosen.start) * fine) + 0.5) / fine - 0.5
            axes.append((points - 0.5 * (self.matrix[axis] - 1)) * self.spacing[axis] - origin[axis])
        right, down = axes[0][:, None], axes[1][None, :]
        cos, sin = np.cos(angle), np.sin(angle)
        return right * cos + down * sin, down * cos - right * sin
