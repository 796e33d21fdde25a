"""A user's own data: a folder of images and a folder of labels, 2-D or volumes, or a data list."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.data.folder_facts import Facts, settle_classes, settle_image_facts, settle_volume_facts
from scripts.data.image_files import IMAGE_SUFFIXES
from scripts.data.image_split import Item, check_split_name, cut_data_list, random_cut, random_order, read_data_list
from scripts.data.label_maps import SUFFIXES, split_name
from scripts.data.split import SECTIONS
from scripts.errors import InputError
from scripts.labels import VOID

VOLUME_SUFFIXES = tuple(SUFFIXES)
COMPANIONS = (".raw", ".zraw")
"""Hold the voxels of a volume whose header is a file of its own."""
PASSED_OVER = ("thumbs.db", "desktop.ini")
LABEL_ENDS = ("_label", "_labels", "_gt", "_seg", "_mask")
"""What a label's name may have behind its image's."""
PARTS = {"training": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
LAYOUT = (
    "images/ and labels/ (a label has its image's name, maybe with _label, _gt, _seg or _mask behind it; images without a "
    "label are unlabelled data), or these two in train/, in val/ and maybe in test/"
)


def data_list(
    dataset_dir: str | Path | None,
    split: str | Path | None = None,
    labeled_fraction: float | None = None,
    labeled_images: int | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    num_classes: int | None = None,
    image_channels: int | None = None,
    size: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    background: bool | None = None,
    void_values: Sequence[int] = (),
    labeled_patients: None = None,
) -> dict[str, Any]:
    """Data list of own data, with what was found in the files; all of it is printed, and each can be given instead.

    What is found does not depend on how many images are labelled. A data list written once (by ``scripts.data.prepare``)
    and given as ``split`` spares reading all files at each start.

    Args:
        dataset_dir: has ``images`` and ``labels``, or ``train`` and ``val`` (``test``) with both; paths in the list are
            relative to it.
        split: a data-list JSON, from which sections, class names, colours and structures come; None looks at the folder.
        labeled_fraction, labeled_images: how many of the training images that have a label are labelled, in an order
            drawn with ``seed`` (of a data list: its own order), a smaller choice inside a larger one; None: all.
        validation_fraction: of the labelled images, in (0, 1), rounded, at least 1; for a folder without val.
        seed: of the drawn validation images and of the order.
        num_classes: 2 to 255; None reads all labels, the largest value that is not void being the last class.
        image_channels: 1 or 3; None looks at all images, which must be of one kind.
        size: [H, W] in pixels that the networks see (of volumes: along their first two axes).
        spacing: of volumes, in-plane, mm.
        background: whether class 0 is background, left out of the mean over structures; None: as the list says, or true.
        void_values: values in label files that mean void, beside 255.
        labeled_patients: refused, for nobody knows whose the images are.

    Returns:
        The data list, with ``dimensions``, ``channels``, ``size`` and ``spacing`` (null in 2-D).

    Raises:
        InputError: no such layout, two files of one name, files that are no images, 2-D and volumes mixed, grey and
            colour mixed, label values that do not look like classes, an option out of range.
    """
    _check_options(validation_fraction, num_classes, background, void_values)
    if not dataset_dir or not Path(dataset_dir).is_dir():
        raise InputError(f"dataset_dir {dataset_dir} is not a folder, expected one with {LAYOUT}.")
    root, notes = Path(dataset_dir), list[str]()
    if split is None:
        made = _from_folder(root, validation_fraction, seed, notes)
    else:
        check_split_name(split, ())
        made = read_data_list(split, root)
    facts = Facts(made)
    dimensions = facts.values["dimensions"] = _dimensions(made)
    facts.settle("background", background, lambda: True)
    if dimensions == 3:
        settle_volume_facts(facts, root, image_channels, size, spacing)
    else:
        settle_image_facts(facts, root, image_channels, size)
    settle_classes(facts, root, dimensions, num_classes, void_values)
    made = cut_data_list(made | facts.values, labeled_fraction, labeled_images)
    print(_summary(made, root, facts.origins, notes))
    return made


def _check_options(
    validation_fraction: float, num_classes: int | None, background: bool | None, void_values: Sequence[int]
) -> None:
    if not 0 < validation_fraction < 1:
        raise InputError(f"validation_fraction must lie in (0, 1), got {validation_fraction}.")
    if num_classes is not None and (not isinstance(num_classes, int) or not 2 <= num_classes <= VOID):
        raise InputError(f"num_classes must be a whole number in 2 to {VOID}, background counted, got {num_classes!r}.")
    if background is not None and not isinstance(background, bool):
        raise InputError(f"background must be true or false, got {background!r}.")
    listed = isinstance(void_values, Sequence) and not isinstance(void_values, str)
    if not listed or not all(isinstance(value, int) and 0 <= value <= VOID for value in void_values):
        raise InputError(f"void_values must be a list of label values, as [11], got {void_values!r}.")


def _from_folder(root: Path, validation_fraction: float, seed: int, notes: list[str]) -> dict[str, Any]:
    folders = _layout(root)
    items = {part: _pairs(folder, root, notes) for part, folder in folders.items()}
    training = {item["image"]: item for item in items["training"]}
    labeled = [name for name, item in training.items() if "label" in item]
    if not labeled:
        raise InputError(
            f"{folders['training']} has no labelled image: expected {LAYOUT}. A few labels are needed to learn from."
        )
    held_out = {part: items.get(part, []) for part in ("validation", "test")}
    for part, found in held_out.items():
        without = [item["image"] for item in found if "label" not in item]
        if without:
            raise InputError(
                f"{len(without)} images for {part} have no label, the first is {without[0]}: scores need one each. Add the "
                f"labels, or move the images to {folders['training'] / 'images'}, where they are unlabelled data."
            )
    if "validation" in folders:
        order = random_order(labeled, seed)
        description = f"as the folders say, in the labelled order of seed {seed}"
    else:
        order, drawn = random_cut(labeled, max(1, round(validation_fraction * len(labeled))), seed)
        held_out["validation"] = [training[name] for name in drawn]
        description = f"drawn with seed {seed}"
    return {
        "name": root.resolve().name,
        "licence": "unknown",
        "description": f"{description}: {len(order)} training images with a label, {len(held_out['validation'])} validation images",
        "labeled": [training[name] for name in order],
        "unlabeled": [item for item in training.values() if "label" not in item],
        **held_out,
    }


def _layout(root: Path) -> dict[str, Path]:
    """Folders that hold ``images``, by "training", maybe "validation" and "test"."""
    found = {
        part: [root / name for name in names if (root / name / "images").is_dir()] for part, names in PARTS.items()
    }
    if (root / "images").is_dir():
        found["training"].insert(0, root)
    for part, folders in found.items():
        if len(folders) > 1 or (folders and found["training"] == [root] and part != "training"):
            both = " and ".join(f"{f / 'images'}" for f in dict.fromkeys((*found["training"], *folders)))
            raise InputError(
                f"dataset_dir {root} can be read in two ways, by {both}: expected {LAYOUT}. Keep one of them."
            )
    if not found["training"]:
        raise InputError(f"dataset_dir {root} has no images: expected {LAYOUT}.")
    return {part: folders[0] for part, folders in found.items() if folders}


def _pairs(folder: Path, root: Path, notes: list[str]) -> list[Item]:
    """Items of the images in ``folder``, by name, those that have a label with it; paths relative to ``root``."""
    images = _files(folder / "images")
    labels = _files(folder / "labels") if (folder / "labels").is_dir() else {}
    if not images:
        raise InputError(f"{folder / 'images'} holds no image, expected {', '.join(IMAGE_SUFFIXES + VOLUME_SUFFIXES)}.")
    label_of: dict[str, Path] = {}
    unmatched = []
    for stem, label in labels.items():
        shorter = (stem.removesuffix(end) for end in LABEL_ENDS)
        image = next((name for name in (stem, *shorter) if name in images), None)
        if image is None:
            unmatched.append(label.name)
        elif image in label_of:
            raise InputError(f"{images[image]} has two labels, {label_of[image].name} and {label.name}: remove one.")
        else:
            label_of[image] = label
    if labels and not label_of:
        raise InputError(
            f"no label in {folder / 'labels'} has the name of an image in {folder / 'images'} (the first are "
            f"{unmatched[0]} and {next(iter(images.values())).name}): expected {LAYOUT}."
        )
    if unmatched:
        notes.append(f"{len(unmatched)} labels in {folder / 'labels'} match no image: {', '.join(unmatched[:5])}")
    items = []
    for stem, image_file in images.items():
        item: Item = {"image": image_file.relative_to(root).as_posix()}
        if stem in label_of:
            item["label"] = label_of[stem].relative_to(root).as_posix()
        items.append(item)
    return items


def _files(folder: Path) -> dict[str, Path]:
    """Image and volume files in ``folder`` by stem (composed Unicode, since archives made on a Mac are decomposed)."""
    found: dict[str, Path] = {}
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}. Change its permissions.") from error
    for name, is_folder in names:
        path = folder / name
        if name.startswith(".") or name.lower() in PASSED_OVER or name.lower().endswith(COMPANIONS):
            continue
        if is_folder:
            raise InputError(f"{path} is a folder: put the files into {folder} itself, or name them in a data list.")
        _check_suffix(path)
        stem = unicodedata.normalize("NFC", split_name(name)[0])
        if stem in found:
            raise InputError(
                f"{found[stem].name} and {name} in {folder} have one name: which belongs to the other files of that name "
                "cannot be told. Rename or remove one."
            )
        found[stem] = path
    return found


def _check_suffix(path: Path | str) -> bool:
    """Whether ``path`` is a volume, by its suffix."""
    suffix = split_name(path)[1].lower()
    if suffix in VOLUME_SUFFIXES:
        return True
    if suffix not in IMAGE_SUFFIXES:
        came = (
            f"is of no format that is read here ({suffix})" if suffix else "is an image without extension, or no image"
        )
        raise InputError(
            f"{path} {came}: expected {', '.join(IMAGE_SUFFIXES)} or a volume, {', '.join(VOLUME_SUFFIXES)}. Rename or "
            "convert it, or take it out."
        )
    return False


def _dimensions(data_list: Mapping[str, Any]) -> int:
    """2 for images, 3 for volumes."""
    items = [item for section in SECTIONS for item in data_list[section]]
    first = {_check_suffix(item[key]): item[key] for item in items for key in ("image", "label") if key in item}
    if len(first) > 1:
        raise InputError(
            f"2-D images and volumes are mixed: {first[False]} is an image, {first[True]} a volume. Make a data set of each."
        )
    return 3 if True in first else 2


def _summary(data_list: Mapping[str, Any], root: Path, origins: Mapping[str, str], notes: Sequence[str]) -> str:
    counts = {section: len(data_list[section]) for section in SECTIONS}
    names = list(data_list["labels"].values())
    rows = {
        "files": f"{data_list['dimensions']}-D: {', '.join(f'{n} {section}' for section, n in counts.items())}",
        "classes": f"{len(names)} ({origins['labels']}): {', '.join(names)}",
        "class 0": f"{'background' if data_list['background'] else 'counts as every class'} ({origins['background']})",
        "channels": f"{data_list['channels']} ({origins['channels']})",
        "size": f"{' x '.join(map(str, data_list['size']))} pixels ({origins['size']})",
    }
    if data_list["spacing"] is not None:
        rows["spacing"] = f"{' x '.join(f'{s:g}' for s in data_list['spacing'])} mm ({origins['spacing']})"
    if "label_map" in data_list:
        changed = [
            f"{value} is class {index}" for value, index in data_list["label_map"].items() if value != str(index)
        ]
        rows["labels"] = ", ".join(
            [*changed, f"values other than the {len(data_list['label_map'])} of label_map are void"]
        )
    lines = [f"Data in {root} ({data_list['description']})", *(f"  {key:<9} {value}" for key, value in rows.items())]
    options = "--num_classes, --background, --image_channels, --size, --spacing, --void_values"
    return "\n".join([*lines, *(f"  note: {note}" for note in notes), f"  What was found can be set: {options}."])
