"""The DICOM files of a study: found, their headers read, what they say of the patient kept from messages."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, config, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import (
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from scripts.errors import InputError

MULTI_FRAME_MR = (EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
MR_IMAGES = (MRImageStorage, *MULTI_FRAME_MR)
IDENTIFYING = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber")
KEYWORDS = (
    *IDENTIFYING,
    "PatientSex PatientSize PatientWeight StudyDate StudyInstanceUID SeriesInstanceUID SeriesNumber SOPClassUID "
    "SOPInstanceUID Modality ImageType ComplexImageComponent BurnedInAnnotation InstanceNumber AcquisitionTime ContentTime "
    "TriggerTime TemporalPositionIdentifier HeartRate NominalInterval FrameOfReferenceUID ImagePositionPatient "
    "ImageOrientationPatient PixelSpacing Rows Columns SamplesPerPixel PhotometricInterpretation PixelRepresentation NumberOfFrames "
    "RescaleSlope RescaleIntercept SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence",
)
TAGS = [Tag(keyword) for entry in KEYWORDS for keyword in entry.split()]
WORKERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class StudyFiles:
    """Headers (without pixels) of all DICOM objects below ``root``, and what else lies there.

    ``unreadable`` begin as DICOM and end too early or hold nonsense: their SeriesInstanceUID, "" where it is lost too.
    ``foreign`` counts files that are not DICOM.
    """

    root: Path
    headers: dict[Path, Dataset] = field(repr=False)
    unreadable: dict[Path, str] = field(default_factory=dict)
    foreign: int = 0

    def name(self, path: Path) -> str:
        """``path`` below the study folder, with all that identifies a patient blotted out."""
        name = path.relative_to(self.root).as_posix() if path != self.root else path.name
        for word in sorted(_identifying_words(self.headers.values()), key=len, reverse=True):
            # A short one, such as Li, only by itself.
            alone = len(word) < 3 and word.isascii()
            pattern = rf"(?<![a-z]){re.escape(word)}(?![a-z])" if alone else re.escape(word)
            name = re.sub(pattern, "***", name, flags=re.IGNORECASE)
        return name

    def names(self, paths: Iterable[Path], most: int = 4) -> str:
        """Some of ``paths`` as :meth:`name` gives them, and how many more there are."""
        names = [self.name(path) for path in paths]
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return ", ".join(names[:most]) + more


def find_files(path: Path) -> list[Path]:
    """``path`` itself or all files below it, sorted, each folder once (links may lead back). DICOM files may have any name."""
    if path.is_file():
        return [path]
    found, visited = [], set()
    try:
        for folder, subfolders, names in os.walk(path, onerror=_raise, followlinks=True):
            real = os.path.realpath(folder)
            new = real not in visited
            subfolders[:] = subfolders if new else []
            found += [Path(folder, name) for name in names if new]
            visited.add(real)
    except OSError as error:
        raise InputError(
            f"a folder of the study cannot be read ({error.strerror}): change the permissions of the study folder and of "
            "all in it."
        ) from None  # the error itself names the folder
    return sorted(found)


def read_headers(root: Path) -> StudyFiles:
    """Read the headers of all files below ``root`` (or of the one file that it is), in threads.

    Raises:
        InputError: a folder that cannot be listed.
    """
    paths = find_files(root)
    with ThreadPoolExecutor(WORKERS) as pool:
        results = dict(zip(paths, pool.map(_header, paths), strict=True))
    files = StudyFiles(root, {}, {}, sum(header is None for header in results.values()))
    for path, header in results.items():
        if header is None or text(header, "SOPClassUID") == MediaStorageDirectoryStorage:
            continue
        if _ends_early(header):
            files.unreadable[path] = text(header, "SeriesInstanceUID")
        else:
            files.headers[path] = header
    return files


def check_one_patient(files: StudyFiles) -> None:
    """Refuse a folder whose files name different patients; empty values are passed over.

    Raises:
        InputError: with the number of patients, and by which attribute they differ.
    """
    for keyword in ("PatientID", "PatientBirthDate", "PatientName"):
        counts: dict[str, int] = {}
        for header in files.headers.values():
            value = "".join(re.findall(r"\w+", text(header, keyword))).casefold()
            if value.strip("0"):
                counts[value] = counts.get(value, 0) + 1
        if len(counts) > 1:
            numbers = " and ".join(str(number) for number in sorted(counts.values(), reverse=True)[:6])
            raise InputError(
                f"the study folder holds files of {len(counts)} patients ({numbers} files, told apart by {keyword}); "
                "expected those of one: give a folder with one patient's study."
            )


def text(header: Dataset, keyword: str) -> str:
    """The value of an attribute as text, "" where it is absent or cannot be read."""
    try:
        value = header.get(keyword)
    except Exception:  # converting a broken value raises whatever its type does
        return ""
    return "" if value is None else str(value).strip()


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning of invalid values: its warnings quote them, and they may be a name or a birth date."""
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _header(path: Path) -> Dataset | None:
    """The header, as far as it can be read; None if ``path`` is not DICOM."""
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    except InvalidDicomError:
        return None
    except Exception:  # a file cut short fails in whatever was being read
        return Dataset()


def _ends_early(header: Dataset) -> bool:
    """Whether the header lacks what every object has, or every image, behind all else that matters here."""
    if not text(header, "SOPClassUID") or not text(header, "SeriesInstanceUID"):
        return text(header, "SOPClassUID") != MediaStorageDirectoryStorage
    return text(header, "SOPClassUID") in MR_IMAGES and not text(header, "PixelRepresentation")


def _identifying_words(headers: Iterable[Dataset]) -> set[str]:
    """Words of all names and numbers that identify a patient: of three characters at least, or of letters alone."""
    values = {text(header, keyword) for header in headers for keyword in IDENTIFYING}
    return {word for value in values for word in re.split(r"[\^=\s,]+", value) if len(word) > 2 or word.isalpha()}


def _raise(error: OSError) -> None:
    raise error
