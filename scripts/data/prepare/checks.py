"""What no single file shows: the same image in two places, classes that never occur, sections without items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.data.prepare.content import Expected
from scripts.data.prepare.facts import LABELED_SECTIONS, ItemFacts, gather_facts
from scripts.data.prepare.names import unmatched_names
from scripts.data.prepare.trouble import Kind, Severity, Trouble, first_names, sorted_by_severity

SIDES = {"labeled": "training", "unlabeled": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Findings:
    """A data list, looked at: what is expected of its items, what they are, what is wrong."""

    expected: Expected
    facts: list[ItemFacts]
    troubles: list[Trouble]

    @property
    def errors(self) -> int:
        return sum(trouble.severity is Severity.ERROR for trouble in self.troubles)

    @property
    def warnings(self) -> int:
        return sum(trouble.severity is Severity.WARNING for trouble in self.troubles)


def check_data_list(data_list: Mapping[str, Any], root: str | Path, workers: int | None = None) -> Findings:
    """Read every file that ``data_list`` names and look for trouble, errors first.

    Args:
        data_list: sections of items, ``labels``, maybe ``label_map``, ``background``, ``channels``.
        root: what its paths are relative to.
        workers: threads that read; None is one a processor.
    """
    root = Path(root)
    expected = Expected.of(data_list, root)
    facts = gather_facts(data_list, root, expected, workers)
    troubles = [trouble for item in facts for trouble in item.troubles]
    troubles += duplicates(facts) + unmatched_names(data_list, root) + empty_sections(facts)
    troubles += empty_labels(facts, expected) + missing_classes(facts, expected)
    return Findings(expected, facts, sorted_by_severity(troubles))


def duplicates(facts: Sequence[ItemFacts]) -> list[Trouble]:
    """Items with equal pixels (of one phase at least), by content; names and file formats do not matter."""
    same: dict[str, dict[int, ItemFacts]] = {}
    for index, item in enumerate(facts):
        for value in item.image_hashes:
            same.setdefault(value, {})[index] = item
    groups = {tuple(group): list(group.values()) for group in same.values() if len(group) > 1}
    return [_duplicate(group) for group in groups.values()]


def _duplicate(group: Sequence[ItemFacts]) -> Trouble:
    files = tuple(item.image for item in group)
    sides = {SIDES[item.section] for item in group}
    sections = list(dict.fromkeys(item.section for item in group))
    places = first_names([f"{item.image} ({item.section})" for item in group], 4)
    labels = {item.label_hash for item in group if item.label_hash}
    differ = " Their labels differ." if len(labels) > 1 else ""
    severity = Severity.WARNING
    if len(sides) > 1:
        severity = Severity.ERROR
        remedy = (
            f"{' and '.join(sorted(sides))} share them, so the score would be of images known before: put all of them, "
            "and everything else of the same patients or scenes, on one side."
        )
    elif len(sections) > 1:
        remedy = "labelled and unlabelled training images share them: they count twice; take one out."
    elif differ:
        remedy = "one image must not mean two things: keep the label that is right, or accept the disagreement."
    else:
        remedy = "it counts more often than others; take one out."
    return Trouble(severity, Kind.DUPLICATE, files, f"the same pixels stand in {places}.{differ} Remedy: {remedy}")


def empty_sections(facts: Sequence[ItemFacts]) -> list[Trouble]:
    """Nothing to learn from is an error, nothing to choose the model by a warning."""
    there = {item.section for item in facts}
    troubles = []
    if "labeled" not in there:
        message = "no item is labelled, expected at least one: add labels, or label a larger share."
        troubles.append(Trouble(Severity.ERROR, Kind.SECTION, (), message))
    if "validation" not in there:
        message = "no item is for validation, by which the best model is chosen: keep some labelled items for it."
        troubles.append(Trouble(Severity.WARNING, Kind.SECTION, (), message))
    return troubles


def empty_labels(facts: Sequence[ItemFacts], expected: Expected) -> list[Trouble]:
    """Labels that show no class at all, or background only."""
    void_only, background_only = [], []
    for item in facts:
        if item.pixels is None or item.label is None:
            continue
        if sum(item.pixels[:-1]) == 0:
            void_only.append(item.label)
        elif expected.background and sum(item.pixels[1:-1]) == 0:
            background_only.append(item.label)
    troubles = []
    if void_only:
        message = (
            f"{len(void_only)} labels are void everywhere: {first_names(void_only)}. Correct them or their label map."
        )
        troubles.append(Trouble(Severity.WARNING, Kind.EMPTY_LABEL, tuple(void_only), message))
    if background_only:
        message = (
            f"{len(background_only)} labels show {expected.class_names[0]} only: {first_names(background_only)}. Look at "
            "their images: if structures are there, the labels are unfinished and belong into unlabeled."
        )
        troubles.append(Trouble(Severity.WARNING, Kind.EMPTY_LABEL, tuple(background_only), message))
    return troubles


def missing_classes(facts: Sequence[ItemFacts], expected: Expected) -> list[Trouble]:
    """Classes that cannot be learnt, and classes that cannot be measured."""
    occurs = {section: _occurrence(facts, section, expected.num_classes) > 0 for section in LABELED_SECTIONS}
    held_out = occurs["validation"] | occurs["test"]
    if not occurs["labeled"].any():
        return []
    found = (
        (
            Severity.WARNING,
            held_out & ~occurs["labeled"],
            "occur in validation or test but in no labelled training image, so they cannot be learnt: label more images, "
            "or draw with another seed",
        ),
        (
            Severity.WARNING,
            ~held_out & ~occurs["labeled"],
            "occur in no label of the list: check the number of classes, or label more images",
        ),
        (
            Severity.NOTE,
            occurs["labeled"] & ~occurs["validation"],
            "occur in no validation label, so their score there is empty",
        ),
    )
    troubles = []
    for severity, which, message in found:
        names = [name for name, here in zip(expected.class_names, which, strict=True) if here]
        if names:
            message = f"{len(names)} of {expected.num_classes} classes {message}: {', '.join(names)}."
            troubles.append(Trouble(severity, Kind.CLASSES, (), message))
    return troubles


def _occurrence(facts: Sequence[ItemFacts], section: str, num_classes: int) -> NDArray[np.int64]:
    """(K,), the slices of ``section`` in which each class occurs."""
    counts = [item.slices_with for item in facts if item.section == section and item.slices_with is not None]
    return np.sum([(0,) * num_classes, *counts], axis=0)
