"""From a photograph to the size that the networks see, and back."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from torch import Tensor
from torch.nn import functional as F

from scripts.data.image_files import read_image, read_mask
from scripts.data.label_values import mapped
from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError


@dataclass(frozen=True)
class ImageGrid:
    """Size in pixels (height, width) to which images are resized, whatever their proportions, and their channels.

    Raises:
        InputError: not two positive whole numbers, or other than 1 or 3 channels.
    """

    size: tuple[int, int]
    channels: int = 3

    x_first = False
    """Whether the first axis of an array is x, as in volumes, or rows, as in photographs."""

    def __post_init__(self) -> None:
        pair = isinstance(self.size, Sequence) and len(self.size) == 2
        if not pair or not all(isinstance(value, int) and value > 0 for value in self.size):
            raise InputError(f"the size of images must be two positive whole numbers (pixels), got {self.size!r}.")
        if self.channels not in (1, 3):
            raise InputError(f"images have 1 (grey) or 3 (RGB) channels, got image_channels = {self.channels!r}.")
        object.__setattr__(self, "size", tuple(self.size))

    def preprocessing(
        self, keys: Sequence[str] = ("image",), num_classes: int = 2, label_map: Mapping[str, int] | None = None
    ) -> "ImagePreprocessing":
        """A transform of paths to tensors of this size; see ``ImagePreprocessing``."""
        return ImagePreprocessing(self, keys, num_classes, label_map)


def grid_for(spacing: Sequence[float] | None, size: Sequence[int], channels: int = 1) -> SliceGrid | ImageGrid:
    """The grid of volumes, or, where there is no ``spacing``, of photographs.

    Raises:
        InputError: as the two; volumes of more than one channel.
    """
    if spacing is None:
        return ImageGrid(tuple(size), channels)  # type: ignore[arg-type]
    if channels != 1:
        raise InputError(
            f"volumes have one channel here, got image_channels = {channels}: save each channel by itself."
        )
    return SliceGrid(tuple(spacing), tuple(size))  # type: ignore[arg-type]


class ImagePreprocessing(Transform):
    """Decode, check and resize: images bilinearly with anti-aliasing, masks to the nearest pixel. All stays in 8 bits;
    ``scripts.data.slices.SliceDataset`` normalises when images are drawn.

    Args:
        grid: size and channels.
        keys: "image", and "label" where there is one. Items without a label key pass.
        num_classes, label_map: see ``scripts.data.label_values.mapped``.
    """

    def __init__(
        self, grid: ImageGrid, keys: Sequence[str], num_classes: int, label_map: Mapping[str, int] | None = None
    ) -> None:
        self.grid = grid
        self.keys = tuple(keys)
        self.num_classes = num_classes
        self.label_map = label_map

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Paths to ``image`` (C, H, W) and ``label`` (1, H, W) uint8; other entries stay.

        Raises:
            InputError: as ``read``.
        """
        read = self.read(data)
        done = {"image": resize_image(read["image"], self.grid.size)}
        if "label" in read:
            done["label"] = resize_mask(read["label"], self.grid.size)
        return dict(data) | done

    def read(self, data: Mapping[Hashable, Any]) -> dict[str, Tensor]:
        """``image`` (C, h, w) and ``label`` (1, h, w) uint8 at the size of the files.

        Raises:
            InputError: a file that cannot be read, a mask of another size than its image, a value that is no class, an
                image that is the same everywhere.
        """
        paths = {key: str(data[key]) for key in self.keys if key in data}
        image = read_image(paths["image"], self.grid.channels, with_mask="label" in paths)
        if image.min() == image.max():
            raise InputError(
                f"{paths['image']} is constant ({int(image.min())} everywhere): it shows nothing; export it again, or take "
                "it out."
            )
        found = {"image": torch.from_numpy(image)}
        if "label" in paths:
            mask = mapped(read_mask(paths["label"]), self.num_classes, self.label_map, paths["label"])
            if mask.shape != image.shape[1:]:
                raise InputError(
                    f"{paths['label']} is {_size(mask)}, its image {paths['image']} {_size(image[0])}: a mask must have "
                    "its image's size; export one of the two again."
                )
            found["label"] = torch.from_numpy(mask).unsqueeze(0)
        return found


def resize_image(image: Tensor, size: Sequence[int]) -> Tensor:
    """(C, h, w) uint8 to (C, *size), bilinear, anti-aliased where it shrinks."""
    if tuple(image.shape[1:]) == tuple(size):
        return image
    return F.interpolate(image.unsqueeze(0), tuple(size), mode="bilinear", antialias=True, align_corners=False)[0]


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """(1, h, w) uint8 to (1, *size), the nearest pixel's value."""
    if tuple(mask.shape[1:]) == tuple(size):
        return mask
    return F.interpolate(mask.unsqueeze(0), tuple(size), mode="nearest-exact")[0]


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} x {array.shape[1]} pixels"
