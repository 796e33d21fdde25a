"""Finished cells: a cell is one run of a grid of experiments, kept as one small JSON file."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from scripts.errors import InputError

FULL, HUNG, PARTIAL, OURS = "Full", "Hung et al.", "Partial", "Ours"
ABLATIONS = ("w/o mask_cycle", "w/o image_cycle", "w/o mask_adversarial", "w/o image_adversarial")
ARMS = (FULL, HUNG, PARTIAL, OURS, *ABLATIONS)
"""The arms of the paper, by their names in ``paper_tables.csv``, in the order of its tables."""

TRAINING_SIZE, NATIVE = "training_size", "native"
SIZES = (TRAINING_SIZE, NATIVE)
"""Where scores are measured: on the networks' grid (the paper's way) and at the images' own size (the standard)."""

MEANS = ("miou", "foreground_miou", "mean_foreground_dice")
_DATASETS = ("VOC", "Cityscapes", "ACDC")
_NEEDED = ("cell", "grid", "dataset", "arm", "labeled_percent", "seed", "updates", "seconds", "scores")
_REMEDY = "Run that cell again, or take the file out of the folder of cells."


@dataclass(frozen=True)
class Group:
    """The cells that may be averaged and compared: of one data set, in one grid of experiments."""

    dataset: str
    grid: str


@dataclass(frozen=True)
class Cell:
    """One finished run.

    Attributes:
        cell: its name. grid: of which grid of experiments. dataset, arm: which; the paper's arms are ``ARMS``.
        labeled_percent: share of the training images with labels, in (0, 100]. seed: of everything random.
        updates: of the generators. seconds: wall time.
        scores: by size (``SIZES``) and metric: ``MEANS`` and ``iou_<class>``, in [0, 1]; NaN for a class that never
            occurs.
        class_names: in the order of the label values.
        settings: what was overridden. commit, device, threads (None on a GPU), bundle_version: what it ran on.
        items: how many items each section had. background: whether class 0 is background.
        best_epoch: whose weights were scored. trained_on: name of the data set by its data list. validation_sha256: hash
            of its validation items.
        run_dir: folder of the run below that of all runs; None where it was not kept.
        curve: a validation an entry: ``epoch``, ``update``, ``miou``, ``foreground_miou``, ``mean_dice``.
        file: where this was read.
    """

    cell: str
    grid: str
    dataset: str
    arm: str
    labeled_percent: float
    seed: int
    updates: int
    seconds: float
    scores: Mapping[str, Mapping[str, float]]
    class_names: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""
    device: str = ""
    threads: int | None = None
    bundle_version: str = ""
    items: Mapping[str, int] = field(default_factory=dict)
    background: bool = True
    best_epoch: int | None = None
    trained_on: str = ""
    validation_sha256: str = ""
    run_dir: str | None = None
    curve: tuple[Mapping[str, float], ...] = ()
    file: Path | None = None

    @property
    def group(self) -> Group:
        return Group(self.dataset, self.grid)

    @property
    def key(self) -> tuple[str, str, str, float, int]:
        """What no other cell may share."""
        return self.grid, self.dataset, self.arm, self.labeled_percent, self.seed

    @property
    def order(self) -> tuple:
        """By data set, grid, arm, falling percentage, seed."""
        return *group_order(self.group), *arm_order(self.arm), -self.labeled_percent, self.seed


def group_order(group: Group) -> tuple:
    """The paper's data sets first, in its order."""
    return *_place(group.dataset, _DATASETS), group.grid


def arm_order(arm: str) -> tuple[int, str]:
    """The paper's arms first, in its order."""
    return _place(arm, ARMS)


def groups_of(cells: Iterable[Cell]) -> dict[Group, str]:
    """Each group with its title: the data set's name, with the grid's where a data set has several."""
    groups = sorted({cell.group for cell in cells}, key=group_order)
    datasets = [group.dataset for group in groups]
    several = {name for name in datasets if datasets.count(name) > 1}
    return {group: f"{group.dataset} ({group.grid})" if group.dataset in several else group.dataset for group in groups}


