"""Small data sets of images in the layouts that the bundle reads: coloured shapes on textured ground."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from scripts.data.cityscapes import CLASSES
from scripts.data.voc import class_color
from scripts.labels import VOID

PALETTE = [part for index in range(256) for part in class_color(index)]


def write_voc(
    folder: Path, train: int = 6, aug: int = 4, val: int = 3, size: tuple[int, int] = (40, 48), seed: int = 0
) -> Path:
    """VOC 2012 in ``folder``/VOCdevkit, palette masks as in the originals; every other image is upright, W x H.

    ``train`` and ``val`` have masks with a void border in SegmentationClass; all have one in SegmentationClassAug, there
    without a border for the ``aug`` images. trainaug.txt, train.txt and val.txt list them.
    """
    root = Path(folder) / "VOCdevkit" / "VOC2012"
    names = [f"2007_{number:06d}" for number in range(train + aug + val)]
    sets = {
        "train": names[:train],
        "trainaug": names[: train + aug],
        "val": names[train + aug :],
    }
    for index, name in enumerate(names):
        rng = np.random.default_rng((seed, index))
        mask = shapes(size if index % 2 == 0 else size[::-1], (3, 8, 15, 20), rng)
        write_image(root / "JPEGImages" / f"{name}.jpg", colored(mask, rng))
        bordered = with_void_border(mask)
        if name not in sets["trainaug"][train:]:
            write_mask(root / "SegmentationClass" / f"{name}.png", bordered, palette=True)
            mask = bordered
        write_mask(root / "SegmentationClassAug" / f"{name}.png", mask, palette=True)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for set_name, listed in sets.items():
        (lists / f"{set_name}.txt").write_text("".join(f"{name}\n" for name in listed), encoding="utf-8")
    return Path(folder)


def write_cityscapes(folder: Path, train: int = 5, val: int = 2, size: tuple[int, int] = (32, 64)) -> Path:
    """Cityscapes in ``folder``: labelIds with the own car (1), the border (3) and static things (4), which are void."""
    height, width = size
    for number in range(train + val):
        rng = np.random.default_rng((1, number))
        part = "train" if number < train else "val"
        city = "aachen" if number % 2 == 0 else "zürich"
        name = f"{city}_{number:06d}_000019"
        ids = np.full(size, 23, np.uint8)  # sky
        ids[height // 4 : height // 2] = 11
        ids[height // 4 : height // 2, width // 2 :] = 21
        ids[height // 2 :] = 7
        ids[height // 2 :, : width // 8] = 8
        things = shapes(size, (17, 20, 24, 26, 33, 4), rng, ground=0)
        ids[things > 0] = things[things > 0]
        ids[-height // 8 :, width // 4 : -width // 4] = 1
        ids[:1], ids[:, :1], ids[:, -1:] = 3, 3, 3
        write_image(Path(folder) / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", colored(ids, rng))
        write_mask(Path(folder) / "gtFine" / part / city / f"{name}_gtFine_labelIds.png", ids)
    return Path(folder)


def train_ids(label_ids: np.ndarray) -> np.ndarray:
    """Cityscapes' train ids (void 255) of its label ids, both uint8."""
    table = np.full(256, VOID, np.uint8)
    for train_id, entry in enumerate(CLASSES):
        table[entry.label_id] = train_id
    return table[label_ids]


def write_folder(
    folder: Path,
    labeled: int = 6,
    unlabeled: int = 3,
    size: tuple[int, int] = (40, 48),
    channels: int = 3,
    classes: int = 3,
    suffix: str = ".png",
) -> Path:
    """``folder``/images and ``folder``/labels, PNG masks of 0 to ``classes`` - 1; the last images have no label."""
    for number in range(labeled + unlabeled):
        rng = np.random.default_rng((2, number))
        mask = shapes(size, range(1, classes), rng)
        image = colored(mask, rng)
        write_image(Path(folder) / "images" / f"scene {number:02d}{suffix}", image if channels == 3 else image[..., 0])
        if number < labeled:
            write_mask(Path(folder) / "labels" / f"scene {number:02d}.png", mask)
    return Path(folder)


def write_volume_folder(folder: Path, labeled: int = 4, unlabeled: int = 2, cine: bool = True) -> Path:
    """``folder``/images and ``folder``/labels of NIfTI volumes 24 x 20 x 3 at 2 x 2 x 8 mm, classes 0 to 2.

    The last ``unlabeled`` have no label, and with ``cine`` three phases.
    """
    for number in range(labeled + unlabeled):
        rng = np.random.default_rng((3, number))
        mask = np.stack([shapes((24, 20), (1, 2), rng) for _ in range(3)], axis=-1)
        image = colored(mask, rng)[..., 0].astype(np.int16) * 4
        if number < labeled:
            write_volume(Path(folder) / "labels" / f"study{number}_gt.nii.gz", mask)
        elif cine:
            image = np.stack([image, np.roll(image, 1, 0), np.roll(image, 2, 0)], axis=-1)
        write_volume(Path(folder) / "images" / f"study{number}.nii.gz", image)
    return Path(folder)


def shapes(size: tuple[int, int], values: Sequence[int], rng: np.random.Generator, ground: int = 0) -> np.ndarray:
    """One ellipse of each of ``values`` on ``ground``, apart from one another, (H, W) uint8; each is seen."""
    height, width = size
    rows, columns = np.indices(size)
    mask = np.full(size, ground, np.uint8)
    across = int(np.ceil(np.sqrt(len(values))))
    down = int(np.ceil(len(values) / across))
    for place, value in zip(rng.permutation(across * down), values, strict=False):
        row, column = (place // across + 0.5) * height / down, (place % across + 0.5) * width / across
        tall, wide = rng.uniform(0.25, 0.4, 2) * (height / down, width / across)
        mask[((rows - row) / tall) ** 2 + ((columns - column) / wide) ** 2 <= 1] = value
    return mask


def with_void_border(mask: np.ndarray) -> np.ndarray:
    """``mask`` with void where objects end, a pixel wide on the ground."""
    return np.where(binary_dilation(mask > 0) & (mask == 0), VOID, mask).astype(np.uint8)


def colored(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image of ``mask`` (any shape) in colours by class with texture and noise, (..., 3) uint8."""
    colors = np.array([[80 + 120 * (bit & 1), 60 + 37 * bit % 160, 40 + 71 * bit % 200] for bit in range(256)])
    texture = gaussian_filter(rng.normal(size=(*mask.shape, 3)), [1.5] * mask.ndim + [0]) * 60
    noise = rng.normal(scale=4, size=(*mask.shape, 3))
    return np.clip(colors[mask] + texture + noise, 0, 255).astype(np.uint8)


def write_image(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, values: np.ndarray, palette: bool = False) -> Path:
    """PNG of class indices: with VOC's colours as a palette, or grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if palette:
        image.putpalette(PALETTE)
    image.save(path)
    return path


def write_volume(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([-2.0, -2.0, 8.0, 1.0])), path)
    return path
