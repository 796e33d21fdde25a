"""Which images are labelled, unlabelled, for validation and for test: drawn, cut and read from data lists."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from posixpath import normpath
from typing import Any

import numpy as np

from scripts.data.list_keys import check_keys
from scripts.data.split import SECTIONS, labeled_count
from scripts.errors import InputError

Item = dict[str, Any]
"""One image of a data list: the path ``image``, maybe ``label``, ``patient`` and ``phase``."""


def random_order(names: Sequence[str], seed: int) -> list[str]:
    """``names`` in an order that depends on the seed alone, whatever order they come in."""
    names = sorted(names)
    return [names[index] for index in np.random.default_rng(seed).permutation(len(names))]


def random_cut(names: Sequence[str], validation: int, seed: int) -> tuple[list[str], list[str]]:
    """Draw ``validation`` of ``names`` for validation.

    Returns:
        Training names in the order in which they get labels, and the validation names, sorted.

    Raises:
        InputError: if nothing would be left on one side.
    """
    if not 0 < validation < len(names):
        raise InputError(
            f"{len(names)} labelled images cannot be parted into training images and {validation} for validation: both "
            "sides need at least one. Give more images, or another split."
        )
    order = random_order(names, seed)
    return order[validation:], sorted(order[:validation])


def check_split_name(split: str | Path, names: Sequence[str]) -> None:
    """Refuse a ``split`` that is neither one of ``names`` nor a JSON file.

    Raises:
        InputError: naming what can be given.
    """
    if split not in names and Path(split).suffix.lower() != ".json":
        raise InputError(
            f"split must be {', '.join(map(repr, names))} or the path of a data list (.json), got {str(split)!r}."
        )


def cut_labeled_items(
    items: Sequence[Item], labeled_fraction: float | None = None, labeled_images: int | None = None
) -> tuple[list[Item], list[Item]]:
    """Label only the first of ``items``, so that a smaller choice lies inside a larger one.

    Args:
        items: training items, each with a ``label``, in the order in which they get labels.
        labeled_fraction: in (0, 1]; the number is rounded, and at least 1.
        labeled_images: a whole number, at least 1; not together with a fraction. None of both labels all.

    Returns:
        Labelled items, and the others without their ``label``.

    Raises:
        InputError: both given, out of range, or no number.
    """
    told = "the training images with a label"
    count = labeled_count(len(items), labeled_fraction, labeled_images, "labeled_images", told)
    return list(items[:count]), [_without_label(item) for item in items[count:]]


def cut_data_list(
    data_list: Mapping[str, Any], labeled_fraction: float | None = None, labeled_images: int | None = None
) -> dict[str, Any]:
    """Label only the first training images of a data list, in the list's order.

    Counted are the items whose label the list knows: all of ``labeled``, and those of ``unlabeled`` that have a label
    nevertheless (held back, so that a larger fraction can reach them). ``labeled + unlabeled`` stays in its order.

    Returns:
        A data list; ``unlabeled`` has no label in it, ``labeled_of`` says of how many labels these are left. ``patients``,
        if there, is left out where it would be wrong.

    Raises:
        InputError: as ``cut_labeled_items``; a fraction of a list whose labels were cut before.
    """
    order = [*data_list["labeled"], *data_list["unlabeled"]]
    known = [item for item in order if "label" in item]
    labeled_of = data_list.get("labeled_of", len(known))
    if labeled_fraction is None and labeled_images is None:
        labeled = list(data_list["labeled"])
    elif labeled_fraction is not None and labeled_of > len(known):
        raise InputError(
            f"this data list was cut before: it knows {len(known)} of {labeled_of} labels, so {labeled_fraction} of them would be "
            "another share than it says. Take it as it is, give labeled_images, or make a list with all labels (prepare "
            "without a fraction) and choose from that."
        )
    else:
        labeled, _ = cut_labeled_items(known, labeled_fraction, labeled_images)
    chosen = {item["image"] for item in labeled}
    unlabeled = [_without_label(item) for item in order if item["image"] not in chosen]
    moved = len(labeled) != len(data_list["labeled"])
    kept = {key: value for key, value in data_list.items() if not (moved and key == "patients")}
    cut = {"labeled_of": labeled_of} if labeled_of > len(labeled) else {}
    return {**kept, **cut, "labeled": labeled, "unlabeled": unlabeled}


def check_disjoint(data_list: Mapping[str, Any], source: str) -> None:
    """Refuse a data list in which an image stands twice, or a patient for training and held out.

    Args:
        data_list: its sections may be absent.
        source: where it is from, for the message.

    Raises:
        InputError: naming the image or patient and both places.
    """
    images: dict[str, str] = {}
    patients: dict[str, str] = {}
    for section in SECTIONS:
        side = "training" if section in ("labeled", "unlabeled") else section
        for item in data_list.get(section, []):
            image, patient = normpath(item["image"]), item.get("patient")
            if image in images:
                raise InputError(
                    f"{image} stands in {source} twice, in {images[image]} and in {section}: an image belongs to one "
                    "section only, or the scores say nothing. Remove it from one of the two."
                )
            images[image] = section
            if patient is not None and patients.setdefault(patient, side) != side:
                raise InputError(
                    f"patient {patient} stands in {source} for {patients[patient]} and for {side}: images of one patient "
                    "must never be on both sides. Move them all to one."
                )


def read_data_list(path: str | Path, root: str | Path | None = None) -> dict[str, Any]:
    """Read and check a data list.

    Args:
        path: JSON with the sections ``labeled`` and ``validation``, maybe ``unlabeled`` and ``test``, each a list of
            items {"image": path, "label": path}, and maybe the keys of ``scripts.data.list_keys``. An item of ``unlabeled`` may have a label, which
            is held back (see ``cut_data_list``).
        root: the folder that paths are relative to; given, every file must be there.

    Returns:
        What the file says, with all four sections and a name, licence and description.

    Raises:
        InputError: not readable, not a data list, an image twice, or a file that is not there.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"data list {path} cannot be read ({type(error).__name__}: {error}): expected a JSON file with the sections "
            f"{', '.join(SECTIONS)}."
        ) from error
    if not isinstance(content, dict) or "labeled" not in content:
        raise InputError(
            f"data list {path} has no section 'labeled': expected a JSON object with the sections {', '.join(SECTIONS)}. "
            "If its sections are called training or testing, rename them to labeled and test."
        )
    data_list = {
        "name": path.stem,
        "licence": "unknown",
        "description": path.name,
        **content,
        **{section: content.get(section, []) for section in SECTIONS},
    }
    for section in SECTIONS:
        _check_section(data_list[section], section, path)
    for section in ("labeled", "validation"):
        if not data_list[section]:
            raise InputError(
                f"data list {path} has no item in '{section}': a training needs labelled images, and the best model is "
                "chosen on validation images."
            )
    check_keys(data_list, path)
    check_disjoint(data_list, f"data list {path}")
    if root is not None:
        _check_present(data_list, path, Path(root))
    return data_list


