"""A case to look at: some of its slices around the heart, truth as lines, prediction as colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from scripts.files import write_atomically
from scripts.labels import VOID
from scripts.palette import class_colormap, class_colors

MAX_SLICES = 6
MARGIN_MM = 20.0
WINDOW_PERCENTILES = (1, 99.5)
FILL_ALPHA = 0.4
PANEL_INCHES = 2.2


@dataclass(frozen=True)
class CasePicture:
    """What is drawn of a case; small enough to keep for every case until the worst is known.

    Attributes:
        image: (n, x, y), the drawn slices, cropped.
        prediction, label: (n, x, y) class indices; 255 in ``label`` = void.
        spacing: mm in x and y.
        slices: which slices these are, from 0. depth: of how many.
        outside: share of the predicted foreground voxels of the whole volume, in [0, 1], that the crop cuts off.
    """

    image: NDArray
    prediction: NDArray
    label: NDArray
    spacing: tuple[float, float]
    slices: tuple[int, ...]
    depth: int
    outside: float


def case_picture(image: NDArray, prediction: NDArray, label: NDArray, spacing: Sequence[float]) -> CasePicture:
    """Choose up to six slices, evenly over all with truth or prediction, and a square around the truth.

    Args:
        image: (x, y, slices) any intensities.
        prediction, label: (x, y, slices) class indices; 255 in ``label`` = void.
        spacing: mm in x, y (and across slices).
    """
    truth, predicted = (label > 0) & (label != VOID), prediction > 0
    occupied = np.flatnonzero(np.any(truth | predicted, axis=(0, 1)))
    if not len(occupied):
        occupied = np.arange(image.shape[2])
    places = np.linspace(0, len(occupied) - 1, min(MAX_SLICES, len(occupied))).round().astype(int)
    slices = occupied[places]
    window = _square_around(np.any(truth if truth.any() else predicted, axis=2), spacing)
    drawn = [np.moveaxis(volume[window][..., slices], -1, 0).copy() for volume in (image, prediction, label)]
    return CasePicture(
        image=drawn[0],
        prediction=drawn[1],
        label=drawn[2],
        spacing=(float(spacing[0]), float(spacing[1])),
        slices=tuple(slices.tolist()),
        depth=image.shape[2],
        outside=float(1 - predicted[window].sum() / max(1, int(predicted.sum()))),
    )


def draw_case(picture: CasePicture, path: Path, title: str, class_names: Sequence[str]) -> None:
    """Write ``picture`` as a PNG: a row of slices, x to the right and y down, in true proportions.

    Args:
        picture: what to draw.
        path: of the PNG.
        title: which case it is, and its scores.
        class_names: of the classes 0 (background), 1, 2, ...

    Raises:
        InputError: ``path`` cannot be written.
    """
    count = len(picture.slices)
    width_mm, height_mm = (n * mm for n, mm in zip(picture.image.shape[1:], picture.spacing, strict=True))
    size = (PANEL_INCHES * max(count, 3), PANEL_INCHES * height_mm / width_mm + 0.95)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=10)
    low, high = np.percentile(picture.image, WINDOW_PERCENTILES)
    for place, axes in enumerate(figure.subplots(1, count, squeeze=False)[0]):
        _draw_slice(axes, picture, place, (low, max(high, low + 1e-6)), len(class_names))
    columns = 5 if count > 4 else 3
    figure.legend(handles=_legend(class_names), loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    write_atomically(path, lambda partial: figure.savefig(partial, format="png", dpi=130))


def _square_around(shadow: NDArray, spacing: Sequence[float]) -> tuple[slice, slice]:
    """The square in mm around ``shadow`` (x, y) with a margin, cut at the image's border; everything if it is empty."""
    if not shadow.any():
        return slice(0, shadow.shape[0]), slice(0, shadow.shape[1])
    occupied = [np.flatnonzero(shadow.any(axis=1 - axis)) for axis in (0, 1)]
    bounds = [(int(places[0]), int(places[-1]) + 1) for places in occupied]
    extents = [(last - first) * mm for (first, last), mm in zip(bounds, spacing, strict=False)]
    half_mm = max(extents) / 2 + MARGIN_MM
    windows = []
    for (first, last), mm, size in zip(bounds, spacing, shadow.shape, strict=False):
        center, half = (first + last) / 2, half_mm / mm
        windows.append(slice(max(0, round(center - half)), min(size, round(center + half))))
    return windows[0], windows[1]


def _draw_slice(axes: Axes, picture: CasePicture, place: int, limits: tuple[float, float], num_classes: int) -> None:
    """Draw the ``place``-th slice; arrays are (x, y), pictures (row, column), hence the transpositions."""
    image, prediction, label = (volume[place].T for volume in (picture.image, picture.prediction, picture.label))
    (rows, columns), (x_mm, y_mm) = image.shape, picture.spacing
    extent = (0.0, columns * x_mm, rows * y_mm, 0.0)
    axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="bilinear", extent=extent)
    fill = class_colormap(num_classes, FILL_ALPHA)
    axes.imshow(prediction, cmap=fill, vmin=0, vmax=num_classes - 1, interpolation="nearest", extent=extent)
    centers = (np.arange(columns) + 0.5) * x_mm, (np.arange(rows) + 0.5) * y_mm
    for index, color in enumerate(class_colors(num_classes)):
        # A border of background adds nothing to those of the structures, and a contour needs two rows and columns.
        if index > 0 and (label == index).any() and min(label.shape) > 1:
            axes.contour(*centers, label == index, levels=[0.5], colors=[color], linewidths=1.4)
    axes.set_title(f"slice {picture.slices[place] + 1} of {picture.depth}", fontsize=8)
    axes.set_axis_off()


def _legend(class_names: Sequence[str]) -> list[Patch | Line2D]:
    colors = class_colors(len(class_names))
    classes = [Patch(color=color, label=name) for color, name in zip(colors[1:], class_names[1:], strict=True)]
    line = Line2D([], [], color="0.35", linewidth=1.4, label="line: truth")
    return [*classes, line, Patch(color="0.35", alpha=FILL_ALPHA, linewidth=0, label="colour: prediction")]