def read_cells(folder: str | Path) -> list[Cell]:
    """Read every ``*.json`` in ``folder`` and below; files and folders whose names begin with a dot are passed over.

    Returns:
        The cells in the order of ``Cell.order``, whatever the order of the files; empty if there is none.

    Raises:
        InputError: no such folder, a file that is not a cell, or two files of one cell.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"the folder of cells {root} is not there: give the folder that holds the cells' JSON files.")
    found: dict[tuple, Cell] = {}
    for path in sorted(root.rglob("*.json")):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        cell = read_cell(path)
        if cell.key in found:
            raise InputError(
                f"{found[cell.key].file} and {path} are of one cell (grid {cell.grid}, {cell.dataset}, {cell.arm}, "
                f"{cell.labeled_percent:g} % labelled, seed {cell.seed}), and each may be there once: remove one of them."
            )
        found[cell.key] = cell
    return sorted(found.values(), key=lambda cell: cell.order)


def read_cell(path: str | Path) -> Cell:
    """Read one cell.

    Raises:
        InputError: not readable, not JSON, or without what a cell must have.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as the JSON of a cell ({error}). {_REMEDY}") from error
    if not isinstance(content, dict) or any(key not in content for key in _NEEDED):
        missing = [key for key in _NEEDED if key not in content] if isinstance(content, dict) else list(_NEEDED)
        raise InputError(f"{path} is no cell: expected an entry for each of {', '.join(missing)}. {_REMEDY}")
    try:
        scores, class_names = _read_scores(content["scores"])
        return Cell(**_plain_fields(content), scores=scores, class_names=class_names, file=path)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no cell: {type(error).__name__}: {error}. {_REMEDY}") from error


def _plain_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """The entries apart from the scores, each of its type; unknown ones are left out."""
    known = {entry.name for entry in fields(Cell)} - {"scores", "class_names", "file"}
    read = {key: value for key, value in content.items() if key in known and value is not None}
    read |= {key: _TYPES[key](value) for key, value in read.items() if key in _TYPES}
    for key in ("cell", "grid", "dataset", "arm"):
        if not isinstance(read.get(key), str) or not read[key]:
            raise ValueError(f"expected text for {key!r}, got {content[key]!r}")
    if not 0 < read["labeled_percent"] <= 100:
        raise ValueError(f"labeled_percent must be above 0 and at most 100, got {content['labeled_percent']!r}")
    points = read.get("curve", [])
    read["curve"] = tuple({key: _number(value) for key, value in point.items()} for point in points)
    return read


def _read_scores(content: Mapping[str, Any]) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """Scores by size and metric, and the names of the classes."""
    if not content or set(content) - set(SIZES):
        raise ValueError(f"expected scores of {' and '.join(SIZES)}, got {', '.join(content) or 'none'}")
    scores = {}
    for size in (size for size in SIZES if size in content):
        given = content[size]
        means = {metric: _number(given[metric]) for metric in MEANS}
        scores[size] = means | {f"iou_{name}": _number(value) for name, value in given["class_iou"].items()}
        for metric, value in scores[size].items():
            if not (math.isnan(value) or 0 <= value <= 1):
                raise ValueError(f"{metric} of {size} must be in [0, 1], got {value}")
    return scores, tuple(next(iter(content.values()))["class_iou"])


def _number(value: Any) -> float:
    """A number as a float; null stands for NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"expected a number or null, got {value!r}")
    return math.nan if value is None else float(value)


def _true_or_false(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"background must be true or false, got {value!r}")
    return value


_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "labeled_percent": float,
    "seed": int,
    "updates": int,
    "seconds": float,
    "background": _true_or_false,
}


def _place(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name), "") if name in known else (len(known), name)
