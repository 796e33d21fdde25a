"""From a stack of slices as acquired to the grid that the networks see, and back."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    Lambdad,
    MapTransform,
    ResizeWithPadOrCropd,
    Spacingd,
    SpatialResample,
    Transform,
)
from torch import Tensor

from scripts.data.label_values import mapped
from scripts.data.reader import LoadVolumed
from scripts.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SliceGrid:
    """In-plane grid of the networks: spacing in mm, size in pixels; slices stay as acquired, never reoriented.

    192 x 192 at 1.5 mm is a field of view of 288 mm, which holds every labelled voxel of ACDC.

    Raises:
        InputError: not two positive numbers each, or a size that is not whole.
    """

    spacing: tuple[float, float] = (1.5, 1.5)
    size: tuple[int, int] = (192, 192)

    x_first = True
    """Whether the first axis of an array is x, as in volumes, or rows, as in photographs."""

    def __post_init__(self) -> None:
        for name, kind, words in (("spacing", int | float, "numbers (mm)"), ("size", int, "whole numbers (pixels)")):
            values = getattr(self, name)
            pair = isinstance(values, Sequence) and len(values) == 2
            if not pair or not all(isinstance(value, kind) and value > 0 for value in values):
                raise InputError(f"the grid's {name} must be two positive {words}, got {values!r}.")
            object.__setattr__(self, name, tuple(values))

    def preprocessing(
        self,
        keys: Sequence[str] = ("image",),
        num_classes: int = 4,
        label_map: Mapping[str, int] | None = None,
        min_slices: int = 2,
    ) -> Compose:
        """Read, check, resample in-plane, crop or pad about the centre, normalise each slice.

        Args:
            keys: "image", and "label" where there is one. Items without a label key pass.
            num_classes, label_map: see ``scripts.data.label_values.mapped``.
            min_slices: a volume of fewer slices is refused.

        Returns:
            A transform of a dict of paths to ``image`` (C or phases, H, W, slices) float32 and ``label``
            (1, H, W, slices) uint8, both MetaTensor.
        """
        return Compose(
            [
                LoadVolumed(keys),
                EnsureChannelFirstd(keys=keys, allow_missing_keys=True),
                CheckVolumed(keys, num_classes, label_map, min_slices),
                *self.resampling(keys).transforms,
            ],
            # Lazy resampling would merge spacing and crop, but the check between reading and them must see voxels.
            lazy=False,
        )

    def resampling(self, keys: Sequence[str] = ("image",)) -> Compose:
        """The part of ``preprocessing`` after reading and checking, of MetaTensors (C or phases, x, y, slices)."""
        volumes: dict[str, Any] = {"keys": keys, "allow_missing_keys": True}
        modes = [{"image": "bilinear"}.get(key, "nearest") for key in keys]
        types = [{"image": torch.float32}.get(key, torch.uint8) for key in keys]
        return Compose(
            [
                Lambdad(keys="image", func=shift_to_zero),
                Spacingd(pixdim=(*self.spacing, -1), mode=modes, **volumes),
                ResizeWithPadOrCropd(spatial_size=(*self.size, -1), **volumes),
                Lambdad(keys="image", func=normalize_slices),
                EnsureTyped(**volumes, dtype=types),
            ]
        )


class CheckVolumed(MapTransform):
    """Refuse what cannot be trained or predicted on, naming the file; turn label values into classes.

    Raises:
        InputError: not 3-D (a stack of slices); fewer than ``min_slices`` slices; no voxel size; NaN or infinite
            voxels; a constant image; a label of another shape or voxel size than the image; a label value that is no class.
    """

    def __init__(
        self,
        keys: Sequence[str],
        num_classes: int,
        label_map: Mapping[str, int] | None = None,
        min_slices: int = 2,
    ) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.num_classes = num_classes
        self.label_map = label_map
        self.min_slices = min_slices

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict:
        data = dict(data)
        for key in self.key_iterator(data):
            self._check_shape(data[key])
        image, label = data["image"], data.get("label")
        self._check_intensities(image)
        if label is not None:
            data["label"] = self._checked_label(image, label)
        return data

    def _check_shape(self, volume: MetaTensor) -> None:
        if volume.ndim != 4:
            raise InputError(
                f"{file_of(volume)} is {volume.ndim - 1}-D, expected a 3-D stack of slices (x, y, slices) or a 4-D cine: "
                "for single 2-D images use a data set of images."
            )
        if volume.shape[-1] < self.min_slices:
            raise InputError(
                f"{file_of(volume)} has {volume.shape[-1]} slice(s), expected at least {self.min_slices}: a short-axis "
                "stack covers the ventricles; check that the whole series was converted."
            )
        size = _voxel_size(volume)
        if not torch.isfinite(volume.affine).all() or not (size > 0).all():
            raise InputError(
                f"{file_of(volume)} has the voxel size {_triple(size)} mm, expected three positive numbers: repair the "
                "file's header."
            )

    def _check_intensities(self, image: MetaTensor) -> None:
        if not torch.isfinite(image).all():
            raise InputError(f"{file_of(image)} has NaN or infinite voxels: export the image again, or mask them.")
        if image.min() == image.max():
            raise InputError(
                f"{file_of(image)} is constant ({float(image.min()):g} everywhere): it shows nothing; export it "
                "again, or take it out."
            )

    def _checked_label(self, image: MetaTensor, label: MetaTensor) -> MetaTensor:
        if label.shape[1:] != image.shape[1:] or len(label) != 1:
            raise InputError(
                f"{file_of(label)} has shape {_xyz(label)}, its image {file_of(image)} {_xyz(image)}: a label must lie on "
                "its image's grid and be 3-D."
            )
        # Voxels of image and label belong together by their indices, whatever the affines say of orientation.
        if not torch.allclose(_voxel_size(label), _voxel_size(image), rtol=0.01):
            raise InputError(
                f"{file_of(label)} has the voxel size {_triple(_voxel_size(label))} mm, its image {file_of(image)} "
                f"{_triple(_voxel_size(image))} mm: a label must lie on its image's grid; copy the image's header to it."
            )
        if not torch.allclose(label.affine, image.affine, atol=0.5):
            logger.warning("%s lies elsewhere than its image by its affine: taken voxel by voxel.", file_of(label))
        classes = mapped(label.as_tensor().numpy(), self.num_classes, self.label_map, file_of(label))
        return MetaTensor(torch.from_numpy(classes), meta=label.meta | {"affine": image.affine.clone()})


def file_of(volume: Tensor) -> str:
    """The file that a MetaTensor was read from."""
    return str(getattr(volume, "meta", {}).get("filename_or_obj", "an image"))


def _xyz(volume: Tensor) -> str:
    """Shape of ``volume`` (C, x, y, z) as its file has it: the channels of a file come last."""
    return " x ".join(str(n) for n in (*volume.shape[1:], *volume.shape[:1]) if n > 1)


def _voxel_size(volume: MetaTensor) -> Tensor:
    """Edges of a voxel in mm, (3,); MetaTensor's own ``pixdim`` has 1 for 0."""
    return volume.affine[:3, :3].norm(dim=0)


