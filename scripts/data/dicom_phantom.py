"""A phantom patient as a DICOM study, the way a scanner and an archive would deliver it.

    python -m scripts.data.dicom_phantom --output_dir DIR [--enhanced] [--transfer_syntax rle] [--fault two_short_axis]

A study has a short-axis cine over the whole heart, a two-chamber and a four-chamber cine, a localiser in three
orientations and a screenshot, in folders and files whose names tell nothing. The short axis is
:class:`scripts.data.patients.PhantomPatient` as rendered; the other pictures are cut from it by interpolation. Slices
lie obliquely in the body; each has its own heart rate and trigger times. What identifies the patient is invented, and
:data:`PLANTED` lists it, so that a test can search outputs for it.

Axes and geometry of the truth: arrays are (phases, x, y, slices) with x the column and y the row of a picture; slices
are ordered along the normal (direction of rows x direction of columns), which here leads from apex to base.
"""

from __future__ import annotations

import argparse
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.config import disable_value_validation

from scripts.data.dicom_faults import FAULTS, FILE_FAULTS, OBJECT_FAULTS, SERIES_FAULTS, SURVIVABLE
from scripts.data.dicom_objects import TRANSFER_SYNTAXES, Series, Study, series_files
from scripts.data.dicom_scene import Scene, dicom_phantom_times, phantom_patient, render_cine
from scripts.data.patients import PhantomPatient
from scripts.data.phantom import PhantomExistsError

__all__ = [
    "FAULTS",
    "PLANTED",
    "PLANTED_ACCESSION",
    "PLANTED_BIRTH_DATE",
    "PLANTED_ID",
    "PLANTED_NAME",
    "SURVIVABLE",
    "TRANSFER_SYNTAXES",
    "dicom_phantom_images",
    "dicom_phantom_times",
    "dicom_phantom_truth",
    "dicom_phantom_volumes",
    "phantom_patient",
    "write_dicom_phantom",
]

PLANTED_NAME = "Plantedsurname^Plantedgiven"
PLANTED_ID = "PLANTED-ID-4711"
PLANTED_BIRTH_DATE = "19530419"
PLANTED_ACCESSION = "PLANTEDACC"
PLANTED = ("Plantedsurname", "Plantedgiven", PLANTED_ID, PLANTED_BIRTH_DATE, PLANTED_ACCESSION, "Plantedphysician")
"""Strings that every study holds and that nothing made from it may show; ID and accession go on with numbers."""

_VERSION = 1  # raise when the same parameters give other pictures


