"""The ACDC challenge's layout: a folder a patient with ``Info.cfg``, ED and ES frames, their labels, maybe the cine.

Bernard et al., "Deep learning techniques for automatic MRI cardiac multi-structures segmentation and diagnosis",
IEEE TMI 2018. Files: ``patientXXX/patientXXX_frameYY.nii.gz``, ``..._frameYY_gt.nii.gz``, ``patientXXX_4d.nii.gz``.
"""

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.data.split import PatientSplit, cut_labeled, random_split, read_split, refuse_other_count
from scripts.errors import InputError

CLASS_NAMES = ("background", "right ventricle cavity", "left ventricle myocardium", "left ventricle cavity")
DUPLICATES = (("patient074", "patient076"),)
"""Patients with bit-identical images (and different labels): they stay on one side of a split."""

HELD_OUT_FOLDER = "testing"
PHANTOM_RECORD = "phantom.json"
"""Stands in the folder of a synthetic data set that has this layout."""
OWN_RECORD = "data_set.json"
"""Stands in the folder of a hospital's own studies in this layout, with their ``name`` and ``licence``."""
REMEDY = (
    "ACDC is had, after registration, from https://humanheart-project.creatis.insa-lyon.fr/database/ "
    "(unpack it and give the folder that holds training as --dataset_dir). To see the bundle work without any download, run the demo: "
    "python -m monai.bundle run training --config_file \"['configs/train.json','configs/demo.json']\""
)


@dataclass(frozen=True)
class Patient:
    """One patient's files; ``frames`` maps the frame number to its image."""

    name: str
    folder: Path
    info: dict[str, str]
    frames: dict[int, Path]
    cine: Path | None

    def phase(self, frame: int) -> str:
        """ "ED" for the frame that ``Info.cfg`` calls so (without it, the first), else "ES"."""
        return "ED" if str(frame) == self.info.get("ED", str(min(self.frames))) else "ES"

    def label(self, frame: int) -> Path:
        image = self.frames[frame]
        stem, _, suffix = image.name.partition(".")
        return image.with_name(f"{stem}_gt.{suffix}")


def find_patients(dataset_dir: str | Path | None) -> dict[str, Patient]:
    """Find ``patientXXX`` folders in ``dataset_dir`` and one level below, by name, without opening an image.

    Raises:
        InputError: no such folder, not readable, no patient in it, or a patient twice.
    """
    if not dataset_dir:
        raise InputError(f"no dataset_dir was given, and this run is defined on ACDC. {REMEDY}")
    root = Path(dataset_dir)
    try:
        if not root.is_dir():
            raise InputError(f"dataset_dir {root} is not a folder. {REMEDY}")
        os.listdir(root)  # glob passes in silence over what it may not read
        folders = sorted(p for pattern in ("patient*", "*/patient*") for p in root.glob(pattern) if p.is_dir())
        patients = [read_patient(folder) for folder in folders if re.fullmatch(r"patient\d{3,}", folder.name)]
    except OSError as error:
        raise InputError(
            f"dataset_dir {root} cannot be read: {error}. Change the permissions of it and of all in it. {REMEDY}"
        ) from error
    found: dict[str, Patient] = {}
    for patient in patients:
        if (patient.frames or patient.cine) and patient.name in found:
            raise InputError(
                f"dataset_dir {root} holds {patient.name} twice, in {found[patient.name].folder} and in "
                f"{patient.folder}: give a folder with one copy of ACDC."
            )
        if patient.frames or patient.cine:
            found[patient.name] = patient
    if not found:
        raise InputError(
            f"dataset_dir {root} holds no ACDC patient: looked for patientXXX/patientXXX_frameYY.nii.gz (or .nii) there "
            f"and in the readable folders just below. {REMEDY}"
        )
    return found


