"""Which connected pieces of a segmented volume are kept."""

from collections.abc import Sequence

import numpy as np
import torch
from monai.transforms import KeepLargestConnectedComponent, Transform
from skimage import measure
from torch import Tensor

LEAST_SHARE = 0.1
"""The share of a class that the main piece must hold for the class to be kept within it alone."""


class KeepMainComponents(Transform):
    """Of each class the largest component within the main piece of the foreground.

    The foreground of all classes together falls into pieces; the main one is that with the largest sum, over the classes, of the share
    of the class's voxels that it holds. What is taken for a right ventricle far from the heart is thus left out, though it may be the
    larger piece of that class. A class of which the main piece holds less than a tenth, as of an organ that does not touch the others,
    keeps its largest component anywhere. No class vanishes. Voxels are connected through faces, edges and corners.

    Args:
        classes: label values, without background.
    """

    def __init__(self, classes: Sequence[int]) -> None:
        self.classes = list(classes)
        self.largest_of_each = KeepLargestConnectedComponent(self.classes)

    def __call__(self, labels: Tensor) -> Tensor:
        """``labels`` (1, x, y, slices) int, and the same with 0 in the place of what is not kept."""
        kept = self.largest_of_each(labels.masked_fill(self._beside_the_main_piece(labels), 0))
        return torch.as_tensor(kept).as_subclass(Tensor)

    def _beside_the_main_piece(self, labels: Tensor) -> Tensor:
        """Voxels outside the main piece, of classes that it has enough of, bool."""
        found = labels.as_subclass(Tensor).numpy(force=True)
        pieces, count = measure.label(np.isin(found, self.classes), return_num=True)
        if count < 2:
            return torch.zeros_like(labels, dtype=torch.bool)
        voxels = np.stack([np.bincount(pieces[found == value], minlength=count + 1)[1:] for value in self.classes])
        shares = voxels / voxels.sum(1, keepdims=True).clip(min=1)
        main = shares.sum(0).argmax()
        here = np.array(self.classes)[shares[:, main] >= LEAST_SHARE]
        return torch.from_numpy(np.isin(found, here) & (pieces != main + 1)).to(labels.device)
