"""Labels of a DICOM study: segmentation objects in it, or NIfTI label maps beside it, on the grid of its cine."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
from highdicom.seg import Segmentation, segread
from nibabel.orientations import io_orientation, ornt_transform
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from scripts.data.acdc import CLASS_NAMES
from scripts.data.cine import CineStudy
from scripts.data.reader import NIFTI_SUFFIXES
from scripts.errors import InputError, root_cause

CODES = {"53085002": 1, "49848007": 2, "87878005": 3}
"""SNOMED CT: right ventricle, myocardium of left ventricle, left ventricle; to the label values of ACDC."""
LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
PHASE = re.compile(r"phase_?(\d+)", re.IGNORECASE)


def read_labels(folder: Path, study: CineStudy) -> dict[int, NDArray[np.uint8]]:
    """Find the labels below ``folder`` that belong to ``study``.

    - DICOM SEG, binary, whose segments have the SNOMED codes of ``CODES`` and whose frames name the images that they are of;
    - NIfTI on the cine's grid (axes in any order): 4-D with the cine's phases, of which those without any label are
      unlabelled; or 3-D with ``phaseNN`` (counted from 1) in its name.

    Returns:
        (x, y, S) uint8 in 0 to 3 by phase, counted from 0; only phases with a label.

    Raises:
        InputError: a label that is not on the cine's grid, of another value or code, of a phase that is not there, or two of
            one phase. Messages name no file: names may identify a patient.
    """
    labels: dict[int, NDArray[np.uint8]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            found = _of_nifti(path, study)
        else:
            segmentation = _segmentation(path)
            found = {} if segmentation is None else _of_segmentation(segmentation, study)
        for phase, label in found.items():
            if phase in labels:
                raise InputError(f"phase {phase + 1} has two labels: remove one of the two label files of the study.")
            labels[phase] = label
    return labels


def _of_nifti(path: Path, study: CineStudy) -> dict[int, NDArray[np.uint8]]:
    try:
        volume = nib.load(path)
        array = np.asarray(volume.dataobj)  # type: ignore[attr-defined]
        affine = np.asarray(volume.affine, dtype=np.float64)  # type: ignore[attr-defined]
    except Exception as error:  # nibabel raises many kinds for a broken file
        raise InputError(f"a NIfTI label map cannot be read ({type(error).__name__}): write it again.") from None
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise InputError("a NIfTI label map has no usable affine: write it again, on the cine's grid.")
    array = _on_grid(array, affine, study) if array.ndim in (3, 4) else array
    phases, named = len(study.images), PHASE.search(path.name)
    if array.ndim == 4 and array.shape[3] == phases:
        parts = {phase: array[..., phase] for phase in range(phases)}
    elif array.ndim == 3 and named is not None and 1 <= int(named.group(1)) <= phases:
        parts = {int(named.group(1)) - 1: array}
    else:
        raise InputError(
            f"a NIfTI label map is {array.ndim}-D of shape {array.shape}; expected 4-D with the cine's {phases} phases, or 3-D with "
            f"phaseNN (1 to {phases}) in its name."
        )
    return {phase: _checked(part) for phase, part in parts.items() if part.any()}


def _on_grid(array: NDArray, affine: NDArray[np.float64], study: CineStudy) -> NDArray:
    """``array`` with its axes turned to the cine's."""
    turn = ornt_transform(io_orientation(affine), io_orientation(study.affine))
    turned = nib.Nifti1Image(np.zeros(array.shape[:3], np.uint8), affine).as_reoriented(turn)
    array = nib.orientations.apply_orientation(array, turn)
    there = nib.affines.apply_affine(turned.affine, _corners(study.images.shape[1:]))
    here = nib.affines.apply_affine(study.affine, _corners(study.images.shape[1:]))
    off = float(np.abs(there - here).max())
    if array.shape[:3] != study.images.shape[1:] or off > 0.5:
        raise InputError(
            f"a NIfTI label map does not lie on the cine's grid: shape {array.shape[:3]}, corners up to {off:.1f} mm off; expected "
            f"{study.images.shape[1:]} at the same place. Draw labels on the cine itself (or on its conversion by --from_dicom)."
        )
    return array


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(*((0.0, size - 1.0) for size in shape), indexing="ij"), -1).reshape(-1, 3)


