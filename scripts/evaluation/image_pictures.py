"""A photograph to look at: image, truth and prediction side by side."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from scripts.files import write_atomically
from scripts.labels import VOID
from scripts.model_card import ModelCard
from scripts.palette import class_colormap, class_colors

FILL_ALPHA = 0.65
PANEL_INCHES = 3.6


def draw_image(path: Path, title: str, image: NDArray, label: NDArray, prediction: NDArray, card: ModelCard) -> None:
    """Write a PNG of three panels with a legend of the classes that occur.

    Args:
        path: of the PNG.
        title: which image it is, and its score.
        image: (C, H, W) float, any extent.
        label, prediction: (H, W) class indices; 255 in ``label`` = void, drawn black.
        card: has names, colours and whether class 0 is background.

    Raises:
        InputError: ``path`` cannot be written.
    """
    count = len(card.class_names)
    height, width = label.shape
    size = (3 * PANEL_INCHES, PANEL_INCHES * height / width + 1.1)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=10)
    picture = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    picture = picture.transpose(1, 2, 0) if len(picture) == 3 else picture[0]
    fill = class_colormap(count, FILL_ALPHA, card.colors, card.background)
    for axes, name, mask in zip(
        figure.subplots(1, 3), ("image", "truth", "prediction"), (None, label, prediction), strict=True
    ):
        axes.imshow(picture, cmap="gray")
        if mask is not None:
            void = np.zeros((*mask.shape, 4))
            void[mask == VOID, 3] = 1
            axes.imshow(void)
            shown = np.where(mask == VOID, -1, mask.astype(int))
            axes.imshow(shown, cmap=fill, vmin=0, vmax=count - 1, interpolation="nearest")
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    colors = class_colors(count, card.colors, card.background)
    occurring = sorted(
        {int(value) for value in np.union1d(label, prediction)} & set(range(int(card.background), count))
    )
    handles = [Patch(color=colors[index], label=card.class_names[index]) for index in occurring]
    handles += [Patch(color="black", label="void")] if (label == VOID).any() else []
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    write_atomically(path, lambda partial: figure.savefig(partial, format="png", dpi=110))
