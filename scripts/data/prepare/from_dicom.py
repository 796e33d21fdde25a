"""DICOM studies, some of them labelled, as a de-identified data set that the bundle trains on.

    python -m scripts.data.prepare --from_dicom DIR --output_dir OUT

Each folder in DIR is a study, found and read as the clinical workflow reads it. OUT gets ACDC's layout: patients by number, the
whole cine, labelled phases as frames with their labels, and a data list. Nothing that identifies a patient is written or
printed: neither names of studies' folders nor attributes of headers (a file that cannot be read is named below its study's folder,
with the headers' names blotted out); ``--key FILE`` writes which folder became which patient.
"""

from __future__ import annotations

import argparse
import csv
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from scripts.data.acdc import OWN_RECORD
from scripts.data.cine import CineStudy
from scripts.data.dicom.labels import read_labels
from scripts.data.dicom.reading import read_dicom
from scripts.errors import InputError
from scripts.files import write_atomically, write_json

SPLIT = "split.json"
LV = 3


@dataclass(frozen=True)
class Converted:
    """What became of DIR: names of patients, and why studies could not be used, by their number (from 1, by folder name)."""

    labeled: tuple[str, ...]
    unlabeled: tuple[str, ...]
    failed: Mapping[int, str]


def parser() -> argparse.ArgumentParser:
    known = argparse.ArgumentParser(
        prog="python -m scripts.data.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known.add_argument("--from_dicom", type=Path, required=True, metavar="DIR", help="a folder with a folder a study")
    known.add_argument("--output_dir", type=Path, required=True, metavar="OUT", help="the folder to make")
    known.add_argument("--name", default="own studies", help="of the data set, for the model's card")
    known.add_argument("--licence", default="not for distribution", help="of the data set, for the model's card")
    known.add_argument("--validation_fraction", type=float, default=0.2, metavar="F", help="of the labelled studies")
    known.add_argument("--seed", type=int, default=0, help="of who is for validation")
    known.add_argument(
        "--key", type=Path, metavar="FILE", help="CSV to write: patient, folder; keep it where names may be"
    )
    known.add_argument("--no_pictures", action="store_true", help="write no sheet of samples")
    return known


def convert(directory: Path, output_dir: Path, name: str, licence: str, key: Path | None = None) -> Converted:
    """Write the studies below ``directory`` to ``output_dir``, which appears when it is complete.

    Raises:
        InputError: no such folder or nothing in it; ``output_dir`` holds something; no study that can be used.
    """
    folders = _studies(directory)
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise InputError(f"{output_dir} holds something already: give another --output_dir, or remove it first.")
    partial = output_dir.with_name(f".{output_dir.name}.{uuid.uuid4().hex}.partial")
    labeled: list[str] = []
    unlabeled: list[str] = []
    failed, who = {}, []
    try:
        for number, folder in enumerate(track(folders, "Reading studies", transient=True), 1):
            patient = f"patient{number:03d}"
            try:
                labels = write_study(folder, partial / "training" / patient)
            except InputError as error:
                failed[number] = str(error)
                continue
            (labeled if labels else unlabeled).append(patient)
            who.append((patient, folder.name))
        if not who:
            reasons = "".join(f"\n  study {number}: {reason}" for number, reason in failed.items())
            raise InputError(f"none of the {len(folders)} studies can be used:{reasons}")
        write_json(partial / OWN_RECORD, {"name": name, "licence": licence})
        if output_dir.exists():
            output_dir.rmdir()
        partial.rename(output_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if key is not None:
        write_atomically(key, lambda path: _write_key(path, who))
    return Converted(tuple(labeled), tuple(unlabeled), failed)


def _studies(directory: Path) -> list[Path]:
    """Folders of studies, by name; the directory itself where it has none."""
    if not directory.is_dir():
        raise InputError("--from_dicom is not a folder: give the folder that holds a folder for each study.")
    folders = sorted(path for path in directory.iterdir() if path.is_dir())
    if not folders and not any(directory.iterdir()):
        raise InputError("--from_dicom is empty: give the folder that holds a folder for each study.")
    return folders or [directory]


def write_study(folder: Path, target: Path) -> int:
    """Read the study in ``folder`` and write it as a patient of ACDC's layout; returns how many phases have labels.

    Raises:
        InputError: see ``scripts.data.dicom.reading.read_dicom`` and ``scripts.data.dicom.labels.read_labels``.
    """
    with _quietly():
        study = read_dicom(folder)
    labels = read_labels(folder, study)
    target.mkdir(parents=True)
    _save(target / f"{target.name}_4d.nii.gz", np.moveaxis(study.images, 0, -1), study)
    for phase, label in labels.items():
        stem = f"{target.name}_frame{phase + 1:02d}"
        _save(target / f"{stem}.nii.gz", study.images[phase], study)
        _save(target / f"{stem}_gt.nii.gz", label, study)
    info: dict[str, object] = {"NbFrame": len(study.images)}
    if labels:
        volumes = {phase: int((label == LV).sum()) for phase, label in labels.items()}
        info |= {"ED": max(volumes, key=volumes.__getitem__) + 1, "ES": min(volumes, key=volumes.__getitem__) + 1}
    lines = "".join(f"{name}: {value}\n" for name, value in info.items())
    (target / "Info.cfg").write_text(lines, encoding="utf-8")
    return len(labels)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the log of what was repaired, which would be that of hundreds of studies."""
    log = logging.getLogger("scripts.data.dicom")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _save(path: Path, array: NDArray, study: CineStudy) -> None:
    """Write (x, y, S[, P]) with the cine's affine; whole numbers that fit stay whole."""
    if array.dtype == np.float32 and (array == np.rint(array)).all() and np.abs(array).max(initial=0) < 2**15:
        array = array.astype(np.int16)
    volume = nib.Nifti1Image(array, study.affine)
    volume.header.set_xyzt_units("mm", "msec")
    if array.ndim == 4 and study.times_ms is not None and len(study.times_ms) > 1:
        volume.header["pixdim"][4] = float(np.median(np.diff(study.times_ms, axis=0)))
    nib.save(volume, path)


def split_of(converted: Converted, validation_fraction: float, seed: int) -> dict[str, list[str] | str]:
    """Who is for training and who chooses the model, a part of the labelled studies.

    Raises:
        InputError: fewer than two labelled studies, or a fraction that is not in (0, 1).
    """
    if not 0 < validation_fraction < 1:
        raise InputError(f"--validation_fraction must lie in (0, 1), got {validation_fraction}.")
    count = len(converted.labeled)
    if count < 2:
        raise InputError(
            f"{count} labelled studies: a training needs two at least, one to learn from and one to choose the model by. The "
            "studies were converted; label phases of more of them, put the labels beside the DICOM files and convert again."
        )
    order = [converted.labeled[index] for index in np.random.default_rng(seed).permutation(count)]
    held = min(count - 1, max(1, round(validation_fraction * count)))
    return {
        "description": f"{count} labelled and {len(converted.unlabeled)} unlabelled studies, {held} of the labelled for validation",
        "labeled": order[held:],
        "unlabeled": list(converted.unlabeled),
        "validation": order[:held],
    }


def _write_key(path: Path, who: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("patient", "folder"), *who])


def prepare(options: argparse.Namespace) -> list[str]:
    """Convert, write the split, say what happened; the command line that makes and checks the data list.

    Raises:
        InputError: see ``convert`` and ``split_of``.
    """
    converted = convert(options.from_dicom, options.output_dir, options.name, options.licence, options.key)
    print(f"{len(converted.labeled)} labelled and {len(converted.unlabeled)} unlabelled studies converted.")
    for number, reason in converted.failed.items():
        print(f"study {number} (by the order of folder names) was left out: {reason}")
    split = split_of(converted, options.validation_fraction, options.seed)
    write_json(options.output_dir / SPLIT, split)
    out = str(options.output_dir)
    arguments = ["acdc", "--dataset_dir", out, "--split", str(options.output_dir / SPLIT), "--unlabeled_cine", "true"]
    return [*arguments, "--output_dir", out, *(["--no_pictures"] if options.no_pictures else [])]
