"""Labels of one phase as a DICOM segmentation object (PS3.3, A.51)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from scripts.clinical.dicom_sources import Sources, new_uid
from scripts.clinical.structures import Structures
from scripts.data.cine import SourceInstance

MANUFACTURER = "CycleGAN semi-supervised segmentation bundle"
SEGMENTS: Mapping[str, tuple[str, Code, tuple[int, int, int]]] = {
    "lv": ("LV cavity", Code("87878005", "SCT", "Left ventricle"), (0, 158, 115)),
    "myocardium": ("LV myocardium", Code("49848007", "SCT", "Myocardium of left ventricle"), (230, 159, 0)),
    "rv": ("RV cavity", Code("53085002", "SCT", "Right ventricle"), (86, 180, 233)),
}
"""Label, type and colour (sRGB) of the segments 1, 2 and 3."""


def segmentation_object(
    sources: Sources,
    phase: int,
    labels: NDArray[np.uint8],
    structures: Structures,
    name: str,
    model: str,
    bundle_version: str,
    series_number: int,
) -> Segmentation:
    """One object for one phase; to be called within ``quiet_pydicom``, since values are copied as the study has them.

    Args:
        phase: from 0. labels: (x, y, S) of it.
        name: "ED", "ES", ... for the series' description.
        model: SHA-256 of the weights, or another name of the model. bundle_version: with it, who made this.

    Returns:
        A binary segmentation of a segment for each of ``SEGMENTS``, which names the true source images.
    """
    headers = sources.phase(phase)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=MANUFACTURER, family=codes.DCM.ArtificialIntelligence, version=bundle_version, source=model[:64]
    )
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=kind,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            display_color=hd.color.CIELabColor.from_rgb(*color),
        )
        for number, (label, kind, color) in enumerate(SEGMENTS.values(), 1)
    ]
    numbers = np.zeros_like(labels)
    for number, structure in enumerate(SEGMENTS, 1):
        numbers[labels == structures.items()[structure]] = number
    made = Segmentation(
        source_images=headers,
        pixel_array=np.ascontiguousarray(numbers.transpose(2, 1, 0)),  # slices, rows, columns
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=new_uid(),
        series_number=series_number,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=bundle_version,
        device_serial_number=model[:64],
        content_label="HEART",
        content_description=f"Ventricles in short axis, {name}",
        series_description=f"Segmentation {name}, research use only",
    )
    name_true_sources(made, sources.references(phase, headers), sources.series)
    return made


def name_true_sources(made: Dataset, references: Mapping[str, SourceInstance], series: Mapping[Path, str]) -> None:
    """Put the true images, in their series, in place of the headers that ``made`` was built on, wherever it names them."""
    for groups in made.PerFrameFunctionalGroupsSequence:
        for source in groups.DerivationImageSequence[0].SourceImageSequence:
            _rename(source, references, frame=True)
    named: dict[str, dict[str, Dataset]] = {}
    for instance in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
        of = series[references[instance.ReferencedSOPInstanceUID].path]
        _rename(instance, references, frame=False)
        named.setdefault(of, {})[instance.ReferencedSOPInstanceUID] = instance  # all phases may lie in one object
    made.ReferencedSeriesSequence = []
    for uid, instances in named.items():
        item = Dataset()
        item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, list(instances.values())
        made.ReferencedSeriesSequence.append(item)


def _rename(reference: Dataset, references: Mapping[str, SourceInstance], frame: bool) -> None:
    true = references.get(reference.ReferencedSOPInstanceUID)
    if true is None:  # frames of several segments share the item: it has its true name already
        return
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = true.sop_class_uid, true.sop_instance_uid
    if frame and true.frame is not None:
        reference.ReferencedFrameNumber = true.frame