def data_list(
    dataset_dir: str | Path | None,
    split: str | Path | None = None,
    labeled_fraction: float | None = None,
    labeled_patients: int | None = None,
    validation_fraction: float = 0.25,
    seed: int = 0,
    unlabeled_cine: bool = False,
    labeled_images: None = None,
) -> dict:
    """MONAI data list of ACDC with sections ``labeled``, ``unlabeled``, ``validation``, ``test``.

    Args:
        dataset_dir: the folder of ACDC; paths in the list are relative to it.
        split: a JSON file with patients (as ``scripts/data/splits/acdc_ssl4mis.json``) or with a written data list, or
            a text file of the training patients in the order in which they are labelled; if it names no validation
            patients, all others found outside ``testing`` are. None draws ``validation_fraction`` of the patients
            outside ``testing`` for validation.
        labeled_fraction, labeled_patients: how many of the training patients are labelled, in the split's order, so
            that a smaller choice lies inside a larger one; None of both keeps the file's own choice.
        validation_fraction: of a drawn split, in (0, 1).
        seed: of a drawn split.
        unlabeled_cine: take every phase of ``patientXXX_4d`` of unlabelled patients, not ED and ES only; where there are no
            single frames, it is taken anyway.
        labeled_images: refused, for labels go by patients.

    Raises:
        InputError: as ``find_patients``; for a split that is inconsistent, parts patients of identical images, names
            absent training or validation patients, or leaves none for validation; for a fraction or number out of range.
    """
    refuse_other_count(labeled_images, "labeled_images", "labeled_patients")
    patients = find_patients(dataset_dir)
    names = [name for name, patient in patients.items() if patient.folder.parent.name != HELD_OUT_FOLDER]
    if split is None:
        chosen = random_split(names, validation_fraction, seed, together=DUPLICATES)
    else:
        chosen = _validated_on_the_rest(read_split(split), names)
    chosen = cut_labeled(chosen, labeled_fraction, labeled_patients)
    _check_present(chosen, patients, dataset_dir)
    _check_duplicates(chosen)
    root = Path(dataset_dir or "")
    sections = {
        "labeled": [item for name in chosen.labeled for item in frames_of(patients[name], root, labels=True)],
        "unlabeled": [item for name in chosen.unlabeled for item in _unlabeled(patients[name], root, unlabeled_cine)],
        "validation": [item for name in chosen.validation for item in frames_of(patients[name], root, labels=True)],
        "test": [item for n in chosen.test if n in patients for item in frames_of(patients[n], root, labels=True)],
    }
    return {
        **_data_set(root),
        "description": chosen.description,
        "labels": {str(value): name for value, name in enumerate(CLASS_NAMES)},
        "patients": chosen.sections(),
        **sections,
    }


def _data_set(root: Path) -> dict[str, str]:
    """Name and licence: the phantom and own studies have ACDC's layout, not its licence."""
    if (root / OWN_RECORD).is_file():
        record = json.loads((root / OWN_RECORD).read_text(encoding="utf-8"))
        return {key: str(record[key]) for key in ("name", "licence")}
    if (root / PHANTOM_RECORD).is_file():
        return {"name": "phantom", "licence": "Apache-2.0"}
    return {"name": "ACDC", "licence": "CC BY-NC-SA 4.0"}


def read_patient(folder: Path) -> Patient:
    info_file = folder / "Info.cfg"
    lines = info_file.read_text("utf-8", "replace").splitlines() if info_file.is_file() else []
    info = dict(re.split(r"\s*:\s*", line.strip(), maxsplit=1) for line in lines if ":" in line)
    frames, cine = {}, None
    for path in sorted(folder.iterdir()):
        if match := re.fullmatch(rf"{folder.name}_frame(\d+)\.nii(\.gz)?", path.name):
            frames[int(match.group(1))] = path
        elif re.fullmatch(rf"{folder.name}_4d\.nii(\.gz)?", path.name):
            cine = path
    return Patient(folder.name, folder, info, frames, cine)


def frames_of(patient: Patient, root: Path, labels: bool) -> list[dict]:
    """A data item for ED and one for ES, paths relative to ``root``."""
    items = []
    for frame, image in patient.frames.items():
        item = {"image": image.relative_to(root).as_posix(), "patient": patient.name, "phase": patient.phase(frame)}
        if labels:
            item["label"] = patient.label(frame).relative_to(root).as_posix()
        items.append(item)
    return items


def _unlabeled(patient: Patient, root: Path, cine: bool) -> list[dict]:
    if patient.cine is not None and (cine or not patient.frames):
        return [{"image": patient.cine.relative_to(root).as_posix(), "patient": patient.name, "phase": "all"}]
    return frames_of(patient, root, labels=False)


def _validated_on_the_rest(split: PatientSplit, names: list[str]) -> PatientSplit:
    """``split``, with those of ``names`` that it does not mention for validation if it has no validation patients."""
    if split.validation:
        return split
    mentioned = {*split.labeled, *split.unlabeled, *split.test}
    rest = tuple(name for name in names if name not in mentioned)
    if not rest:
        raise InputError(
            f"the split ({split.description}) has no validation patients, and every patient found is in it: the best model "
            "is chosen on validation patients, so add a section 'validation', or take some patients out."
        )
    description = f"{split.description}, the {len(rest)} others for validation"
    return replace(split, validation=rest, description=description)


def _check_duplicates(split: PatientSplit) -> None:
    training, held_out = {*split.labeled, *split.unlabeled}, {*split.validation, *split.test}
    for group in DUPLICATES:
        if training & set(group) and held_out & set(group):
            raise InputError(
                f"the split parts {' and '.join(group)}, whose images in ACDC are bit-identical: one is for training, the "
                "other held out. Put them on one side."
            )


def _check_present(split: PatientSplit, patients: dict[str, Patient], dataset_dir: str | Path | None) -> None:
    needed = (*split.labeled, *split.unlabeled, *split.validation)
    absent = sorted(set(needed) - set(patients))
    if absent:
        raise InputError(
            f"the split names {len(absent)} training or validation patients that {dataset_dir} does not hold: "
            f"{', '.join(absent[:10])}{' ...' if len(absent) > 10 else ''}. Give the folder of the whole data set, or "
            "another --split."
        )
