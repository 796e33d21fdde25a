"""A cine from NIfTI: one 4-D file, or a patient's folder of ACDC."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from numpy.typing import NDArray

from scripts.data.acdc import Patient
from scripts.data.acdc import read_patient as read_patient
from scripts.data.cine import MIN_PHASES, MIN_SLICES, Body, CineStudy, plane_spacing
from scripts.data.reader import LoadVolumed
from scripts.errors import InputError

logger = logging.getLogger(__name__)

MILLISECONDS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}
CYCLE_MS = (200.0, 3000.0)
"""A heartbeat lasts so long: phases of another total duration are not times in it."""


def is_acdc_patient(path: Path) -> bool:
    """Whether ``path`` is a folder ``patientXXX`` with a NIfTI of that name."""
    named = re.fullmatch(r"patient\d{3,}", path.name) is not None
    return named and path.is_dir() and any(path.glob(f"{path.name}_*.nii*"))


def read_nifti(path: Path) -> CineStudy:
    """Read a cine (x, y, slices, phases).

    Raises:
        InputError: not complete, not 4-D, a single phase, fewer than ``MIN_SLICES`` slices, no voxel size, NaN voxels.
    """
    images, affine, times = _cine(path)
    return CineStudy(images, affine, times, None, Body(), "NIfTI")


def read_acdc(folder: Path) -> CineStudy:
    """Read a patient of ACDC: the whole cine, or without it the frames ED and ES as a study of two phases.

    ED and ES come from the names of the frame files, as far as there are any, then from ``Info.cfg``: where frames were
    taken from a cine that is not at hand, ``Info.cfg`` may hold placeholders.

    Raises:
        InputError: as ``read_nifti``; without the cine, fewer than two frames or frames of different grids.
    """
    patient = read_patient(folder)
    ed, es, repairs = _given_frames(patient)
    if patient.cine is not None:
        images, affine, times = _cine(patient.cine)
        named = {"ED": ed, "ES": es}
        given = {name: frame - 1 for name, frame in named.items() if frame is not None and 1 <= frame <= len(images)}
        absent = [name for name, frame in named.items() if frame is not None and name not in given]
        repairs += tuple(f"{name} lies outside the cine: not used" for name in absent)
    else:
        images, affine = _two_phases(patient, ed, es)
        times, given = None, {"ED": 0, "ES": 1}
    for repair in repairs:
        logger.warning("repaired: %s", repair)
    return CineStudy(images, affine, times, None, _body(patient), "ACDC", repairs, given_phases=given)


def _cine(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64] | None]:
    """Images (P, x, y, S), affine, times (P, S) or None."""
    volume = _volume(path)
    if volume.ndim != 4:
        raise InputError(
            f"{path.name} is {volume.ndim}-D, expected a 4-D cine (x, y, slices, phases): give the file with all phases."
        )
    images = np.ascontiguousarray(np.moveaxis(np.asarray(volume, dtype=np.float32), -1, 0))
    affine = np.asarray(volume.affine, dtype=np.float64)
    _check(images, affine, path)
    return images, affine, _times(path, images.shape)


def _volume(path: Path) -> MetaTensor:
    return LoadVolumed(["image"])({"image": str(path)})["image"]


def _check(images: NDArray[np.float32], affine: NDArray[np.float64], path: Path) -> None:
    phases, *_, slices = images.shape
    if phases < MIN_PHASES or slices < MIN_SLICES:
        raise InputError(
            f"{path.name} has {slices} slice(s) x {phases} phase(s); expected a short-axis cine of at least {MIN_SLICES} slices "
            f"and {MIN_PHASES} phases, with axes (x, y, slices, phases): give the whole stack and all phases."
        )
    if not np.isfinite(affine).all() or min(plane_spacing(affine)) <= 0:
        raise InputError(
            f"{path.name} has no usable voxel size (affine and pixdim): expected positive lengths in mm; convert it again from "
            "its source."
        )
    if not np.isfinite(images).all():
        raise InputError(f"{path.name} has NaN or infinite voxels: expected finite intensities; convert it again.")


def _times(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """(P, S) ms, evenly from 0, if pixdim[4] times the number of phases is about a heartbeat; a unit that is not given
    is a second or a millisecond, whichever fits."""
    header: Any = nib.load(path).header  # MONAI makes a pixdim of its own from the affine
    phases, slices = shape[0], shape[-1]
    step = float(header["pixdim"][4])
    unit = MILLISECONDS.get(header.get_xyzt_units()[1])
    for factor in (unit,) if unit is not None else (1000.0, 1.0):
        if CYCLE_MS[0] <= phases * step * factor <= CYCLE_MS[1]:
            return np.repeat(np.arange(phases)[:, None] * step * factor, slices, axis=1)
    return None


def _given_frames(patient: Patient) -> tuple[int | None, int | None, tuple[str, ...]]:
    """Frame numbers (from 1) of ED and ES, None where nothing says, and what was corrected in ``Info.cfg``."""
    told = {name: int(value) if (value := patient.info.get(name, "")).isdigit() else None for name in ("ED", "ES")}
    if len(patient.frames) != 2:
        return told["ED"], told["ES"], ()
    first, second = sorted(patient.frames)
    ed, es = (second, first) if told["ED"] == second else (first, second)
    wrong = [name for name, frame in (("ED", ed), ("ES", es)) if told[name] not in (None, frame)]
    return ed, es, tuple(f"{name} of Info.cfg is not a frame file: taken from the file names" for name in wrong)


def _two_phases(patient: Patient, ed: int | None, es: int | None) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The frames ED and ES as phases 0 and 1, and their affine."""
    if ed not in patient.frames or es not in patient.frames or ed == es:
        raise InputError(
            f"{patient.name} has neither a cine ({patient.name}_4d.nii.gz) nor two frames for ED and ES: expected files "
            f"{patient.name}_frameYY.nii.gz and Info.cfg that names them; found {len(patient.frames)} frame(s)."
        )
    volumes = [_volume(patient.frames[frame]) for frame in (ed, es)]
    shapes = [tuple(volume.shape) for volume in volumes]
    if (
        len(shapes[0]) != 3
        or shapes[0] != shapes[1]
        or not np.allclose(volumes[0].affine, volumes[1].affine, atol=1e-3)
    ):
        raise InputError(
            f"the two frames of {patient.name} do not lie on one grid of 3 dimensions (shapes {shapes[0]} and {shapes[1]}): "
            "expected frames of one cine; unpack the data set again."
        )
    images = np.stack([np.asarray(volume, dtype=np.float32) for volume in volumes])
    affine = np.asarray(volumes[0].affine, dtype=np.float64)
    _check(images, affine, patient.frames[ed])
    return images, affine


def _body(patient: Patient) -> Body:
    """Height (cm) and weight (kg) of ``Info.cfg``."""
    height, weight = (_positive(patient.info.get(name, "")) for name in ("Height", "Weight"))
    return Body(None if height is None else height / 100.0, weight)


def _positive(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0.0 < number < 1000.0 else None
