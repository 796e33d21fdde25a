"""Hearts of two discs, a class in another, and a teacher that knows them by their shade."""

import torch
from torch import Tensor, nn

from scripts.data.augmentation import BatchAugmentation

CLASSES, SIZE = 3, 32


def disc(row: int, column: int, size: int = SIZE, outer: int = 7, inner: int = 4) -> Tensor:
    """Class 1 within ``outer`` pixels of the centre, 2 within ``inner``: (H, W) int64."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    radius = ((rows - row) ** 2 + (columns - column) ** 2).sqrt()
    return (radius < outer).long() + (radius < inner).long()


def disc_batch() -> dict[str, Tensor]:
    """Two labelled and two unlabelled discs, with views."""
    label = torch.stack([disc(12, 14), disc(20, 15)])
    other = torch.stack([disc(16, 16), disc(18, 13)]).unsqueeze(1).float()
    data = {"image": label.unsqueeze(1).float(), "label": label, "unlabeled_image": other}
    return BatchAugmentation(views=True, weak={"noise": 0}, seed=0)(data, 0)


class Threshold(nn.Module):
    """A teacher that knows the discs by their shade: class 1 above 0.5, class 2 above 1.5."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-4 * (x - shade) ** 2 for shade in range(CLASSES)], 1)
