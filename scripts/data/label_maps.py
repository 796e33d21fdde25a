"""Label maps as files: in the format and on the grid of the image that they belong to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
import SimpleITK
from numpy.typing import NDArray
from PIL import Image

from scripts.data.image_files import IMAGE_SUFFIXES
from scripts.data.reader import NIFTI_SUFFIXES
from scripts.files import write_atomically

SUFFIXES = {
    ".nii.gz": ".nii.gz",
    ".nii": ".nii",
    ".nrrd": ".nrrd",
    ".nhdr": ".nrrd",
    ".mha": ".mha",
    ".mhd": ".mha",
}
"""Of images, and of their label maps: of formats that are one file, which can be there whole or not at all."""
PHOTOGRAPH_SUFFIXES = dict.fromkeys(IMAGE_SUFFIXES, ".png")
"""Of photographs, and of their label maps: never a lossy format."""
OTHER_SUFFIX = ".mha"
"""Of label maps of images in any other format that SimpleITK reads."""

Labels = NDArray[np.uint8]


def split_name(path: str | Path) -> tuple[str, str]:
    """Stem and suffix of a file's name: ``a.b.nii.gz`` is ``a.b`` and ``.nii.gz``."""
    name = Path(path).name
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), Path(path).suffix)
    return name[: len(name) - len(suffix)], name[len(name) - len(suffix) :]


def label_map_name(image: str | Path) -> str:
    """Name of the label map of ``image``: its stem, ``_seg``, and the suffix that goes with its own."""
    stem, suffix = split_name(image)
    return f"{stem}_seg{(SUFFIXES | PHOTOGRAPH_SUFFIXES).get(suffix.lower(), OTHER_SUFFIX)}"


def write_label_map(path: str | Path, labels: Labels, image: str | Path, palette: Sequence[int] = ()) -> Path:
    """Write ``labels`` to ``path`` on exactly the grid of ``image``.

    NIfTI gets the image's header, so that sform, qform and units are equal bit for bit. Other formats get the origin,
    spacing and direction that SimpleITK reads; NRRD stores products of these, in which the last bit may differ.

    Args:
        path: what ``label_map_name`` calls it.
        labels: (P, x, y, z) uint8, P = 1 for a 3-D image, else its phases; of a photograph (1, h, w).
        image: the file that was labelled.
        palette: red, green, blue of class 0, 1, ..., each 0 to 255, by which viewers show the label map of a photograph.

    Raises:
        InputError: if the file cannot be written; what stood there stays.
    """
    if split_name(image)[1].lower() in PHOTOGRAPH_SUFFIXES:
        return write_atomically(path, _png(labels[0], palette))
    nifti = str(path).lower().endswith(NIFTI_SUFFIXES)
    return _write_with_suffix(Path(path), (_nifti if nifti else _simple_itk)(labels, Path(image)))


def _png(labels: Labels, palette: Sequence[int]) -> Callable[[Path], object]:
    picture = Image.fromarray(labels)
    if palette:
        picture.putpalette(list(palette))
    return lambda path: picture.save(path, format="PNG")


def _nifti(labels: Labels, image: Path) -> Callable[[Path], object]:
    source = cast(nib.Nifti1Image, nib.load(image))
    header = source.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header.extensions.clear()
    array = np.moveaxis(labels, 0, -1).reshape(source.shape)
    # Without an affine nibabel leaves sform and qform of the header as they are.
    return type(source)(array, None, header).to_filename


def _simple_itk(labels: Labels, image: Path) -> Callable[[Path], object]:
    source = SimpleITK.ReadImage(str(image))
    vectors = source.GetNumberOfComponentsPerPixel() > 1
    if vectors:
        array = labels.transpose(3, 2, 1, 0)
    elif source.GetDimension() == 4:
        array = labels.transpose(0, 3, 2, 1)
    else:
        array = labels[0].transpose(2, 1, 0)
    written = SimpleITK.GetImageFromArray(np.ascontiguousarray(array), isVector=vectors)
    written.CopyInformation(source)
    return lambda path: SimpleITK.WriteImage(written, str(path), useCompression=True)


def _write_with_suffix(path: Path, write: Callable[[Path], object]) -> Path:
    """``write_atomically`` for writers that choose the format by the suffix."""

    def write_and_rename(partial: Path) -> None:
        named = partial.with_name(partial.name + split_name(path)[1])
        try:
            write(named)
            named.replace(partial)
        finally:
            named.unlink(missing_ok=True)

    return write_atomically(path, write_and_rename)