def _triple(values: Tensor) -> str:
    return " x ".join(f"{float(value):.4g}" for value in values)


def shift_to_zero(image: Tensor) -> Tensor:
    """Shift intensities so that the minimum is 0 and padding with 0 looks like air."""
    return image - image.min()


def normalize_slices(image: Tensor) -> Tensor:
    """(x - mean) / (max - min) for each channel of each slice of ``image`` (C, H, W[, slices]); a flat slice is 0."""
    mean = image.mean(dim=(1, 2), keepdim=True)
    extent = image.amax(dim=(1, 2), keepdim=True) - image.amin(dim=(1, 2), keepdim=True)
    return (image - mean) / extent.where(extent > 0, torch.ones_like(extent))


class ToNativeGrid(Transform):
    """Resample class probabilities from the networks' grid to the acquired one.

    More than a pixel beyond the networks' field of view all are 0, which arg-max takes for class 0, the background: to
    repeat the border would draw stripes from whatever the field of view cuts.
    """

    def __init__(self) -> None:
        self.resample = SpatialResample(mode="bilinear", padding_mode="zeros", align_corners=False)

    def __call__(  # type: ignore[override]
        self, probabilities: Tensor, source: MetaTensor, affine: Tensor, shape: Sequence[int]
    ) -> Tensor:
        """Resample linearly; arg-max comes after.

        Args:
            probabilities: (K, H, W, slices), on the grid of ``source``.
            source: the preprocessed image (C, H, W, slices), which knows its affine.
            affine: (4, 4) of the acquired grid.
            shape: its (x, y, slices).

        Returns:
            (K, x, y, slices) float.
        """
        on_grid = MetaTensor(probabilities, affine=source.affine)
        return self.resample(on_grid, dst_affine=affine, spatial_size=tuple(shape)).as_subclass(Tensor)
