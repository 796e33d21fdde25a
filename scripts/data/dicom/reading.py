"""A short-axis cine from a folder of DICOM files."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.tag import Tag

from scripts.data.cine import Body, CineStudy, SourceInstance
from scripts.data.dicom.files import (
    IDENTIFYING,
    WORKERS,
    StudyFiles,
    check_one_patient,
    quiet_pydicom,
    read_headers,
    text,
)
from scripts.data.dicom.frames import Frame, frames_of, number
from scripts.data.dicom.grid import PhaseGrid, phase_grid
from scripts.data.dicom.repairs import repairs_of
from scripts.data.dicom.series import View, find_short_axis
from scripts.errors import InputError, root_cause

logger = logging.getLogger(__name__)
PIXEL_TAGS = [
    Tag(keyword)
    for keyword in [
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
        "PixelData",
    ]
]
Place = tuple[int, int]


def read_dicom(path: Path, series_number: int | None = None) -> CineStudy:
    """Find, order, check and decode the short-axis cine below ``path``.

    Args:
        path: a folder with all its series, classic or enhanced MR, or one enhanced file.
        series_number: see ``scripts.data.dicom.series.find_short_axis``.

    Raises:
        InputError: no DICOM, several patients, not exactly one short-axis cine, an incomplete or irregular one, a file
            that cannot be decoded. Messages name files below ``path``, and nothing that identifies the patient.
    """
    with quiet_pydicom():
        files = read_headers(path)
        frames = _frames(files)
        if not files.headers:
            raise InputError(
                f"the study holds no DICOM object ({files.foreign} other file(s), {len(files.unreadable)} damaged): give a "
                "folder of DICOM files, a 4-D NIfTI file, or an ACDC patient folder (patientXXX)."
            )
        check_one_patient(files)
        try:
            stack = find_short_axis(frames, series_number)
            _check_damaged(stack, files)
            grid = phase_grid(stack, files)
        except InputError as error:
            raise InputError(f"{error}{_passed_over(files, frames)}") from None
        images = _decoded(grid, files)
        header = files.headers[grid.frames[0][0].path]
        body, body_repairs = _body(header)
        repairs = (*repairs_of(grid, files), *body_repairs)
    for repair in repairs:
        logger.warning("repaired: %s", repair)
    logger.info("%d slices x %d phases of %d DICOM objects", len(grid.frames[0]), len(grid.frames), len(files.headers))
    return CineStudy(
        images=images,
        affine=grid.affine,
        times_ms=grid.times_ms,
        heart_rate=_heart_rate(grid),
        body=body,
        source="DICOM",
        repairs=repairs,
        instances=tuple(tuple(_instance(frame) for frame in phase) for phase in grid.frames),
        phi={keyword: text(header, keyword) for keyword in (*IDENTIFYING, "StudyDate") if text(header, keyword)},
    )


def _frames(files: StudyFiles) -> list[Frame]:
    """Frames of all headers; a file whose header contradicts itself becomes unreadable."""
    frames: list[Frame] = []
    for path, header in list(files.headers.items()):
        try:
            frames += frames_of(path, header)
        except (ValueError, TypeError, AttributeError, IndexError, EOFError):
            files.unreadable[path] = text(files.headers.pop(path), "SeriesInstanceUID")
    return frames


def _check_damaged(stack: View, files: StudyFiles) -> None:
    damaged = [path for path, series in files.unreadable.items() if series in stack.series]
    if damaged:
        raise InputError(
            f"{len(damaged)} file(s) of {stack} end too early or contradict themselves: {files.names(damaged)}. Expected "
            "complete files: copy or export them again."
        )


def _passed_over(files: StudyFiles, frames: list[Frame]) -> str:
    """A last sentence for an error: what lay in the folder and was not used."""
    parts = [f"{files.foreign} file(s) that are not DICOM"] if files.foreign else []
    if files.unreadable:
        parts.append(f"{len(files.unreadable)} damaged file(s): {files.names(files.unreadable)}")
    unfit = Counter(f"of series {frame.series_number} ({frame.unfit})" for frame in frames if frame.unfit)
    parts += [f"{count} image(s) {which}" for which, count in unfit.most_common(6)]
    return f" Passed over: {'; '.join(parts)}." if parts else ""


def _decoded(grid: PhaseGrid, files: StudyFiles) -> NDArray[np.float32]:
    """(P, x, y, S) float32: pixels times slope plus intercept, each file decoded once, in threads."""
    places: dict[Path, dict[int, tuple[Frame, Place]]] = defaultdict(dict)
    for p, phase in enumerate(grid.frames):
        for s, frame in enumerate(phase):
            places[frame.path][(frame.number or 1) - 1] = frame, (p, s)
    for path in places:
        _check_decoder(path, files)
    images = np.empty((len(grid.frames), len(grid.frames[0]), *grid.frames[0][0].shape), dtype=np.float32)

    def decode(path: Path) -> None:
        try:
            wanted = places[path]
            pixels_of_frames = _frames_of_file(path, list(wanted))
            for (frame, place), pixels in zip(wanted.values(), pixels_of_frames, strict=True):
                images[place] = _rescaled(pixels, *frame.rescale)
        except Exception as error:  # decoders raise whatever their C libraries do
            reason = error.strerror if isinstance(error, OSError) else root_cause(error)
            raise InputError(
                f"the pixels of {files.name(path)}, which belongs to the short-axis cine, cannot be decoded: they end too early or are "
                f"damaged ({reason}). Expected a complete DICOM image: copy or export it again."
            ) from None  # an OSError names the whole path

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(decode, places))
    return images.transpose(0, 3, 2, 1)


def _frames_of_file(path: Path, indices: list[int]) -> Iterator[NDArray[np.integer]]:
    """Decode frames of a file, (rows, columns) each.

    pydicom could decode from the path too, but only reading the whole element finds out that compressed pixels have no
    end: a JPEG-LS decoder fills up what is missing without a word.
    """
    return iter_pixels(dcmread(path, specific_tags=PIXEL_TAGS), indices=indices)


def _rescaled(pixels: NDArray[np.integer], slope: float | None, intercept: float | None) -> NDArray[np.number]:
    """Pixels times slope plus intercept (PS3.3, C.11.1.1.2), 1 and 0 where they are absent."""
    if slope in (None, 1.0) and not intercept:
        return pixels
    return pixels * (1.0 if slope is None else slope) + (intercept or 0.0)


def _check_decoder(path: Path, files: StudyFiles) -> None:
    syntax = files.headers[path].file_meta.get("TransferSyntaxUID")
    try:
        known = syntax is not None and get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise InputError(
            f"{files.name(path)} has the transfer syntax {syntax.name if syntax else '(none)'}, which cannot be decoded: "
            "expected uncompressed, deflated, RLE, JPEG, JPEG-LS or JPEG 2000. Export the study as Explicit VR Little Endian."
        )


def _heart_rate(grid: PhaseGrid) -> float | None:
    """Beats a minute: the median over all images that say."""
    rates = [frame.heart_rate for phase in grid.frames for frame in phase if frame.heart_rate is not None]
    return float(median(rates)) if rates else None


def _instance(frame: Frame) -> SourceInstance:
    return SourceInstance(frame.path, frame.sop_instance_uid, frame.sop_class_uid, frame.number)


def _body(header: Dataset) -> tuple[Body, tuple[str, ...]]:
    """Height, weight and sex as far as they are a person's, and what was corrected."""
    height, weight = number(text(header, "PatientSize")), number(text(header, "PatientWeight"))
    repairs: tuple[str, ...] = ()
    if height is not None and 30.0 <= height <= 250.0:
        height, repairs = height / 100.0, ("PatientSize is in centimetres; the standard's unit is metres",)
    sex = text(header, "PatientSex").upper()
    return Body(
        height_m=height if height and 0.3 <= height <= 2.5 else None,
        weight_kg=weight if weight and 1.0 <= weight <= 400.0 else None,
        sex=sex if sex in ("M", "F") else None,
    ), repairs
