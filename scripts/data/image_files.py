"""Photographs and their masks from files: PNG, JPEG, TIFF and BMP, decoded by Pillow to 8 bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from scripts.errors import InputError, root_cause
from scripts.labels import VOID

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Of photographs and masks, in lower case."""
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
"""What is read, whatever the suffix says."""
JPEG_FORMATS = ("JPEG", "MPO")
"""Pillow's names of a JPEG; MPO is the one of some cameras and phones, whose first picture is the photograph."""

GREY_MODES = {"1", "L", "LA", "I;16", "I;16L", "I;16B", "I"}
COLOR_MODES = {"RGB", "RGBA", "P", "PA"}
DEEP_MODES = {"I;16", "I;16L", "I;16B", "I"}
MASK_MODES = {"1", "L", "P"} | DEEP_MODES

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself before a pixel is decoded.

    Attributes:
        channels: 1 for grey, 3 for colour (a palette is colour); opacity is not counted.
        bits: of one channel in the file, 1 to 32.
        height, width: in pixels, as ``read_image`` returns them, that is after the camera's orientation.
    """

    channels: int
    bits: int
    height: int
    width: int


def image_header(path: str | Path) -> ImageHeader:
    """Read the header of a photograph.

    Raises:
        InputError: no such file, not an image of ``FORMATS``, several pictures in one file, or neither grey nor RGB.
    """
    with _opened(Path(path)) as (image, bits):
        return _header(image, bits, Path(path))


def read_image(path: str | Path, channels: int, with_mask: bool = False) -> Pixels:
    """Decode a photograph, turned upright as its EXIF orientation says.

    Grey files of 16 or 32 bits are stretched from their own minimum and maximum to 0 to 255. The bundle normalises an
    image by its own mean and extent, so that this costs precision and nothing else.

    Args:
        path: 8-bit grey, RGB or palette; with an alpha channel only if it is opaque everywhere.
        channels: 3 takes colour files; 1 takes grey ones, and colour ones as luminance (ITU-R 601).
        with_mask: a mask belongs to it, which knows no orientation, so that nobody can tell whether it was drawn on the
            picture as stored or as shown.

    Returns:
        (channels, H, W) uint8.

    Raises:
        InputError: as ``image_header``; not complete; transparent somewhere; grey or 16-bit where colour is expected;
            turned by its EXIF orientation though ``with_mask``.
    """
    if channels not in (1, 3):
        raise InputError(f"images have 1 (grey) or 3 (RGB) channels here, got image_channels = {channels!r}.")
    path = Path(path)
    with _opened(path) as (image, bits):
        _check_channels(path, _header(image, bits, path), channels)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if with_mask and orientation != 1:
            raise InputError(
                f"{path} has a mask and the EXIF orientation {orientation}, by which viewers turn or mirror it: whether the "
                "mask was drawn on the picture as stored or as shown cannot be told. Save the picture upright, without "
                "the tag, so that it lies as its mask does."
            )
        if image.mode in DEEP_MODES:
            return _stretched(np.asarray(ImageOps.exif_transpose(image)))[np.newaxis]
        _check_opaque(path, image)
        upright = ImageOps.exif_transpose(image)
        if channels == 1:
            return np.array(upright.convert("L"))[np.newaxis]
        return np.ascontiguousarray(np.asarray(upright.convert("RGB")).transpose(2, 0, 1))


def read_mask(path: str | Path) -> Pixels:
    """Decode a mask: class indices as they stand in the file, whatever colours a palette gives them.

    Args:
        path: palette, grey or 1-bit (0 and 1) PNG, TIFF or BMP; 16 and 32 bits pass if no value is above 255.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: as ``image_header``; not complete; JPEG, which alters values; colours instead of indices; a value
            outside 0 to 255.
    """
    path = Path(path)
    with _opened(path) as (image, bits):
        if image.format in JPEG_FORMATS:
            raise InputError(
                f"mask {path} is a JPEG, whose compression alters label values at every edge: expected PNG, TIFF or BMP. "
                "Export it from the annotation again as PNG; converting the JPEG does not bring the values back."
            )
        if image.mode == "F":
            raise InputError(f"mask {path} holds fractions (32-bit float): save it as 8-bit class indices.")
        if image.mode not in MASK_MODES:
            raise InputError(
                f"mask {path} holds colours (mode {image.mode}), not class indices: expected one channel, palette or grey. "
                "Most likely a palette PNG was opened and saved as RGB: take the original file, or map each colour of the "
                "palette back to its index."
            )
        values = np.asarray(image)
    if image.mode == "L" and bits in (2, 4):
        values = values // (255 // (2**bits - 1))  # Pillow stretches grey of few bits to 0..255
    if values.size and not 0 <= int(values.min()) <= int(values.max()) <= VOID:
        raise InputError(
            f"mask {path} holds values from {values.min()} to {values.max()}, expected class indices, 0 to 254, and {VOID} "
            "for void: map them (an instance map, for one, is not a mask of classes)."
        )
    return values.astype(np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Image.Image, int]]:
    """The image, not decoded yet, and the bits of one channel; whatever goes wrong with it as ``InputError``."""
    try:
        with path.open("rb") as file:
            start = file.read(25)
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                pictures = getattr(image, "n_frames", 1)
                if pictures > 1 and image.format not in JPEG_FORMATS:
                    raise InputError(
                        f"{path} holds {pictures} pictures, expected one: save each as a file of its own, or convert a "
                        "stack of slices to a volume (NIfTI, NRRD)."
                    )
                yield image, _bits(image, start)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there: check dataset_dir, or the data list that names it.") from error
    except Exception as error:  # decoders raise whatever their C libraries do
        reason = "its content is of no known format" if isinstance(error, UnidentifiedImageError) else root_cause(error)
        raise InputError(
            f"{path} cannot be read as an image: {reason}. Expected a complete PNG, JPEG, TIFF or BMP file: "
            "copy or export it again."
        ) from error


def _bits(image: Image.Image, start: bytes) -> int:
    """Bits of one channel in the file. Pillow reduces 16-bit colour to 8 without a word, so the file is asked."""
    if image.format == "PNG":
        return start[24]  # IHDR: width, height, bit depth (PNG specification, 11.2.1)
    if image.format == "TIFF":
        sample_bits = image.tag_v2.get(258, 1)  # type: ignore[attr-defined]  # BitsPerSample
        return max(sample_bits) if isinstance(sample_bits, tuple) else int(sample_bits)
    return 1 if image.mode == "1" else 8


def _header(image: Image.Image, bits: int, path: Path) -> ImageHeader:
    if image.mode not in GREY_MODES | COLOR_MODES:
        raise InputError(
            f"{path} has the pixel format {image.mode} ({bits} bits), expected grey, RGB or palette: convert it to 8-bit "
            "RGB or grey PNG."
        )
    width, height = image.size
    # Pillow turns a TIFF by itself, size included.
    if image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:
        width, height = height, width
    return ImageHeader(1 if image.mode in GREY_MODES else 3, bits, height, width)


def _check_channels(path: Path, header: ImageHeader, channels: int) -> None:
    if header.bits > 8 and (channels == 3 or header.channels == 3):
        kind = "grey" if header.channels == 1 else "RGB"
        raise InputError(
            f"{path} is {header.bits}-bit {kind}, expected 8 bits a channel where images are "
            f"{'RGB' if channels == 3 else 'colour'}: convert it to 8-bit{' RGB' if channels == 3 else ''}"
            f"{', or give --image_channels 1 for a set of grey images' if header.channels == 1 else ''}."
        )
    if header.channels < channels:
        raise InputError(
            f"{path} is grey, expected RGB as the rest of the set: convert it to RGB, or give --image_channels 1 to use "
            "the whole set as grey images."
        )


def _check_opaque(path: Path, image: Image.Image) -> None:
    if image.has_transparency_data:
        opacity, _ = cast(tuple[int, int], image.convert("RGBA").getchannel("A").getextrema())
        if opacity < 255:
            raise InputError(
                f"{path} is transparent in places (smallest opacity {opacity} of 255), so what it shows there is not said: "
                "expected an opaque image. Flatten it onto a background and save it without the alpha channel."
            )


def _stretched(values: NDArray) -> Pixels:
    """``values`` mapped linearly from their own extent to 0 to 255; all 0 if they are constant."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    return np.rint((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
