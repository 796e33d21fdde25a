"""From a stack of slices as acquired to the grid that the networks see, and back."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from monai.data import MetaTensor
from monai.data.image_reader import NibabelReader
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    Lambdad,
    LoadImaged,
    MapTransform,
    ResizeWithPadOrCropd,
    Spacingd,
    SpatialResample,
    Transform,
)
from torch import Tensor

from scripts.data.reader import SimpleITKReader
from scripts.errors import InputError

VOID = 255


@dataclass(frozen=True)
class SliceGrid:
    """In-plane grid of the networks: spacing in mm, size in pixels; slices stay as acquired, never reoriented.

    192 x 192 at 1.5 mm is a field of view of 288 mm, which holds every labelled voxel of ACDC.
    """

    spacing: tuple[float, float] = (1.5, 1.5)
    size: tuple[int, int] = (192, 192)

    def __post_init__(self) -> None:
        for name, values in (("spacing", self.spacing), ("size", self.size)):
            if len(values) != 2 or not all(value > 0 for value in values):
                raise InputError(f"the grid's {name} must be two positive numbers, got {values!r}.")
            object.__setattr__(self, name, tuple(values))

    def preprocessing(self, keys: Sequence[str] = ("image",), num_classes: int = 4, min_slices: int = 2) -> Compose:
        """Read, check, resample in-plane, crop or pad about the centre, normalise each slice.

        Args:
            keys: "image", and "label" where there is one. Items without a label key pass.
            num_classes: labels must lie in [0, num_classes), or be 255 = void.
            min_slices: a volume of fewer slices is refused.

        Returns:
            A transform of a dict of paths to ``image`` (C or phases, H, W, slices) float32 and ``label``
            (1, H, W, slices) uint8, both MetaTensor.
        """
        volumes = {"keys": keys, "allow_missing_keys": True}
        modes = [{"image": "bilinear"}.get(key, "nearest") for key in keys]
        return Compose(
            [
                LoadImaged(reader=[SimpleITKReader(), NibabelReader()], **volumes),
                EnsureChannelFirstd(**volumes),
                CheckVolumed(keys, num_classes=num_classes, min_slices=min_slices),
                Lambdad(keys="image", func=shift_to_zero),
                Spacingd(pixdim=(*self.spacing, -1), mode=modes, **volumes),
                ResizeWithPadOrCropd(spatial_size=(*self.size, -1), **volumes),
                Lambdad(keys="image", func=normalize_slices),
                EnsureTyped(
                    keys=keys,
                    allow_missing_keys=True,
                    dtype=[{"image": torch.float32}.get(k, torch.uint8) for k in keys],
                ),
            ],
            # Lazy resampling would merge spacing and crop, but the check between reading and them must see voxels.
            lazy=False,
        )


class CheckVolumed(MapTransform):
    """Refuse what cannot be trained or predicted on, naming the file.

    Raises:
        InputError: not 3-D (a stack of slices); fewer than ``min_slices`` slices; NaN or infinite voxels; a constant
            image; a label of another shape than the image; a label value outside the classes.
    """

    def __init__(self, keys: Sequence[str], num_classes: int, min_slices: int = 2) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.num_classes = num_classes
        self.min_slices = min_slices

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict:
        data = dict(data)
        for key in self.key_iterator(data):
            self._check_shape(data[key])
        image, label = data["image"], data.get("label")
        self._check_intensities(image)
        if label is not None:
            self._check_label(image, label)
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

    def _check_intensities(self, image: MetaTensor) -> None:
        if not torch.isfinite(image).all():
            raise InputError(f"{file_of(image)} has NaN or infinite voxels: export the image again, or mask them.")
        if image.min() == image.max():
            raise InputError(f"{file_of(image)} is constant ({float(image.min()):g} everywhere): it shows nothing.")

    def _check_label(self, image: MetaTensor, label: MetaTensor) -> None:
        if label.shape[1:] != image.shape[1:]:
            raise InputError(
                f"{file_of(label)} has shape {tuple(label.shape[1:])}, its image {tuple(image.shape[1:])}: a label must lie "
                "on its image's grid."
            )
        values = torch.unique(label).tolist()
        wrong = [value for value in values if value != VOID and value not in range(self.num_classes)]
        if wrong:
            raise InputError(
                f"{file_of(label)} has the label values {wrong[:8]}, expected 0 to {self.num_classes - 1} or {VOID} (void): "
                "map the labels, or set num_classes."
            )


def file_of(volume: Tensor) -> str:
    """The file that a MetaTensor was read from."""
    return str(getattr(volume, "meta", {}).get("filename_or_obj", "an image"))


def shift_to_zero(image: Tensor) -> Tensor:
    """Shift intensities so that the minimum is 0 and padding with 0 looks like air."""
    return image - image.min()


def normalize_slices(image: Tensor) -> Tensor:
    """(x - mean) / (max - min) for each channel of each slice of ``image`` (C, H, W[, slices]); a flat slice is 0."""
    mean = image.mean(dim=(1, 2), keepdim=True)
    extent = image.amax(dim=(1, 2), keepdim=True) - image.amin(dim=(1, 2), keepdim=True)
    return (image - mean) / extent.where(extent > 0, torch.ones_like(extent))


class ToNativeGrid(Transform):
    """Resample class probabilities from the networks' grid to the acquired one."""

    def __init__(self) -> None:
        self.resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False)

    def __call__(self, probabilities: Tensor, source: MetaTensor, affine: Tensor, shape: Sequence[int]) -> Tensor:
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
        return self.resample(on_grid, dst_affine=affine, spatial_size=tuple(shape)).as_tensor()
