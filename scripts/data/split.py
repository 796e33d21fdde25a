"""Which patients are labelled, unlabelled, for validation and for test: drawn, cut, read and written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scripts.errors import InputError

SECTIONS = ("labeled", "unlabeled", "validation", "test")


@dataclass(frozen=True)
class PatientSplit:
    """Disjoint patient names. ``labeled + unlabeled`` is the order in which training patients get labels, so the
    labelled of a smaller fraction are always among those of a larger one.

    Raises:
        InputError: if a patient stands twice.
    """

    labeled: tuple[str, ...]
    unlabeled: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        where: dict[str, str] = {}
        for section, patients in self.sections().items():
            for patient in patients:
                if patient in where:
                    raise InputError(
                        f"patient {patient} stands in the split twice, in {where[patient]} and in {section}: slices of "
                        "one patient must never be on both sides. Remove it from one of the two."
                    )
                where[patient] = section

    def sections(self) -> dict[str, list[str]]:
        return {section: list(getattr(self, section)) for section in SECTIONS}


def read_split(path: str | Path) -> PatientSplit:
    """Read a split: sections of patient names, or a data list whose items name their ``patient``.

    A plain text file of one name a line (such as a published labelled order) is read as training patients only.

    Raises:
        InputError: not readable, not a split, or a patient twice.
    """
    path = Path(path)
    try:
        text = path.read_text()
        content = json.loads(text) if path.suffix == ".json" else {"labeled": text.split()}
        lists = content.get("patients", content)
        sections = {section: tuple(_patients(lists.get(section, []))) for section in SECTIONS}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"split file {path} cannot be used ({error!r}): expected JSON with the lists {', '.join(SECTIONS)} of "
            "patient names, or a data list written by a run."
        ) from error
    return PatientSplit(**sections, description=str(content.get("description", path.name)))


def random_split(
    patients: Sequence[str], validation_fraction: float, seed: int, together: Sequence[Sequence[str]] = ()
) -> PatientSplit:
    """Draw the validation patients and the labelled order of the rest; every training patient labelled.

    Args:
        patients: names; their order does not matter.
        validation_fraction: in (0, 1), of the patients, rounded.
        seed: same seed and names, same split.
        together: groups of names that stay on one side.
    """
    if not 0 < validation_fraction < 1:
        raise InputError(f"validation_fraction must lie in (0, 1), got {validation_fraction}.")
    group_of = {name: group[0] for group in together for name in group if group[0] in patients}
    groups: dict[str, list[str]] = {}
    for name in sorted(patients):
        groups.setdefault(group_of.get(name, name), []).append(name)
    keys = list(groups)
    order = [groups[keys[i]] for i in np.random.default_rng(seed).permutation(len(keys))]
    wanted = max(1, round(validation_fraction * len(patients)))
    validation: list[str] = []
    training: list[str] = []
    for group in order:
        target = validation if len(validation) + len(group) <= wanted else training
        target.extend(group)
    if not training:
        raise InputError(f"{len(patients)} patients are too few to train and validate on: give at least two.")
    description = f"drawn with seed {seed}: {len(training)} training, {len(validation)} validation patients"
    return PatientSplit(tuple(training), (), tuple(validation), description=description)


def cut_labeled(
    split: PatientSplit, labeled_fraction: float | None = None, labeled_patients: int | None = None
) -> PatientSplit:
    """Label only the first training patients of the split's order.

    Args:
        split: its labelled and unlabelled patients, in this order, are the training patients.
        labeled_fraction: in (0, 1]; the number is rounded, and at least 1.
        labeled_patients: at least 1; not together with a fraction.

    Raises:
        InputError: both given, or out of range.
    """
    order = split.labeled + split.unlabeled
    if labeled_fraction is not None and labeled_patients is not None:
        raise InputError(
            f"labeled_fraction = {labeled_fraction} and labeled_patients = {labeled_patients} were both given: one of "
            "them decides, set the other to null."
        )
    if labeled_fraction is not None:
        if not 0 < labeled_fraction <= 1:
            raise InputError(f"labeled_fraction must lie in (0, 1], got {labeled_fraction}: 0.1 is ten per cent.")
        count = max(1, round(labeled_fraction * len(order)))
    elif labeled_patients is not None:
        if not 1 <= labeled_patients <= len(order):
            raise InputError(f"labeled_patients must lie in 1 to {len(order)}, got {labeled_patients}.")
        count = labeled_patients
    else:
        return split
    return replace(split, labeled=order[:count], unlabeled=order[count:])


def _patients(entries: Sequence) -> list[str]:
    names = [entry if isinstance(entry, str) else entry["patient"] for entry in entries]
    # A data list has an item a frame; a list of names that repeats one is an error and stays so.
    return names if all(isinstance(entry, str) for entry in entries) else list(dict.fromkeys(names))
