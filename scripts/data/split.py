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
        text = path.read_text("utf-8")
        content = json.loads(text) if path.suffix == ".json" else {"labeled": text.split()}
        lists = content.get("patients", content)
        sections = {section: tuple(_patients(lists.get(section, []))) for section in SECTIONS}
        if not sections["labeled"] + sections["unlabeled"]:
            raise ValueError("no training patients in it")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"split file {path} cannot be used ({type(error).__name__}: {error}): expected JSON with the lists "
            f"{', '.join(SECTIONS)} of patient names, a data list written by a run, or a text file of one patient a line."
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
    if not training or not validation:
        raise InputError(
            f"{len(patients)} patients cannot be parted for training and validation at validation_fraction = "
            f"{validation_fraction}: give more patients, or a fraction nearer to 0.25."
        )
    description = f"drawn with seed {seed}: {len(training)} training, {len(validation)} validation patients"
    return PatientSplit(tuple(training), (), tuple(validation), description=description)


def cut_labeled(
    split: PatientSplit, labeled_fraction: float | None = None, labeled_patients: int | None = None
) -> PatientSplit:
    """Label only the first training patients of the split's order.

    Args:
        split: its labelled and unlabelled patients, in this order, are the training patients.
        labeled_fraction: in (0, 1]; the number is rounded, and at least 1.
        labeled_patients: a whole number, at least 1; not together with a fraction.

    Raises:
        InputError: both given, out of range, or no number.
    """
    order = split.labeled + split.unlabeled
    if labeled_fraction is None and labeled_patients is None:
        return split
    count = labeled_count(len(order), labeled_fraction, labeled_patients, "labeled_patients", "the training patients")
    return replace(split, labeled=order[:count], unlabeled=order[count:])


def labeled_count(total: int, fraction: float | None, number: int | None, name: str, what: str) -> int:
    """How many of ``total`` are labelled: a ``fraction``, rounded and at least 1, or a ``number``; None of both: all.

    Args:
        name: of the setting ``number``, for messages. what: what ``total`` counts.

    Raises:
        InputError: both given, out of range, or no number.
    """
    if fraction is not None and number is not None:
        raise InputError(
            f"labeled_fraction = {fraction} and {name} = {number} were both given: one of them decides, set the other to "
            "null."
        )
    if fraction is not None:
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise InputError(f"labeled_fraction must lie in (0, 1], got {fraction!r}: 0.1 is ten per cent.")
        return max(1, round(fraction * total))
    if number is not None:
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= total:
            raise InputError(f"{name} must be a whole number in 1 to {total}, {what}, got {number!r}.")
        return number
    return total


def refuse_other_count(value: object, name: str, instead: str) -> None:
    """Refuse the count of a data set that is counted otherwise, rather than pass over it.

    Raises:
        InputError: if ``value`` of the setting ``name`` is not None.
    """
    if value is not None:
        raise InputError(
            f"this data set is not counted by --{name}, got {value!r}: give --{instead} or --labeled_fraction."
        )


def _patients(entries: Sequence) -> list[str]:
    if not isinstance(entries, list):
        raise TypeError(f"expected a list, got {entries!r}")
    names = [entry if isinstance(entry, str) else entry["patient"] for entry in entries]
    # A data list has an item a frame; a list of names that repeats one is an error and stays so.
    return names if all(isinstance(entry, str) for entry in entries) else list(dict.fromkeys(names))