def _check_section(items: Any, section: str, path: Path) -> None:
    if not isinstance(items, list):
        raise InputError(f"section '{section}' of data list {path} is no list: expected a list of items.")
    needed = ("image",) if section == "unlabeled" else ("image", "label")
    for number, item in enumerate(items):
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) and item[key] for key in needed):
            raise InputError(
                f"item {number} of section '{section}' of data list {path} is {json.dumps(item)[:200]}, expected an object "
                f"with {' and '.join(f'a path {key!r}' for key in needed)}."
            )
        wrong = [key for key in ("label", "patient", "phase") if not isinstance(item.get(key, ""), str)]
        if wrong:
            raise InputError(f"'{wrong[0]}' of item {number} of section '{section}' of data list {path} is not text.")


def _check_present(data_list: Mapping[str, Any], path: Path, root: Path) -> None:
    items = chain.from_iterable(data_list[section] for section in SECTIONS)
    named = [item[key] for item in items for key in ("image", "label") if key in item]
    missing = [name for name in named if not (root / name).is_file()]
    if missing:
        raise InputError(
            f"data list {path} names {missing[0]}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}, not there "
            f"in {root}: give the folder that the list was made for as --dataset_dir, or make the list again."
        )


def _without_label(item: Item) -> Item:
    return {key: value for key, value in item.items() if key != "label"}
