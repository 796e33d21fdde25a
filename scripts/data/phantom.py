"""A synthetic short-axis cine data set in the ACDC layout, made from geometry and physics alone.

    python -m scripts.data.phantom --output_dir DIR [--patients 20] [--seed 0] [--cine]

The anatomy is analytic (:mod:`scripts.data.heart`, :mod:`scripts.data.thorax`), so the volume of every structure
is known without counting voxels. The image is the balanced steady-state free precession signal of the tissues
(:mod:`scripts.data.tissues`), averaged over each voxel, times a smooth receive-coil sensitivity, with Rician noise
(:mod:`scripts.data.rendering`). The patients (:mod:`scripts.data.patients`) are healthy or ill in the five ways of
ACDC (:mod:`scripts.data.groups`).
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from scripts.data.acdc import PHANTOM_RECORD
from scripts.data.patients import PhantomPatient
from scripts.errors import InputError

VERSION = 2  # raise when the same parameters give other bytes


class PhantomExistsError(InputError, FileExistsError):
    """The place of a phantom is taken by something else."""


def write_phantom(
    directory: str | Path,
    patients: int = 20,
    seed: int = 0,
    cine: bool = False,
    smallest: bool = False,
) -> Path:
    """Write a data set in the ACDC layout to ``directory`` and return ``directory``.

    ``directory/training/patientXXX`` gets Info.cfg, image and label of the frames ED and ES and, with
    ``cine``, the whole cycle as ``patientXXX_4d.nii.gz``. The same arguments give the same bytes. A directory
    that holds this very phantom is left as it is; a new one appears only when it is complete.

    Raises:
        ValueError: fewer than one patient, or more than the layout's three digits can number.
        PhantomExistsError: the directory holds something else.
    """
    if not 1 <= patients <= 999:
        raise ValueError(f"Expected 1 to 999 patients, got {patients}.")
    directory = Path(directory)
    parameters = {"patients": patients, "seed": seed, "cine": cine, "smallest": smallest, "version": VERSION}
    if _holds(directory, parameters):
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.partial")
    try:
        for number in range(1, patients + 1):
            patient = PhantomPatient.from_seed(seed, number, smallest=smallest)
            _write_patient(partial / "training" / f"patient{number:03d}", patient, cine)
        (partial / PHANTOM_RECORD).write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")
        if not _holds(directory, parameters):  # somebody else may have been faster
            if directory.exists():
                directory.rmdir()
            partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _holds(directory: Path, parameters: dict[str, int]) -> bool:
    """Whether ``directory`` holds the phantom of ``parameters``; PhantomExistsError if it holds others."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    record = directory / PHANTOM_RECORD
    if not record.is_file():
        found = "something that is not a phantom (no phantom.json)"
    else:
        found = " ".join(record.read_text(encoding="utf-8").split())
        try:
            if json.loads(found) == parameters:
                return True
        except json.JSONDecodeError:
            pass
    raise PhantomExistsError(
        f"{directory} holds {found}, but the phantom asked for is {json.dumps(parameters)}. "
        "Choose another directory or remove this one first."
    )


def _write_patient(folder: Path, patient: PhantomPatient, cine: bool) -> None:
    folder.mkdir(parents=True)
    info = {
        "ED": patient.ed,
        "ES": patient.es,
        "Group": patient.group,
        "Height": patient.height_cm,
        "NbFrame": patient.frames,
        "Weight": patient.weight_kg,
    }
    (folder / "Info.cfg").write_text("".join(f"{key}: {value}\n" for key, value in info.items()), encoding="utf-8")
    for frame in (patient.ed, patient.es):
        image, label = patient.render(frame)
        stem = f"{folder.name}_frame{frame:02d}"
        _write_nifti(folder / f"{stem}.nii.gz", image, patient.spacing)
        _write_nifti(folder / f"{stem}_gt.nii.gz", label, patient.spacing)
    if cine:
        phases = np.stack([patient.render(frame)[0] for frame in range(1, patient.frames + 1)], axis=3)
        _write_nifti(folder / f"{folder.name}_4d.nii.gz", phases, patient.spacing)


def _write_nifti(path: Path, array: NDArray[np.generic], spacing: tuple[float, float, float]) -> None:
    """Write ``array`` with an affine of spacing only, as ACDC; no time or name in the gzip header."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    volume = nib.Nifti1Image(array, affine)
    volume.header.set_xyzt_units("mm")
    with path.open("wb") as file, gzip.GzipFile("", "wb", 4, file, mtime=0) as packed:
        packed.write(volume.to_bytes())


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of :func:`write_phantom`; ``arguments`` without the program's name."""
    parser = argparse.ArgumentParser(description="Write a synthetic cine data set in the ACDC layout.")
    parser.add_argument("--output_dir", type=Path, required=True, help="the folder to make")
    parser.add_argument("--patients", type=int, default=20, help="how many patients (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (default 0)")
    parser.add_argument("--cine", action="store_true", help="also write all phases as patientXXX_4d.nii.gz")
    options = parser.parse_args(arguments)
    try:
        print(write_phantom(options.output_dir, options.patients, options.seed, options.cine))
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
