"""Volumes from files: NIfTI by nibabel, every other format that SimpleITK reads by SimpleITK."""

import logging
import warnings
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from monai.config import PathLike
from monai.data.image_reader import ImageReader, NibabelReader
from monai.transforms import LoadImage, MapTransform
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from scripts.errors import InputError, root_cause

NIFTI_SUFFIXES = (".nii", ".nii.gz")


class LoadVolumed(MapTransform):
    """Load the file that each key names as a float32 MetaTensor (x, y, z[, t]); absent keys pass.

    The suffix decides who reads. MONAI's ``LoadImaged`` would try all its readers on a broken file in turn, those for
    photographs and arrays too, and report what the last one made of it.

    Raises:
        InputError: no such file, not complete, or of another format than its suffix says.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(keys, allow_missing_keys=True)
        # MONAI looks for a DICOM decoder for GPUs, and warns twice that it is not there; no DICOM is read here.
        logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*nvImageCodec.*")
            self.load = LoadImage()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        data = dict(data)
        for key in self.key_iterator(data):
            path = str(data[key])
            nifti = path.lower().endswith(NIFTI_SUFFIXES)
            try:
                data[key] = self.load(path, reader=NibabelReader() if nifti else SimpleITKReader())
            except Exception as error:  # readers raise whatever their C libraries and codecs do
                raise InputError(
                    f"{path} cannot be read: {root_cause(error)}. Expected a complete "
                    f"{'NIfTI file' if nifti else 'image file of a format that SimpleITK reads'}: copy or convert it again."
                ) from error
        return data


class SimpleITKReader(ImageReader):
    """Read MetaImage, NRRD, Analyze, ... as arrays (x, y, z[, t]) with a RAS affine. NIfTI is left to nibabel."""

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        return not any(str(name).lower().endswith(NIFTI_SUFFIXES) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> SimpleITK.Image:
        (path,) = ensure_tuple(data)
        return SimpleITK.ReadImage(str(Path(path)), **kwargs)

    def get_data(self, img: SimpleITK.Image) -> tuple[np.ndarray, dict]:
        array = SimpleITK.GetArrayFromImage(img)
        if img.GetNumberOfComponentsPerPixel() > 1:
            array = np.moveaxis(array, -1, 0)
        array = array.T
        affine = ras_affine(img)
        channel_dim: int | float = float("nan") if array.ndim == min(img.GetDimension(), 3) else -1
        meta = {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_AFFINE: affine.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(array.shape[:3]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: channel_dim,
        }
        return array, meta


def ras_affine(image: SimpleITK.Image) -> np.ndarray:
    """Voxel index to RAS millimetres, (4, 4): SimpleITK counts in LPS."""
    dimension = min(image.GetDimension(), 3)
    direction = np.asarray(image.GetDirection()).reshape(image.GetDimension(), -1)[:dimension, :dimension]
    affine = np.eye(4)
    affine[:dimension, :dimension] = direction * np.asarray(image.GetSpacing()[:dimension])
    affine[:dimension, 3] = image.GetOrigin()[:dimension]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
