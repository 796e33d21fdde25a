"""DICOM objects of a synthetic study: classic and Enhanced MR images and colour screenshots, in any coding.

PS3.3 of the DICOM standard gives the modules: A.4 (MR Image), A.36.2 (Enhanced MR Image), A.8.1 (Secondary Capture).
Nothing here knows what the pictures show, and nothing depends on the clock or on chance: the same study gives the same
bytes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.uid as uids
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID
from pydicom.valuerep import DS

TRANSFER_SYNTAXES = {
    "explicit": uids.ExplicitVRLittleEndian,
    "implicit": uids.ImplicitVRLittleEndian,
    "deflated": uids.DeflatedExplicitVRLittleEndian,
    "rle": uids.RLELossless,
    "jpegls": uids.JPEGLSLossless,
    "jpeg2000": uids.JPEG2000Lossless,
}
"""Every coding that the phantom can be written in; all of them keep each pixel."""

_COMPRESSED = ("rle", "jpegls", "jpeg2000")
_ENHANCED_SLOPE = 0.5  # stored values of Enhanced MR are twice the image: whoever forgets to rescale is found out


def synthetic_uid(*key: object) -> UID:
    """The UID that belongs to ``key``: a name-based UUID under 2.25 (PS3.5, B.2)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, ('dicom phantom', *key)))).int}")


@dataclass(frozen=True)
class Plane:
    """A picture's place in the patient (LPS, mm): centre of its first pixel, directions in which the column index
    (``row``) and the row index (``column``) grow, pixel spacing, slice thickness."""

    position: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing: float
    thickness: float


@dataclass(frozen=True)
class Frame:
    """One picture: ``pixels`` (rows, columns) uint16 below 4096, its place in patient, stack (from 0) and heart cycle
    (phase from 0; time since the R wave and length of the cycle in ms)."""

    pixels: NDArray[np.uint16]
    plane: Plane
    slice: int = 0
    phase: int = 0
    trigger_ms: float = 0.0
    interval_ms: float = 1000.0


@dataclass(frozen=True)
class Series:
    """``role`` is short_axis, long_axis, localiser or capture; captures are written as colour screenshots."""

    role: str
    number: int
    description: str
    frames: tuple[Frame, ...]
    capture: bool = False


@dataclass(frozen=True)
class Study:
    """What all objects of a study share; ``key`` makes its UIDs, ``patient`` are attributes by keyword."""

    key: tuple[object, ...]
    patient: dict[str, Any]

    def uid(self, *key: object) -> UID:
        return synthetic_uid(*self.key, *key)


@dataclass
class DicomFile:
    """A file to be: its path below the study's folder, its objects' role and content, not yet compressed."""

    path: str
    role: str
    dataset: Dataset
    unknown_syntax: UID | None = None

    def write(self, folder: Path, transfer_syntax: str) -> None:
        """Encode in one of :data:`TRANSFER_SYNTAXES`, or pretend to have used ``unknown_syntax``."""
        target, content = folder / self.path, self.dataset
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.unknown_syntax is not None:
            content.PixelData = encapsulate([content.PixelData])
            content["PixelData"].VR, content["PixelData"].is_undefined_length = "OB", True
            content.file_meta.TransferSyntaxUID = self.unknown_syntax
        elif transfer_syntax in _COMPRESSED:
            content.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
            content.compress(TRANSFER_SYNTAXES[transfer_syntax], generate_instance_uid=False)
        else:
            content.file_meta.TransferSyntaxUID = TRANSFER_SYNTAXES[transfer_syntax]
        implicit = content.file_meta.TransferSyntaxUID == uids.ImplicitVRLittleEndian
        content.save_as(target, implicit_vr=implicit, little_endian=True, enforce_file_format=True)


def series_files(study: Study, series: Series, enhanced: bool | str) -> list[DicomFile]:
    """The objects of one series: one a frame, or multi-frame if ``enhanced``: one, or with "per_slice" one a slice."""
    frames = series.frames
    if series.capture:
        objects = [_capture(study, series, frame, number) for number, frame in enumerate(frames, 1)]
    elif enhanced:
        stacks = [frames]
        if enhanced == "per_slice":
            stacks = [tuple(f for f in frames if f.slice == s) for s in sorted({f.slice for f in frames})]
        objects = [_enhanced(study, series, stack, number) for number, stack in enumerate(stacks, 1)]
    else:
        objects = [_classic(study, series, frame, number) for number, frame in enumerate(frames, 1)]
    return [DicomFile(_path(content.SOPInstanceUID), series.role, content) for content in objects]


