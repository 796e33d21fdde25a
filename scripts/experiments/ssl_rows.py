"""Cells of the semi-supervised benchmark as rows: an arm at one number of labelled patients, with its seeds."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError

REFERENCE = "supervised"
METRICS = ("dice", "iou", "hd95_voxel", "asd_voxel", "hd95_mm", "asd_mm")
NEEDED = {"cell", "arm", "seed", "commit", "device", "configs", "settings", "updates", "seconds", "structures", "curve"}


@dataclass(frozen=True)
class Row:
    """One arm at one number of labelled patients: the cells of its seeds, as read.

    Attributes:
        split: "validation", "test" or "unlabeled" (those whose labels were withheld), whose scores these are.
        one_component: whether of labels with one component of each class, as inference gives them, or as the network gives them.
    """

    arm: str
    labeled_patients: int
    split: str
    cells: Sequence[Mapping[str, Any]]
    one_component: bool = False

    def values(self, metric: str, structure: str | None = None) -> np.ndarray:
        """One a seed; of all structures together unless one is named."""
        groups = [self._scores(cell) for cell in self.cells]
        found = [group["mean"] if structure is None else group["structures"][structure] for group in groups]
        return np.array([math.nan if entry[metric] is None else entry[metric] for entry in found], dtype=float)

    def with_one_component(self) -> "Row | None":
        """The same arm with the scores that keep one component of each class, None unless all its cells have them."""
        has_them = all(scores_of(cell, self.split, True) for cell in self.cells)
        return replace(self, one_component=True) if has_them else None

    def with_withheld(self) -> "Row | None":
        """The same arm with the scores of the unlabelled patients, None unless all its cells have them, of the same ones."""
        return replace(self, split="unlabeled") if _same_patients(self.cells, "unlabeled") else None

    def _scores(self, cell: Mapping[str, Any]) -> Mapping[str, Any]:
        scores = scores_of(cell, self.split, self.one_component)
        if scores is None:
            raise ValueError(f"{cell['cell']} has no such scores of {self.split} patients.")
        return scores

    @property
    def structures(self) -> list[str]:
        return list(self._scores(self.cells[0])["structures"])

    @property
    def seeds(self) -> list[int]:
        return [int(cell["seed"]) for cell in self.cells]

    @property
    def minutes(self) -> float:
        return float(np.mean([cell["seconds"] for cell in self.cells])) / 60

    @property
    def images_per_second(self) -> float:
        """Labelled images that all updates saw, over the whole time, validation included; unlabelled ones come on top."""
        images = [cell["settings"]["batch_size"] * cell["updates"] / cell["seconds"] for cell in self.cells]
        return float(np.mean(images))

    @property
    def scored_on(self) -> tuple[str, ...]:
        """The patients, none if it is validation."""
        return scored_patients(self.cells[0], self.split)

    @property
    def scored(self) -> str:
        """On which patients, and how many seeds."""
        patients = f"{self.split} of {len(self.scored_on)}" if self.scored_on else self.split
        return f"{patients}, {len(self.cells)}"

    @property
    def updates(self) -> int:
        return int(self.cells[0]["updates"])


def read_rows(folder: Path, reference: str = REFERENCE) -> list[Row]:
    """The arms of the cells in ``folder``; scores of the test patients if all cells of an arm have them, of the same
    patients, else of validation. The arm ``reference`` comes first.

    Raises:
        InputError: no cell, a file that is none; cells of an arm that differ in more than the seed.
    """
    cells = [_read(path) for path in sorted(folder.glob("*.json"))]
    if not cells:
        raise InputError(f"{folder} holds no finished cell: run some first.")
    groups: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        group = groups.setdefault((int(cell["settings"]["labeled_patients"]), cell["arm"]), [])
        if group and _without_seed(cell) != _without_seed(group[0]):
            raise InputError(
                f"{folder}: {group[0]['cell']} and {cell['cell']} have other settings, so they are no seeds of one arm: keep "
                "them in folders of their own (--cells)."
            )
        group.append(cell)
    return [
        Row(arm, count, _split_of(found), sorted(found, key=lambda cell: cell["seed"]))
        for (count, arm), found in sorted(
            groups.items(), key=lambda group: (group[0][0], group[0][1] != reference, group[0][1])
        )
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read: {error}. Take it out of the folder, or run its cell again."
        ) from error
    absent = NEEDED - cell.keys() if isinstance(cell, dict) else NEEDED
    if absent:
        raise InputError(
            f"{path} is no cell of this benchmark, it lacks {', '.join(sorted(absent))}: take it out of the folder."
        )
    return cell


def _without_seed(cell: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    return cell["configs"], {key: value for key, value in cell["settings"].items() if key != "seed"}


def scores_of(cell: Mapping[str, Any], split: str, one_component: bool) -> Mapping[str, Any] | None:
    """Means of a cell by structure and of all, as ``Row`` tells them apart; None if it has none."""
    if split == "validation":
        return cell.get("one_component" if one_component else "structures")
    scores = cell.get(split)
    return scores.get("one_component") if scores and one_component else scores


def _split_of(cells: Sequence[Mapping[str, Any]]) -> str:
    """ "test" if all cells were scored on the same test patients, else "validation"."""
    return "test" if _same_patients(cells, "test") else "validation"


def _same_patients(cells: Sequence[Mapping[str, Any]], split: str) -> bool:
    """Whether all cells have scores of ``split``, of the same patients."""
    patients = {scored_patients(cell, split) for cell in cells}
    return len(patients) == 1 and () not in patients


def scored_patients(cell: Mapping[str, Any], split: str) -> tuple[str, ...]:
    """The patients of "test" or "unlabeled" that a cell has scores of, none without."""
    return tuple(cell.get(split, {}).get("patients", ()))
