"""The slices that a report shows, with contours.

Contours are vectors over a grey picture, so that a page can show and hide them and print them sharply; x goes to the
right and y down, in millimetres, so that proportions are the patient's.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import find_contours

from scripts.clinical.structures import Structures
from scripts.palette import COLORS

STRUCTURE_COLORS: Mapping[str, str] = dict(zip(("rv", "myocardium", "lv"), COLORS[1:4], strict=True))
MARGIN_MM = 20.0
WINDOW_PERCENTILES = (1.0, 99.5)
PICTURE_PIXELS = (320, 512)
"""Longest side of a slice's picture: at least, by smooth enlargement, and at most."""
_LETTERS = (("R", "L"), ("A", "P"), ("H", "F"))


@dataclass(frozen=True)
class SlicePicture:
    """One slice of one phase: ``image`` is a PNG as data URI, ``contours`` SVG path data (mm) by structure."""

    image: str
    contours: Mapping[str, str]


@dataclass(frozen=True)
class Overlays:
    """Slices with contours.

    Attributes:
        width_mm, height_mm: of every picture.
        slices: [slice][phase] pictures.
        directions: letters of the patient's directions at the left, right, upper and lower edge; None if unknown.
    """

    width_mm: float
    height_mm: float
    slices: tuple[tuple[SlicePicture, ...], ...]
    directions: Mapping[str, str] | None


def overlays(
    images: NDArray[np.floating],
    labels: NDArray[np.integer],
    spacing: Sequence[float],
    structures: Structures,
    affine: NDArray[np.float64] | None = None,
) -> Overlays:
    """Pictures of all slices, cut to what any label in any slice takes up and a margin; a slice's phases share a window.

    Args:
        images: (n, x, y, S) the phases to be shown.
        labels: (n, x, y, S) their labels.
        spacing: mm in x, y (and between slices).
        structures: the label values.
        affine: (4, 4) index to RAS mm, if it can be trusted to say how the images lie in the patient.
    """
    values = list(structures.items().values())
    window = _window(np.asarray(np.isin(labels, values).any(axis=(0, 3))), spacing)
    images, labels = images[:, window[0], window[1]], labels[:, window[0], window[1]]
    grey = np.stack([_grey(images[..., s]) for s in range(images.shape[3])], axis=3)
    size_mm = (images.shape[1] * float(spacing[0]), images.shape[2] * float(spacing[1]))
    slices = tuple(
        tuple(
            SlicePicture(_png(grey[n, :, :, s], size_mm), _contours(labels[n, :, :, s], spacing, structures))
            for n in range(len(images))
        )
        for s in range(images.shape[3])
    )
    return Overlays(*size_mm, slices, None if affine is None else directions(affine))


def directions(affine: NDArray[np.float64]) -> dict[str, str]:
    """Where the edges of a picture lie in the patient, as viewers write it: R, L, A, P, H (head), F (foot).

    An oblique direction has up to three letters, the strongest first (DICOM PS3.3 C.7.6.1.1.1).
    """
    x, y = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (0, 1))
    return {"left": _letters(-x), "right": _letters(x), "upper": _letters(-y), "lower": _letters(y)}


def _letters(direction: NDArray[np.float64]) -> str:
    strongest = np.argsort(-np.abs(direction), kind="stable")
    return "".join(_LETTERS[axis][int(direction[axis] < 0)] for axis in strongest if abs(direction[axis]) > 0.25)


def _window(shadow: NDArray[np.bool_], spacing: Sequence[float]) -> tuple[slice, slice]:
    """The rectangle around ``shadow`` (x, y) with a margin, cut at the image's border; everything if it is empty."""
    cuts = []
    for axis, (size, mm) in enumerate(zip(shadow.shape, spacing, strict=False)):
        occupied = np.flatnonzero(shadow.any(axis=1 - axis))
        if not len(occupied):
            occupied = np.array([0, size - 1])
        margin = math.ceil(MARGIN_MM / mm)
        cuts.append(slice(max(0, int(occupied[0]) - margin), min(size, int(occupied[-1]) + 1 + margin)))
    return cuts[0], cuts[1]


def _grey(images: NDArray[np.floating]) -> NDArray[np.uint8]:
    """One window for all phases of a slice, (n, x, y); each slice has its own, since a coil near the apex or base is uneven."""
    finite = images[np.isfinite(images)]
    low, high = np.percentile(finite, WINDOW_PERCENTILES) if finite.size else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(images, posinf=high, neginf=low) - low) / max(high - low, 1e-6), 0, 1)
    return np.round(255 * scaled).astype(np.uint8)


def _png(grey: NDArray[np.uint8], size_mm: tuple[float, float]) -> str:
    """``grey`` (x, y) as a PNG with square pixels, as data URI."""
    longest = min(max(*grey.shape, PICTURE_PIXELS[0]), PICTURE_PIXELS[1])
    size = [max(1, round(longest * mm / max(size_mm))) for mm in size_mm]
    picture = Image.fromarray(np.ascontiguousarray(grey.T)).resize((size[0], size[1]), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=6)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _contours(labels: NDArray[np.integer], spacing: Sequence[float], structures: Structures) -> dict[str, str]:
    """Outlines of the structures in a slice (x, y), halfway between the voxels inside and outside; absent ones left out."""
    found = {}
    for name, value in structures.items().items():
        mask = labels == value
        if mask.any():
            lines = find_contours(np.pad(mask, 1).astype(float), 0.5)
            # The centre of voxel i, i + 1 when padded, lies at (i + 0.5) pixels.
            found[name] = "".join(_path((line - 0.5) * np.asarray(spacing[:2], dtype=float)) for line in lines)
    return found


def _path(points: NDArray[np.float64]) -> str:
    return f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in points[:-1])}Z"
