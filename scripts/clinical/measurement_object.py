"""Volumes, ejection fractions and mass as a DICOM structured report (TID 1500, Measurement Report; PS3.16)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

from highdicom.seg import Segmentation
from highdicom.sr import (
    AlgorithmIdentification,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from scripts.clinical.dicom_sources import Sources, instances_of, new_uid
from scripts.clinical.function import CardiacFunction
from scripts.clinical.quality import Flag
from scripts.clinical.segmentation_object import MANUFACTURER, SEGMENTS
from scripts.data.cine import SourceInstance

OWN_SCHEME = "99CYCLESEG"
"""Designator of the bundle's own codes, for what no standard names: quality flags."""
QUALITY = Code("quality", OWN_SCHEME, "Quality flag of the segmentation")
ML, PERCENT, GRAM = Code("mL", "UCUM", "mL"), Code("%", "UCUM", "%"), Code("g", "UCUM", "g")
L_PER_MIN = Code("L/min", "UCUM", "L/min")
LV_SITE, RV_SITE = SEGMENTS["lv"][1], SEGMENTS["rv"][1]
QUANTITIES: Mapping[str, tuple[Code, Code, Code]] = {
    "lv_edv_ml": (codes.LN.LeftVentricularEDVolume, ML, LV_SITE),  # 8821-1
    "lv_esv_ml": (codes.LN.LeftVentricularESVolume, ML, LV_SITE),  # 8823-7
    "lv_sv_ml": (codes.SCT.StrokeVolume, ML, LV_SITE),
    "lv_ef_percent": (codes.LN.LeftVentricularEjectionFractionByMR, PERCENT, LV_SITE),  # 8811-2
    "lv_mass_g": (codes.LN.LeftVentricleMass, GRAM, LV_SITE),  # 18087-7
    "cardiac_output_l_min": (codes.SCT.CardiacOutput, L_PER_MIN, LV_SITE),
    "rv_edv_ml": (codes.LN.RightVentricularEDVolume, ML, RV_SITE),  # 8822-9
    "rv_esv_ml": (codes.LN.RightVentricularESVolume, ML, RV_SITE),  # 8824-5
    "rv_sv_ml": (codes.SCT.StrokeVolume, ML, RV_SITE),
    "rv_ef_percent": (codes.LN.RightVentricularEjectionFractionByMR, PERCENT, RV_SITE),  # 8818-7
}
"""Name, unit and ventricle of each number, by its key in report.json."""


def measurement_object(
    sources: Sources,
    function: CardiacFunction,
    flags: Sequence[Flag],
    segmentations: Sequence[Segmentation],
    model: str,
    bundle_version: str,
    series_number: int,
) -> EnhancedSR:
    """The report, complete and unverified: a group of measurements for each ventricle, with the flags of the study.

    Args:
        segmentations: that the numbers were read from; named as their sources, with the images of ED and ES as evidence.
        model: SHA-256 of the weights, or another name. bundle_version: with it, who measured.
    """
    algorithm = AlgorithmIdentification(
        MANUFACTURER, bundle_version, parameters=[f"model {model}", "research use only, not for diagnosis"]
    )
    device = DeviceObserverIdentifyingAttributes(uid=new_uid(), name=MANUFACTURER, manufacturer_name=MANUFACTURER)
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    groups = [
        _group(name, site, function, flags, segmentations, algorithm)
        for name, site in (("left ventricle", LV_SITE), ("right ventricle", RV_SITE))
    ]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.MagneticResonanceImagingOfHeart,
        imaging_measurements=groups,
    )
    phases = dict.fromkeys((function.phases.ed, function.phases.es))
    images = [image for phase in phases for image in _images(sources, phase)]
    return EnhancedSR(
        evidence=[*segmentations, *images],
        content=content[0],
        series_instance_uid=new_uid(),
        series_number=series_number,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_verified=False,
        series_description="Cardiac function, research use only",
    )


def _group(
    name: str,
    site: Code,
    function: CardiacFunction,
    flags: Sequence[Flag],
    segmentations: Sequence[Segmentation],
    algorithm: AlgorithmIdentification,
) -> MeasurementsAndQualitativeEvaluations:
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=new_uid(), identifier=name),
        finding_type=site,
        finding_sites=[FindingSite(anatomic_location=site)],
        algorithm_id=algorithm,
        measurements=list(_measurements(site, function)),
        qualitative_evaluations=[QualitativeEvaluation(QUALITY, _code(flag)) for flag in flags] or None,
        source_images=[SourceImageForMeasurementGroup(s.SOPClassUID, s.SOPInstanceUID) for s in segmentations],
    )


def _code(flag: Flag) -> Code:
    """A flag as a code: its check (at most 16 characters), and severity and reason in words (at most 64)."""
    return Code(re.sub(r"[^a-z0-9]+", "-", flag.kind.lower())[:16], OWN_SCHEME, f"{flag.severity}: {flag.reason}"[:64])


def _measurements(site: Code, function: CardiacFunction) -> Iterator[Measurement]:
    for key, (name, unit, where) in QUANTITIES.items():
        value = getattr(function, key)
        if where == site and value is not None:
            yield Measurement(name=name, value=round(float(value), 2), unit=unit)


def _images(sources: Sources, phase: int) -> list[Dataset]:
    """The true images of ``phase``, each object once, as far as evidence needs them."""
    instances: Sequence[SourceInstance] = instances_of(sources.study)[phase]
    made = []
    for instance in {instance.sop_instance_uid: instance for instance in instances}.values():
        image = deepcopy(sources.first)  # elements that are set would change in all that share them
        image.SOPClassUID, image.SOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
        image.Modality, image.SeriesInstanceUID = "MR", sources.series[instance.path]
        made.append(image)
    return made
