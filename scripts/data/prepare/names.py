"""Label files and image files that should belong together by their names and do not."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from scripts.data.label_maps import split_name
from scripts.data.prepare.facts import LABELED_SECTIONS
from scripts.data.prepare.trouble import Kind, Severity, Trouble, first_names
from scripts.data.split import SECTIONS


@dataclass(frozen=True)
class NameRule:
    """How a label's name follows from its image's: ``a_leftImg8bit.png`` and ``a_gtFine_labelIds.png`` differ by the
    ends after ``a_``, suffix included."""

    image_end: str
    label_end: str

    @classmethod
    def of(cls, image: str, label: str) -> "NameRule":
        (image_stem, image_suffix), (label_stem, label_suffix) = split_name(image), split_name(label)
        pairs = zip(image_stem, label_stem, strict=False)
        common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return cls(image_stem[common:] + image_suffix, label_stem[common:] + label_suffix)

    def image_of(self, label: str) -> str | None:
        """Name of the image of the file ``label``; None if it does not end as labels do."""
        if not label.endswith(self.label_end) or len(label) <= len(self.label_end):
            return None
        return label[: len(label) - len(self.label_end)] + self.image_end


def unmatched_names(data_list: Mapping[str, Any], root: Path) -> list[Trouble]:
    """Files in the label folders of ``data_list`` that no item uses.

    How names correspond is taken from the list's own pairs, so it holds for every layout. A label without an image is a
    warning; labels of images that the list leaves out are only told. Labels of items that are unlabelled on purpose are
    neither.
    """
    used = {PurePosixPath(item["image"]) for section in SECTIONS for item in data_list.get(section, [])}
    orphans, left_out = [], []
    for (image_folder, label_folder), rules in _rules(data_list).items():
        images = _files(root / image_folder)
        labels = images if image_folder == label_folder else _files(root / label_folder)
        for label in sorted(labels):
            expected = [name for rule in rules if (name := rule.image_of(label))]
            if not expected or label_folder / label in used:
                continue
            if not images.intersection(expected):
                orphans.append(str(label_folder / label))
            elif not used.intersection(image_folder / name for name in expected):
                left_out.append(str(label_folder / label))
    troubles = []
    if orphans:
        message = (
            f"{len(orphans)} label files belong to no image by their names: {first_names(orphans)}. Rename them or their "
            "images so that the names match; an image whose label is not found counts as unlabelled."
        )
        troubles.append(Trouble(Severity.WARNING, Kind.UNMATCHED, tuple(orphans), message))
    if left_out:
        message = f"{len(left_out)} label files are of images that the list leaves out: {first_names(left_out)}."
        troubles.append(Trouble(Severity.NOTE, Kind.UNMATCHED, tuple(left_out), message))
    return troubles


def _rules(data_list: Mapping[str, Any]) -> dict[tuple[PurePosixPath, PurePosixPath], set[NameRule]]:
    """The rules of the list's pairs, by folder of images and folder of labels."""
    rules: dict[tuple[PurePosixPath, PurePosixPath], set[NameRule]] = {}
    for section in LABELED_SECTIONS:
        for item in data_list.get(section, []):
            if "label" in item:
                image, label = PurePosixPath(item["image"]), PurePosixPath(item["label"])
                rules.setdefault((image.parent, label.parent), set()).add(NameRule.of(image.name, label.name))
    return rules


def _files(folder: Path) -> set[str]:
    """Names of the files in ``folder`` that are not hidden; none if it is not there."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file() and not entry.name.startswith(".")}