def _path(uid: str) -> str:
    """A name that tells nothing, in one of three folders that tell nothing either."""
    digest = hashlib.sha256(uid.encode("ascii")).hexdigest().upper()
    return f"{('0000A3F1', '00017C02', '0002E9D4')[int(digest, 16) % 3]}/{digest[:8]}"


def _object(study: Study, series: Series, sop_class: UID, number: int, samples: int = 1) -> Dataset:
    """The modules that every object has: patient, study, series, equipment, image."""
    content = Dataset()
    for keyword, value in study.patient.items():
        setattr(content, keyword, value)
    content.SpecificCharacterSet = content.get("SpecificCharacterSet", "ISO_IR 100")
    content.SOPClassUID = sop_class
    content.SOPInstanceUID = study.uid("instance", series.number, sop_class, number)
    content.StudyInstanceUID = study.uid("study")
    content.SeriesInstanceUID = study.uid("series", series.number)
    content.StudyDate = content.SeriesDate = content.ContentDate = "20100617"
    content.StudyTime, content.SeriesTime = "081500", f"08{15 + series.number:02d}00"
    content.ContentTime = f"08{15 + series.number:02d}{number % 60:02d}"
    content.StudyID, content.SeriesNumber, content.InstanceNumber = "1", series.number, number
    content.SeriesDescription = series.description
    content.Modality, content.Manufacturer, content.ManufacturerModelName = "MR", "Synthetic", "Phantom"
    content.BodyPartExamined, content.PatientPosition = "HEART", "HFS"
    content.SamplesPerPixel, content.PixelRepresentation = samples, 0
    content.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, content.SOPInstanceUID
    meta.ImplementationClassUID, meta.ImplementationVersionName = synthetic_uid("implementation"), "PHANTOM"
    content.file_meta = meta
    return content


def _set_pixels(content: Dataset, pixels: NDArray[np.unsignedinteger], stored_bits: int) -> None:
    """``pixels`` ([frames,] rows, columns[, 3]) as little endian; sizes and bits to go with them."""
    shape = pixels.shape[:-1] if content.SamplesPerPixel == 3 else pixels.shape
    content.Rows, content.Columns = shape[-2:]
    content.BitsAllocated, content.BitsStored, content.HighBit = 8 * pixels.itemsize, stored_bits, stored_bits - 1
    values = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    content.add_new("PixelData", "OW", values + b"\0" * (len(values) % 2))


def _decimals(values: Iterable[float]) -> list[Any]:
    """Decimal strings (DS) of at most 16 characters."""
    return [DS(float(value), auto_format=True) for value in values]


def _bssfp(content: Dataset) -> None:
    content.ScanningSequence, content.SequenceVariant, content.ScanOptions = "GR", "SS", "CG"
    content.MRAcquisitionType, content.EchoTrainLength = "2D", "1"
    content.RepetitionTime, content.EchoTime = "3", "1.5"
    content.MagneticFieldStrength, content.FlipAngle = "1.5", "50"


def _classic(study: Study, series: Series, frame: Frame, number: int) -> Dataset:
    """A single-frame MR image (PS3.3 C.8.3.1)."""
    plane = frame.plane
    content = _object(study, series, uids.MRImageStorage, number)
    content.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    content.FrameOfReferenceUID, content.PositionReferenceIndicator = study.uid("frame of reference"), ""
    _bssfp(content)
    content.AcquisitionNumber = frame.slice + 1
    content.AcquisitionDate = "20100617"
    content.AcquisitionTime = f"08{15 + series.number:02d}{2 * frame.slice % 60:02d}"
    if series.role != "localiser":
        content.TriggerTime = DS(frame.trigger_ms, auto_format=True)
        content.NominalInterval = round(frame.interval_ms)
        content.HeartRate = round(60_000.0 / frame.interval_ms)
        content.CardiacNumberOfImages = len({f.phase for f in series.frames})
    content.SliceThickness = DS(plane.thickness, auto_format=True)
    content.ImagePositionPatient = _decimals(plane.position)
    content.ImageOrientationPatient = _decimals([*plane.row, *plane.column])
    content.PixelSpacing = _decimals([plane.spacing] * 2)
    content.WindowCenter, content.WindowWidth = "200", "400"
    _set_pixels(content, frame.pixels, 12)
    return content


