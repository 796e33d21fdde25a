"""What compared cells share and what they do not: updates, settings, commits."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scripts.experiments.cells import Cell, Group, arm_order, groups_of

NOT_SET = "not set"
_NAMES_SHOWN = 4


def settings_of(cell: Cell) -> dict[str, str]:
    """The overrides, nested ones flat (``weights#mask_cycle``), as text."""
    return dict(sorted(_flat(cell.settings)))


def common_and_different(cells: Sequence[Cell]) -> tuple[dict[str, str], list[str]]:
    """Settings that all cells share, by name, and a sentence for each that differs.

    What a cell's name says (seed, fraction of labels, the term that an ablation is without) is left out.
    """
    settings = [_unnamed(cell) for cell in cells]
    keys = sorted({key for entry in settings for key in entry})
    common, different = {}, []
    for key in keys:
        values = [entry.get(key, NOT_SET) for entry in settings]
        if len(set(values)) == 1:
            common[key] = values[0]
        else:
            different.append(f"{key}: {_by_value(cells, values)}")
    return common, different


def notes(cells: Sequence[Cell]) -> tuple[str, ...]:
    """A sentence for each thing that should be equal among compared cells and is not."""
    told = []
    for what, value in _FACTS.items():
        values = [value(cell) for cell in cells]
        if len(set(values)) > 1:
            told.append(f"The compared cells do not share {what}: {_by_value(cells, values)}.")
    for seed in sorted({cell.seed for cell in cells}):
        hashes = {cell.validation_sha256 for cell in cells if cell.seed == seed and cell.validation_sha256}
        if len(hashes) > 1:
            told.append(f"The compared cells of seed {seed} were not scored on the same validation items.")
    _, different = common_and_different(cells)
    if different:
        told.append(f"The compared cells differ in settings: {'; '.join(different)}.")
    return tuple(told)


def missing_cells(cells: Sequence[Cell], published: Callable[[str], list[tuple[str, float]]]) -> list[str]:
    """What would complete the tables: seeds that some arms of a group have and others lack, and the paper's rows.

    Args:
        cells: those that are there.
        published: arm and percentage of the paper's rows for a data set.
    """
    told = []
    for group, title in groups_of(cells).items():
        mine = [cell for cell in cells if cell.group == group]
        seeds = sorted({cell.seed for cell in mine})
        have: dict[tuple[str, float], set[int]] = {}
        for cell in mine:
            have.setdefault((cell.arm, cell.labeled_percent), set()).add(cell.seed)
        for (arm, percent), found in sorted(have.items(), key=lambda item: (arm_order(item[0][0]), -item[0][1])):
            if lacking := [str(seed) for seed in seeds if seed not in found]:
                told.append(f"{title}: {arm}, {percent:g} %: seed {', '.join(lacking)}")
        rows = [f"{arm} {percent:g} %" for arm, percent in published(group.dataset) if (arm, percent) not in have]
        if rows:
            told.append(f"{title}: of the paper's Table 1, no seed of {', '.join(rows)}")
    return told


_FACTS: Mapping[str, Callable[[Cell], str]] = {
    "one number of updates": lambda cell: f"{cell.updates}",
    "one data set": lambda cell: cell.trained_on or cell.dataset,
    "one commit": lambda cell: cell.commit[:7] or "unknown",
    "one version of the bundle": lambda cell: cell.bundle_version or "unknown",
}


def _unnamed(cell: Cell) -> dict[str, str]:
    term = cell.arm.removeprefix("w/o ")
    named = {"seed": cell.seed, "labeled_fraction": cell.labeled_percent / 100, f"weights#{term}": 0}
    return {key: value for key, value in settings_of(cell).items() if key not in named or not _is(value, named[key])}


def _is(text: str, value: float) -> bool:
    try:
        return math.isclose(float(text), value)
    except ValueError:
        return False


def _by_value(cells: Sequence[Cell], values: Sequence[str]) -> str:
    """Each value with the cells that have it."""
    parts = []
    for value in dict.fromkeys(values):
        having = [cell for cell, other in zip(cells, values, strict=True) if other == value]
        parts.append(f"{value} ({_whose(having, cells)})")
    return ", ".join(parts)


def _whose(chosen: Sequence[Cell], cells: Sequence[Cell]) -> str:
    """``chosen`` among ``cells`` in few words: all of some groups, arms, percentages or seeds, else their names."""
    names: tuple[Callable[[Cell], Any], ...] = (
        _group,
        lambda cell: cell.arm,
        _percent,
        lambda cell: f"seed {cell.seed}",
    )
    for name in names:
        values = list(dict.fromkeys(name(cell) for cell in chosen))
        if len(chosen) == sum(name(cell) in values for cell in cells):
            return ", ".join(values)
    shown = [cell.cell for cell in chosen[:_NAMES_SHOWN]]
    return ", ".join(shown) + (f" and {len(chosen) - len(shown)} more" if len(chosen) > len(shown) else "")


def _group(cell: Cell) -> str:
    group: Group = cell.group
    return f"{group.dataset}, {group.grid}"


def _percent(cell: Cell) -> str:
    return f"{cell.labeled_percent:g} %"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}#")
        else:
            found.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)))
    return found
