"""PASCAL VOC 2012 in its official layout, with the augmented masks of SBD beside it.

Everingham et al., "The PASCAL visual object classes challenge: a retrospective", IJCV 2015. Hariharan et al., "Semantic
contours from inverse detectors", ICCV 2011. Files: ``VOC2012/JPEGImages/NAME.jpg``, ``SegmentationClass/NAME.png`` and
``SegmentationClassAug/NAME.png`` (palette PNG, 0 to 20, 255 = void), ``ImageSets/Segmentation/{trainaug,val}.txt``.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.data.image_split import (
    Item,
    check_disjoint,
    check_split_name,
    cut_data_list,
    random_cut,
    random_order,
    read_data_list,
)
from scripts.data.split import refuse_other_count
from scripts.errors import InputError

CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
PLACES = ("", "VOC2012", "VOCdevkit/VOC2012")
"""Where VOC2012 may stand below ``dataset_dir``."""
SETS = "ImageSets/Segmentation"
AUGMENTED = "SegmentationClassAug"
TRAIN_LISTS = ("trainaug.txt", "train_aug.txt")
SPLITS = ("paper", "official")
PAPER_VALIDATION, PAPER_POOL = 1588, 10582
"""Mondal et al. 2019, section 4.1: 8,994 training and 1,588 validation images of the 10,582 augmented ones."""
REMEDY = (
    "VOC 2012 is had from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (VOCtrainval_11-May-2012.tar); unpack it and give "
    "the folder that holds VOCdevkit as --dataset_dir."
)
AUGMENTED_REMEDY = (
    "The augmented masks are not part of VOC: they are made of SBD (Hariharan et al. 2011) and shared as "
    f"SegmentationClassAug.zip, 12,031 palette PNGs; unpack it as VOCdevkit/VOC2012/{AUGMENTED}."
)


def class_color(index: int) -> list[int]:
    """Red, green and blue of a class, by the rule of the VOC development kit: the bits of ``index``, three at a time,
    are dealt to the three colours from their highest bit down."""
    color = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            color[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return color


def data_list(
    dataset_dir: str | Path | None,
    split: str | Path = "paper",
    labeled_fraction: float | None = None,
    labeled_images: int | None = None,
    seed: int = 0,
    labeled_patients: None = None,
) -> dict[str, Any]:
    """Data list of VOC with sections ``labeled``, ``unlabeled``, ``validation``, ``test``.

    Args:
        dataset_dir: the folder that holds VOCdevkit, VOCdevkit itself, or VOC2012; paths in the list are relative to it.
        split: "paper": all images with an augmented mask that are not in the official val.txt, of which a drawn part
            (1,588 of 10,582) is for validation. "official": train_aug, with augmented masks, and val.txt, with the masks
            of SegmentationClass and their void border. Or a data-list JSON, which is taken as it is.
        labeled_fraction, labeled_images: how many of the training images are labelled, in an order drawn with ``seed``
            (of a data list: its own order), a smaller choice inside a larger one; None of both labels all.
        seed: of the drawn validation images and of the order.

    Raises:
        InputError: no such folder or split, a listed image or mask that is not there, an image on both sides, a fraction
            or number out of range.
    """
    known = {
        "name": "VOC 2012",
        "licence": "VOC 2012 terms of use; images under the terms of Flickr",
        "labels": {str(value): name for value, name in enumerate(CLASS_NAMES)},
        "colors": {str(value): class_color(value) for value in range(len(CLASS_NAMES))},
        "background": True,
    }
    refuse_other_count(labeled_patients, "labeled_patients", "labeled_images")
    check_split_name(split, SPLITS)
    if split not in SPLITS:
        made = known | read_data_list(split, dataset_dir or "")
        return cut_data_list(made, labeled_fraction, labeled_images)
    root = _find_root(dataset_dir)
    prefix = root.relative_to(Path(dataset_dir or "")).as_posix()
    official_validation = _read_names(root / SETS / "val.txt")
    if split == "paper":
        pool = _augmented_names(root, without=official_validation)
        count = max(1, round(len(pool) * PAPER_VALIDATION / PAPER_POOL))
        training, validation = random_cut(pool, count, seed)
        validation_masks = AUGMENTED
        description = f"the paper's split, drawn with seed {seed}"
    else:
        given = next((root / SETS / name for name in TRAIN_LISTS if (root / SETS / name).is_file()), None)
        names = _read_names(given) if given else _augmented_names(root, without=official_validation)
        training, validation = random_order(names, seed), official_validation
        validation_masks = "SegmentationClass"
        description = f"train_aug and val, in the labelled order of seed {seed}"
    made = {
        **known,
        "description": f"{description}: {len(training)} training, {len(validation)} validation images",
        "labeled": _items(root, prefix, training, AUGMENTED),
        "unlabeled": [],
        "validation": _items(root, prefix, validation, validation_masks),
        "test": [],
    }
    check_disjoint(made, f"the {split} split of {root}")
    return cut_data_list(made, labeled_fraction, labeled_images)


def _find_root(dataset_dir: str | Path | None) -> Path:
    if not dataset_dir:
        raise InputError(f"no dataset_dir was given. {REMEDY}")
    for place in PLACES:
        root = Path(dataset_dir) / place
        if (root / "JPEGImages").is_dir() and (root / SETS).is_dir():
            return root
    raise InputError(
        f"dataset_dir {dataset_dir} holds no VOC 2012: looked for JPEGImages and {SETS} there and in "
        f"{' and '.join(PLACES[1:])} below it. {REMEDY}"
    )


def _read_names(path: Path) -> list[str]:
    """Names of an image set, one a line."""
    try:
        names = path.read_text("utf-8").split()
    except (OSError, ValueError) as error:
        raise InputError(f"the image list {path} cannot be read: {error}. {REMEDY}") from error
    if not names:
        raise InputError(f"the image list {path} is empty, expected one name a line, as 2007_000032. {REMEDY}")
    return names


def _augmented_names(root: Path, without: Sequence[str]) -> list[str]:
    stems = {Path(name).stem for name in _names_in(root / AUGMENTED) if name.endswith(".png")}
    names = sorted(name for name in stems - set(without) if not name.startswith("."))
    if not names:
        raise InputError(
            f"{root / AUGMENTED} holds no masks beyond those of val.txt, expected one PNG an image. {AUGMENTED_REMEDY}"
        )
    return names


def _names_in(folder: Path) -> set[str]:
    """All names in a folder: one look at it spares a look for each of ten thousand files."""
    try:
        return set(os.listdir(folder))
    except OSError as error:
        remedy = AUGMENTED_REMEDY if folder.name == AUGMENTED else REMEDY
        raise InputError(f"{folder} cannot be read: {error.strerror}. {remedy}") from error


def _items(root: Path, prefix: str, names: Sequence[str], masks: str) -> list[Item]:
    paths = {"image": "JPEGImages/{}.jpg", "label": f"{masks}/{{}}.png"}
    there = {folder: _names_in(root / folder) for folder in ("JPEGImages", masks)}
    items = []
    for name in names:
        item = {key: path.format(name) for key, path in paths.items()}
        for key, path in item.items():
            folder, _, file = path.partition("/")
            if file not in there[folder]:
                raise InputError(
                    f"VOC's {'image' if key == 'image' else 'mask'} {root / path} is not there, but {name} is in the image "
                    f"list or has a file of the other kind. {AUGMENTED_REMEDY if folder == AUGMENTED else REMEDY}"
                )
        items.append({key: path if prefix == "." else f"{prefix}/{path}" for key, path in item.items()})
    return items
