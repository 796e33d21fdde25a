"""How many, how large, how often: the numbers of a checked data list as tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.data.prepare.content import Expected
from scripts.data.prepare.facts import ItemFacts
from scripts.data.split import SECTIONS

SPACING_DIGITS = 4


@dataclass(frozen=True)
class Table:
    """Rows of text under ``columns``; ``caption`` says what the numbers are."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


def section_counts(facts: Sequence[ItemFacts], expected: Expected) -> dict[str, dict[str, Any]]:
    """Numbers of each section that has items, ready for JSON.

    Returns:
        Section name to ``items``, ``patients`` (0 if items name none), ``slices``, ``channels`` (those found),
        ``size`` and ``spacing`` ({min, median, max} of each dimension by itself, None if nothing was read; mm),
        ``pixels`` and ``slices_with`` ({class name: share in [0, 1]}, None without labels; ``void`` among pixels).
    """
    numbers = {}
    for section in SECTIONS:
        items = [item for item in facts if item.section == section]
        if items:
            numbers[section] = _numbers(items, expected)
    return numbers


def _numbers(items: Sequence[ItemFacts], expected: Expected) -> dict[str, Any]:
    read = [item for item in items if item.shape]
    return {
        "items": len(items),
        "patients": len({item.patient for item in items if item.patient}),
        "slices": sum(item.slices for item in items),
        "channels": sorted({item.channels for item in read}),
        "size": _extent([item.shape for item in read]),
        "spacing": _extent([item.spacing for item in read if item.spacing]),
        **_shares(items, expected),
    }


def _extent(values: Sequence[tuple[float, ...]]) -> dict[str, list[float]] | None:
    """Smallest, median and largest of each dimension; of the longest tuples if lengths differ."""
    longest = max((len(value) for value in values), default=0)
    array = np.asarray([value for value in values if len(value) == longest])
    if not array.size:
        return None
    extremes = {"min": array.min(axis=0), "median": np.median(array, axis=0), "max": array.max(axis=0)}
    return {name: [_number(value) for value in row] for name, row in extremes.items()}


def _number(value: float) -> float:
    """Rounded, and whole where it is."""
    rounded = round(float(value), SPACING_DIGITS)
    return int(rounded) if rounded.is_integer() else rounded


def _shares(items: Sequence[ItemFacts], expected: Expected) -> dict[str, dict[str, float] | None]:
    labelled = [item for item in items if item.pixels is not None]
    if not labelled:
        return {"pixels": None, "slices_with": None}
    pixels = np.sum([item.pixels for item in labelled if item.pixels is not None], axis=0)
    present = np.sum([item.slices_with for item in labelled if item.slices_with is not None], axis=0)
    slices = sum(item.slices for item in labelled)
    names = expected.class_names
    return {
        "pixels": dict(zip((*names, "void"), (pixels / max(1, pixels.sum())).tolist(), strict=True)),
        "slices_with": dict(zip(names, (present / max(1, slices)).tolist(), strict=True)),
    }


def tables(numbers: dict[str, dict[str, Any]], expected: Expected) -> list[Table]:
    """``section_counts`` to read."""
    return [_counts_table(numbers), _sizes_table(numbers), _classes_table(numbers, expected)]


def _counts_table(numbers: dict[str, dict[str, Any]]) -> Table:
    rows = [
        (section, str(n["items"]), str(n["patients"] or "-"), str(n["slices"]), _join(n["channels"]))
        for section, n in numbers.items()
    ]
    return Table("Counts", ("section", "items", "patients", "slices", "channels"), tuple(rows))


def _sizes_table(numbers: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for section, n in numbers.items():
        for name, unit in (("size", "pixels"), ("spacing", "mm")):
            if n[name]:
                cells = [" x ".join(f"{number:g}" for number in n[name][which]) for which in ("min", "median", "max")]
                rows.append((section, f"{name} ({unit})", *cells))
    volumes = any(n["spacing"] for n in numbers.values())
    order = "x, y, slices" if volumes else "height, width"
    return Table("Sizes", ("section", "", "min", "median", "max"), tuple(rows), f"{order}; each dimension by itself")


def _classes_table(numbers: dict[str, dict[str, Any]], expected: Expected) -> Table:
    labelled = {section: n for section, n in numbers.items() if n["pixels"]}
    unit = "slices" if any(n["spacing"] for n in numbers.values()) else "images"
    columns = [f"{section} {what} %" for section in labelled for what in ("pixels", unit)]
    names = [(str(index), name) for index, name in enumerate(expected.class_names)]
    rows = []
    for index, name in [*names, ("255", "void")]:
        shares = [share for n in labelled.values() for share in (n["pixels"][name], n["slices_with"].get(name))]
        rows.append((index, name, *map(_percent, shares)))
    caption = f"share of pixels (void counted) and of the labelled {unit} in which the class occurs"
    return Table("Classes", ("value", "class", *columns), tuple(rows), caption)


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    if share == 0:
        return "-"
    return "< 0.01" if share < 1e-4 else f"{100 * share:.2f}"


def _join(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "-"