def _checked(label: NDArray) -> NDArray[np.uint8]:
    values = np.unique(label)
    if not np.isin(values, range(len(CLASS_NAMES))).all():
        expected = ", ".join(f"{value} {name}" for value, name in enumerate(CLASS_NAMES))
        raise InputError(f"a label map has the values {values[:10].tolist()}; expected {expected}.")
    return label.astype(np.uint8)


def _segmentation(path: Path) -> Segmentation | None:
    """The segmentation object in a file, with its pixels decoded; None if it is something else."""
    try:
        kind = dcmread(path, specific_tags=["SOPClassUID"]).get("SOPClassUID")
        segmentation = segread(path) if kind == SegmentationStorage else None
        stored = "LABELMAP" if segmentation is None else str(segmentation.SegmentationType)
        if segmentation is not None:
            segmentation.pixel_array  # noqa: B018  (decoded here, and kept by pydicom)
    except InvalidDicomError:
        return None
    except Exception as error:
        raise InputError(f"a DICOM file of the study cannot be read as a segmentation: {root_cause(error)}.") from None
    if kind in (SegmentationStorage, LABEL_MAP_STORAGE) and stored != "BINARY":
        raise InputError(f"a DICOM segmentation is of the type {stored}; expected BINARY: export it as that.")
    return segmentation


def _of_segmentation(segmentation: Segmentation, study: CineStudy) -> dict[int, NDArray[np.uint8]]:
    values = _values(segmentation)
    places = {
        (instance.sop_instance_uid, instance.frame or 1): (phase, number)
        for phase, instances in enumerate(study.instances or ())
        for number, instance in enumerate(instances)
    }
    labels: dict[int, NDArray[np.uint8]] = {}
    for source, segment, pixels in _frames(segmentation):
        if source not in places:
            raise InputError(
                "a DICOM segmentation names an image that is not in the short-axis cine: expected one of this study's cine."
            )
        phase, number = places[source]
        if pixels.T.shape != study.images.shape[1:3]:
            raise InputError(
                f"a DICOM segmentation has frames of {pixels.shape}, the cine of {study.images.shape[2:0:-1]}."
            )
        label = labels.setdefault(phase, np.zeros(study.images.shape[1:], np.uint8))
        label[..., number][pixels.T > 0] = values[segment]
    return {phase: label for phase, label in labels.items() if label.any()}


def _values(segmentation: Segmentation) -> dict[int, int]:
    """Label value of each segment number."""
    values = {}
    for number in segmentation.segment_numbers:
        code = segmentation.get_segment_description(number).segmented_property_type.value
        if code not in CODES:
            raise InputError(
                f"a DICOM segmentation has a segment of the type {code}; expected the SNOMED codes {', '.join(CODES)} (right "
                "ventricle, myocardium of left ventricle, left ventricle)."
            )
        values[int(number)] = CODES[code]
    return values


def _frames(segmentation: Segmentation) -> list[tuple[tuple[str, int], int, NDArray]]:
    """Source image (UID, frame number) and segment number of each frame, and its pixels (rows, columns)."""
    stored = segmentation.pixel_array
    stored = stored[None] if stored.ndim == 2 else stored
    found = []
    try:
        for groups, pixels in zip(segmentation.PerFrameFunctionalGroupsSequence, stored, strict=True):
            source = groups.DerivationImageSequence[0].SourceImageSequence[0]
            number = int(np.atleast_1d(source.get("ReferencedFrameNumber", 1))[0])
            segment = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            found.append(((source.ReferencedSOPInstanceUID, number), segment, pixels))
    except (AttributeError, IndexError, ValueError):
        raise InputError("a DICOM segmentation does not name the images that its frames are of.") from None
    return found