def _item(**attributes: Any) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def _enhanced(study: Study, series: Series, frames: Sequence[Frame], number: int) -> Dataset:
    """A multi-frame MR image with functional groups (PS3.3 C.8.13)."""
    content = _object(study, series, uids.EnhancedMRImageStorage, number)
    content.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    content.FrameOfReferenceUID, content.PositionReferenceIndicator = study.uid("frame of reference"), ""
    content.AcquisitionNumber, content.AcquisitionDateTime, content.AcquisitionDuration = 1, "20100617081500", 10.0
    content.ContentQualification, content.MagneticFieldStrength, content.ResonantNucleus = "RESEARCH", 1.5, "1H"
    content.PulseSequenceName, content.SteadyStatePulseSequence, content.MRAcquisitionType = "bSSFP", "FREE", "2D"
    content.CardiacSynchronizationTechnique = "NONE" if series.role == "localiser" else "RETROSPECTIVE"
    content.BurnedInAnnotation, content.LossyImageCompression = "NO", "00"
    organization = study.uid("dimensions")
    content.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organization)
    content.DimensionIndexSequence = [
        _item(DimensionOrganizationUID=organization, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111)[
            0
        ]
        for pointer in (0x00209056, 0x00209057, 0x00209128)  # stack, position in it, temporal position
    ]
    content.NumberOfFrames = len(frames)
    content.SharedFunctionalGroupsSequence = _item(
        PixelValueTransformationSequence=_item(
            RescaleIntercept="0", RescaleSlope=str(_ENHANCED_SLOPE), RescaleType="US"
        ),
        MRImageFrameTypeSequence=_item(
            FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            PixelPresentation="MONOCHROME",
            VolumetricProperties="VOLUME",
            VolumeBasedCalculationTechnique="NONE",
            ComplexImageComponent="MAGNITUDE",
            AcquisitionContrast="UNKNOWN",
        ),
        MRTimingAndRelatedParametersSequence=_item(RepetitionTime="3", FlipAngle="50", EchoTrainLength=1),
    )
    content.PerFrameFunctionalGroupsSequence = [_functional_groups(series, frame) for frame in frames]
    pixels = np.stack([frame.pixels for frame in frames])
    _set_pixels(content, np.rint(pixels / _ENHANCED_SLOPE).astype(np.uint16), 16)
    return content


def _functional_groups(series: Series, frame: Frame) -> Dataset:
    """What is each frame's own."""
    plane = frame.plane
    groups = _item(
        FrameContentSequence=_item(
            StackID="1",
            InStackPositionNumber=frame.slice + 1,
            TemporalPositionIndex=frame.phase + 1,
            DimensionIndexValues=[1, frame.slice + 1, frame.phase + 1],
            FrameAcquisitionDateTime=f"201006170815{2 * frame.slice % 60:02d}",
        ),
        PlanePositionSequence=_item(ImagePositionPatient=_decimals(plane.position)),
        PlaneOrientationSequence=_item(ImageOrientationPatient=_decimals([*plane.row, *plane.column])),
        PixelMeasuresSequence=_item(
            PixelSpacing=_decimals([plane.spacing] * 2), SliceThickness=DS(plane.thickness, auto_format=True)
        ),
        FrameVOILUTSequence=_item(WindowCenter="200", WindowWidth="400"),
    )[0]
    if series.role != "localiser":
        groups.CardiacSynchronizationSequence = _item(
            NominalCardiacTriggerDelayTime=float(frame.trigger_ms), RRIntervalTimeNominal=float(frame.interval_ms)
        )
    return groups


def _capture(study: Study, series: Series, frame: Frame, number: int) -> Dataset:
    """A colour screenshot with the patient's name in its pixels (PS3.3 C.8.6)."""
    content = _object(study, series, uids.SecondaryCaptureImageStorage, number, samples=3)
    content.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    content.ConversionType, content.BurnedInAnnotation, content.PlanarConfiguration = "WSD", "YES", 0
    grey = np.clip(frame.pixels // 2, 0, 255).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    pen = ImageDraw.Draw(picture)
    pen.text((2, 2), str(content.PatientName), fill=(255, 220, 0))
    pen.text((2, picture.height - 12), f"{frame.slice + 1}/{frame.phase + 1}", fill=(0, 255, 120))
    _set_pixels(content, np.asarray(picture), 8)
    return content