def dicom_phantom_truth(
    patient: int = 1, seed: int = 0, smallest: bool = False, *, oblique: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Labels (phases, x, y, slices) of the short axis (1 RV cavity, 2 LV myocardium, 3 LV cavity), and its affine.

    The affine, (4, 4), takes the voxel index (x, y, slice) to RAS millimetres.
    """
    lps = Scene(phantom_patient(patient, seed, smallest), patient, seed, oblique).affine
    return render_cine(patient, seed, smallest)[1], np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def dicom_phantom_images(patient: int = 1, seed: int = 0, smallest: bool = False) -> NDArray[np.uint16]:
    """Images (phases, x, y, slices) of the short axis, as they come out of the files after rescaling."""
    return render_cine(patient, seed, smallest)[0]


def dicom_phantom_volumes(patient: int = 1, seed: int = 0, smallest: bool = False) -> dict[str, NDArray[np.float64]]:
    """Volumes in mL, (phases,), of 'rv', 'myocardium' and 'lv', from the geometry without counting voxels."""
    person = phantom_patient(patient, seed, smallest)
    volumes = [person.analytic_volumes_ml(frame) for frame in range(1, person.frames + 1)]
    return {name: np.array([of_phase[name] for of_phase in volumes]) for name in volumes[0]}


def _study(patient: int, seed: int, person: PhantomPatient, key: tuple[object, ...]) -> Study:
    """Who the patient is; all of it invented."""
    sex = "MF"[int(np.random.default_rng([seed, patient, 3]).integers(2))]
    attributes: dict[str, Any] = {
        "PatientName": PLANTED_NAME,
        "PatientID": f"{PLANTED_ID}-{seed}-{patient:03d}",
        "PatientBirthDate": PLANTED_BIRTH_DATE,
        "PatientSex": sex,
        "PatientSize": f"{person.height_cm / 100.0:.2f}",
        "PatientWeight": f"{person.weight_kg:g}",
        "AccessionNumber": f"{PLANTED_ACCESSION}{patient:03d}",
        "ReferringPhysicianName": "Plantedphysician",
        "StudyDescription": "CARDIAC MR",
    }
    return Study((_VERSION, seed, patient, *key), attributes)


def write_dicom_phantom(
    folder: str | Path,
    *,
    patient: int = 1,
    seed: int = 0,
    smallest: bool = False,
    enhanced: bool | str = False,
    oblique: bool = True,
    irregular_times: bool = True,
    transfer_syntax: str = "explicit",
    fault: str | None = None,
) -> Path:
    """Write the study of phantom ``patient`` (from 1) to ``folder``, which appears when it is complete; return it.

    The same arguments give the same bytes (compressed ones with the same codecs).

    Args:
        smallest: 5 slices of about 60 x 60 pixels and 8 phases, for tests.
        enhanced: multi-frame objects with functional groups instead of one object a picture: one a series if true,
            one a slice if "per_slice". They have a rescale slope of 0.5.
        oblique: if false, slices are transverse.
        irregular_times: each slice has its own trigger times.
        transfer_syntax: a key of ``TRANSFER_SYNTAXES``; all are lossless.
        fault: one of ``FAULTS``, or None for a sound study.

    Raises:
        ValueError: an unknown fault, transfer syntax or kind of ``enhanced``, or a patient below 1.
        PhantomExistsError: the folder holds something already.
    """
    for name, given, known in (
        ("fault", fault, (None, *FAULTS)),
        ("transfer_syntax", transfer_syntax, TRANSFER_SYNTAXES),
        ("enhanced", enhanced, (False, True, "per_slice")),
    ):
        if given not in known:
            raise ValueError(f"Expected {name} to be one of {', '.join(map(str, known))}, got {given!r}.")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PhantomExistsError(f"{folder} holds something already. Choose another folder or remove this one first.")
    scene = Scene(phantom_patient(patient, seed, smallest), patient, seed, oblique)
    study = _study(patient, seed, scene.person, (smallest, enhanced, oblique, irregular_times))
    series = scene.series(render_cine(patient, seed, smallest)[0], smallest, irregular_times)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    try:
        _write(partial, study, series, enhanced, transfer_syntax, fault)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write(
    folder: Path, study: Study, series: list[Series], enhanced: bool | str, transfer_syntax: str, fault: str | None
) -> None:
    """Turn ``series`` into files below ``folder``, with the ``fault`` in frames, objects or files."""
    with disable_value_validation():  # some faults are values that the standard forbids
        if fault in SERIES_FAULTS:
            series = SERIES_FAULTS[fault](series)
        files = [file for one in series for file in series_files(study, one, enhanced)]
        if fault in OBJECT_FAULTS:
            files = OBJECT_FAULTS[fault](files)
        for file in files:
            file.write(folder, transfer_syntax)
    if fault in FILE_FAULTS:
        FILE_FAULTS[fault](folder, [file.path for file in files if file.role == "short_axis"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of :func:`write_dicom_phantom`; ``arguments`` without the program's name."""
    parser = argparse.ArgumentParser(description="Write a phantom patient as a DICOM study.")
    parser.add_argument("--output_dir", type=Path, required=True, help="the folder to make")
    parser.add_argument("--patient", type=int, default=1, help="number of the patient, from 1 (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (default 0)")
    parser.add_argument("--smallest", action="store_true", help="few slices, phases and pixels")
    parser.add_argument("--enhanced", nargs="?", const=True, default=False, choices=["per_slice"], help="multi-frame")
    parser.add_argument("--transverse", action="store_true", help="transverse instead of oblique slices")
    parser.add_argument("--regular_times", action="store_true", help="the same trigger times in all slices")
    parser.add_argument("--transfer_syntax", default="explicit", choices=TRANSFER_SYNTAXES, help="(default explicit)")
    parser.add_argument("--fault", choices=FAULTS, help="what shall be wrong with it")
    options = parser.parse_args(arguments)
    try:
        folder = write_dicom_phantom(
            options.output_dir,
            patient=options.patient,
            seed=options.seed,
            smallest=options.smallest,
            enhanced=options.enhanced,
            oblique=not options.transverse,
            irregular_times=not options.regular_times,
            transfer_syntax=options.transfer_syntax,
            fault=options.fault,
        )
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    print(folder)


if __name__ == "__main__":
    main()
