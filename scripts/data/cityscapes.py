"""Cityscapes in its official layout: fine annotations of street scenes.

Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016. Files:
``leftImg8bit/{train,val}/CITY/*_leftImg8bit.png`` and ``gtFine/{train,val}/CITY/*_gtFine_labelIds.png``.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scripts.data.image_split import Item, check_split_name, cut_data_list, random_cut, random_order, read_data_list
from scripts.data.split import refuse_other_count
from scripts.errors import InputError
from scripts.labels import VOID


class StreetClass(NamedTuple):
    """A class that is trained and scored; ``label_id`` is its value in labelIds files."""

    label_id: int
    name: str
    color: tuple[int, int, int]


CLASSES = (
    StreetClass(7, "road", (128, 64, 128)),
    StreetClass(8, "sidewalk", (244, 35, 232)),
    StreetClass(11, "building", (70, 70, 70)),
    StreetClass(12, "wall", (102, 102, 156)),
    StreetClass(13, "fence", (190, 153, 153)),
    StreetClass(17, "pole", (153, 153, 153)),
    StreetClass(19, "traffic light", (250, 170, 30)),
    StreetClass(20, "traffic sign", (220, 220, 0)),
    StreetClass(21, "vegetation", (107, 142, 35)),
    StreetClass(22, "terrain", (152, 251, 152)),
    StreetClass(23, "sky", (70, 130, 180)),
    StreetClass(24, "person", (220, 20, 60)),
    StreetClass(25, "rider", (255, 0, 0)),
    StreetClass(26, "car", (0, 0, 142)),
    StreetClass(27, "truck", (0, 0, 70)),
    StreetClass(28, "bus", (0, 60, 100)),
    StreetClass(31, "train", (0, 80, 100)),
    StreetClass(32, "motorcycle", (0, 0, 230)),
    StreetClass(33, "bicycle", (119, 11, 32)),
)
"""In the order of the official train ids, 0 to 18; every other label id is void."""
LABEL_MAP = {str(entry.label_id): train_id for train_id, entry in enumerate(CLASSES)}

IMAGE_END, LABEL_END = "_leftImg8bit.png", "_gtFine_labelIds.png"
OTHER_ENDS = ("_gtFine_labelTrainIds.png", "_gtFine_color.png", "_gtFine_instanceIds.png")
"""Of files beside the labelIds that are taken for them."""
SPLITS = ("paper", "official")
PAPER_VALIDATION, PAPER_POOL = 522, 3475
"""Mondal et al. 2019, section 4.1: 2,953 training and 522 validation images of the 3,475 with fine annotation."""
REMEDY = (
    "Cityscapes is had, after registration, from https://www.cityscapes-dataset.com/downloads/: unpack "
    "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into one folder and give it as --dataset_dir."
)


def data_list(
    dataset_dir: str | Path | None,
    split: str | Path = "paper",
    labeled_fraction: float | None = None,
    labeled_images: int | None = None,
    seed: int = 0,
    labeled_patients: None = None,
) -> dict[str, Any]:
    """Data list of Cityscapes with sections ``labeled``, ``unlabeled``, ``validation``, ``test``.

    Args:
        dataset_dir: the folder that holds leftImg8bit and gtFine; paths in the list are relative to it.
        split: "paper": train and val together, of which a drawn part (522 of 3,475) is for validation. "official": train
            for training, val for validation. Or a data-list JSON, which is taken as it is.
        labeled_fraction, labeled_images: how many of the training images are labelled, in an order drawn with ``seed``
            (of a data list: its own order), a smaller choice inside a larger one; None of both labels all.
        seed: of the drawn validation images and of the order.
        labeled_patients: refused, for there are no patients.

    Returns:
        The data list. Masks are the labelIds files as they are; ``label_map`` has the 19 ids that are classes.

    Raises:
        InputError: no such folder or split, an image without its mask, masks of another kind than labelIds, a fraction or
            number out of range.
    """
    known = {
        "name": "Cityscapes",
        "licence": "Cityscapes terms of use: non-commercial research",
        "labels": {str(train_id): entry.name for train_id, entry in enumerate(CLASSES)},
        "colors": {str(train_id): list(entry.color) for train_id, entry in enumerate(CLASSES)},
        "label_map": dict(LABEL_MAP),
        "background": False,
    }
    refuse_other_count(labeled_patients, "labeled_patients", "labeled_images")
    check_split_name(split, SPLITS)
    if split not in SPLITS:
        made = known | read_data_list(split, dataset_dir or "")
        return cut_data_list(made, labeled_fraction, labeled_images)
    if not dataset_dir:
        raise InputError(f"no dataset_dir was given. {REMEDY}")
    found = {part: _find_items(Path(dataset_dir), part) for part in ("train", "val")}
    if both := sorted(found["train"].keys() & found["val"].keys()):
        raise InputError(f"{both[0]} is in train and in val of {dataset_dir}: remove one. {REMEDY}")
    pool = found["train"] | found["val"]
    if split == "paper":
        training, validation = random_cut(list(pool), max(1, round(len(pool) * PAPER_VALIDATION / PAPER_POOL)), seed)
        description = f"the paper's split, drawn with seed {seed}"
    else:
        training, validation = random_order(list(found["train"]), seed), sorted(found["val"])
        description = f"train and val, in the labelled order of seed {seed}"
    made = {
        **known,
        "description": f"{description}: {len(training)} training, {len(validation)} validation images",
        "labeled": [pool[name] for name in training],
        "unlabeled": [],
        "validation": [pool[name] for name in validation],
        "test": [],
    }
    return cut_data_list(made, labeled_fraction, labeled_images)


def check_label_ids(values: Iterable[int], path: str | Path, label_map: Mapping[str, int] = LABEL_MAP) -> None:
    """Refuse a mask that is mapped to classes already, as a labelTrainIds file under the name of a labelIds one.

    Taken for such is a mask that holds 255, which the map does not know; otherwise only values that are class indices;
    and at least two that the map would throw away as void. Every labelTrainIds file of Cityscapes is like this (the own
    car is void in all, and class 0, the road, is no label id that counts), and no labelIds file: those have no 255, and
    have ids above 18 for the sky, plants and cars. Maps of other data sets that keep values as they are never match.

    Args:
        values: the values that occur in one mask, as in the file.
        path: of the mask, for the message.
        label_map: {"value in the file": class}, as in a data list; other values are void.

    Raises:
        InputError: naming the mask and the remedy.
    """
    present = set(values)
    classes = set(label_map.values()) - {VOID}
    others = present - {VOID}
    unknown = {value for value in others if str(value) not in label_map}
    if VOID in present and str(VOID) not in label_map and others <= classes and len(unknown) > 1:
        raise InputError(
            f"mask {path} holds the values {', '.join(map(str, sorted(present)))}: these are classes with 255 for void "
            "(as in Cityscapes' labelTrainIds files), but the data list's label_map expects the values of label files "
            "(labelIds). Give the labelIds files, or, where masks hold classes already, take label_map out of the data list."
        )


def _find_items(root: Path, part: str) -> dict[str, Item]:
    """Items of "train" or "val" by name (city, sequence and frame), paths relative to ``root``."""
    folder = root / "leftImg8bit" / part
    images = sorted(path for path in folder.glob(f"*/*{IMAGE_END}") if not path.name.startswith("."))
    if not images:
        raise InputError(f"{folder} holds no images CITY/*{IMAGE_END}, expected Cityscapes' layout. {REMEDY}")
    items = {}
    for image in images:
        name = image.name.removesuffix(IMAGE_END)
        label = root / "gtFine" / part / image.parent.name / f"{name}{LABEL_END}"
        if not label.is_file():
            raise InputError(_missing_label(image, label, name))
        items[name] = {"image": image.relative_to(root).as_posix(), "label": label.relative_to(root).as_posix()}
    return items


def _missing_label(image: Path, label: Path, name: str) -> str:
    others = [f"{name}{end}" for end in OTHER_ENDS if label.with_name(f"{name}{end}").is_file()]
    if others:
        return (
            f"{image} has no mask {label}, only {' and '.join(others)} beside it: expected the labelIds files of the "
            "download, which are mapped to the 19 train ids here. Files of train ids, colours or instances hold other "
            f"values; renaming them does not help. {REMEDY}"
        )
    return f"{image} has no mask {label}: expected one for every image of train and val. {REMEDY}"
