"""What a clinical report says, as plain content: every file of a report is written from it, so none can say more.

Phases and slices count from 1 here and in every file, as people count; ``docs/report_schema.json`` describes the content.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.clinical.function import CardiacFunction, Row, rows
from scripts.clinical.quality import Flag, has_failed
from scripts.clinical.reference_ranges import EVIDENCE, SOURCES, ReferenceRange, reference_range
from scripts.clinical.structures import Structures
from scripts.clinical.wall_thickness import SEGMENTS, WallThickness
from scripts.data.cine import CineStudy

NOTICE = "Research use only, not for diagnosis"
SCHEMA = "cardiac-report-1"
ACDC_STRUCTURES = Structures(rv=1, myocardium=2, lv=3)
DIGITS = 4
"""Decimals of the numbers in files; the page shows three significant digits."""


class About(TypedDict):
    """What made the report.

    Keys:
        model_file: the file's name; a folder before it is left out.
        weights_sha256: of that file.
        model: facts of its card, by name: plain values, or one level of them.
        bundle_version: of ``metadata.json``.
        software: name to version.
        seconds: from reading the study to its numbers.
        device: "cpu", or the name of the GPU.
    """

    model_file: str
    weights_sha256: str
    model: Mapping[str, Any]
    bundle_version: str
    software: Mapping[str, str]
    seconds: float
    device: str


@dataclass(frozen=True, eq=False)
class Findings:
    """All that was found in a study.

    Attributes:
        study: what was read.
        labels: (P, x, y, S) uint8.
        about: what made the report.
        analysis, wall, confidence: numbers, None where there are none; ``confidence`` is the mean softmax of a
            structure in each phase, (P,), in [0, 1].
        flags: doubts.
        structures: the label values.
        include_phi: whether to say who the patient is.
    """

    study: CineStudy
    labels: NDArray[np.uint8]
    about: About
    analysis: CardiacFunction | None
    flags: Sequence[Flag] = ()
    wall: WallThickness | None = None
    confidence: Mapping[str, ArrayLike | None] | None = None
    structures: Structures = ACDC_STRUCTURES
    include_phi: bool = False

    def __post_init__(self) -> None:
        if self.labels.shape != self.study.images.shape or self.labels.dtype != np.uint8:
            raise ValueError(
                f"Expected labels uint8 {self.study.images.shape}, as the study's images, got {self.labels.dtype} "
                f"{self.labels.shape}."
            )
        if self.analysis is None and not has_failed(self.flags):
            raise ValueError("Expected numbers, since no flag is hard, got none.")

    def without_numbers_if_failed(self) -> "Findings":
        """The same, without any number measured if a hard check failed: the one place where this is decided."""
        return replace(self, analysis=None, wall=None, confidence=None) if has_failed(self.flags) else self

    def shown_phases(self) -> dict[str, int]:
        """Name to phase (from 0) of what can be shown: ED and ES; without numbers the study's own, else the first."""
        if self.analysis is not None:
            return {"ED": self.analysis.phases.ed, "ES": self.analysis.phases.es}
        return {name: self.study.given_phases[name] for name in ("ED", "ES") if name in self.study.given_phases} or {
            "phase 1": 0
        }


def report_content(findings: Findings) -> dict[str, Any]:
    """The content of ``report.json`` but ``files``; after a failed hard check without any number measured."""
    findings = findings.without_numbers_if_failed()
    analysis, about = findings.analysis, findings.about
    return {
        "schema": SCHEMA,
        "notice": NOTICE,
        "numbers_given": analysis is not None,
        "flags": [_flag(flag) for flag in findings.flags],
        "study": _study(findings.study),
        "patient": dict(findings.study.phi) if findings.include_phi else None,
        "labels": {"background": 0} | findings.structures.items(),
        "phases": None if analysis is None else _phases(analysis),
        "measurements": []
        if analysis is None
        else [_measurement(row, findings.study.body.sex) for row in rows(analysis)],
        "volumes": [] if analysis is None else _volumes(analysis, phase_times_ms(findings.study)),
        "wall_thickness": None if findings.wall is None or analysis is None else _wall(findings.wall, analysis),
        "confidence": _confidence(findings.confidence),
        "model": {
            "file": about["model_file"].replace("\\", "/").rpartition("/")[2],
            "weights_sha256": about["weights_sha256"],
            "card": plain(about["model"]),
        },
        "bundle_version": about["bundle_version"],
        "software": dict(about["software"]),
        "seconds": _number(about["seconds"]),
        "device": about["device"],
    }


def phase_times_ms(study: CineStudy) -> list[float] | None:
    """Mean over the slices of each phase's time after the R wave; None if any is unknown."""
    if study.times_ms is None or not np.isfinite(study.times_ms).all():
        return None
    return [round(float(t), DIGITS) for t in np.asarray(study.times_ms, dtype=float).mean(axis=1)]


def plain(content: Any) -> Any:
    """``content`` for JSON: no NaN, infinity or NumPy number."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), DIGITS)


def _flag(flag: Flag) -> dict[str, Any]:
    return {
        "severity": flag.severity,
        "kind": flag.kind,
        "reason": flag.reason,
        "phase": None if flag.phase is None else int(flag.phase) + 1,
        "slice": None if flag.slice is None else int(flag.slice) + 1,
    }


def _study(study: CineStudy) -> dict[str, Any]:
    phases, width, height, slices = study.images.shape
    dx, dy, dz = study.spacing
    return {
        "source": study.source,
        "phases": phases,
        "slices": slices,
        "matrix": [width, height],
        "pixel_spacing_mm": [_number(dx), _number(dy)],
        "slice_distance_mm": _number(dz),
        "heart_rate_per_min": _number(study.heart_rate),
        "height_m": _number(study.body.height_m),
        "weight_kg": _number(study.body.weight_kg),
        "sex": study.body.sex,
        "repairs": list(study.repairs),
    }


def _phases(analysis: CardiacFunction) -> dict[str, Any]:
    phases = analysis.phases
    return {
        "ed": phases.ed + 1,
        "es": phases.es + 1,
        "ed_chosen_by": phases.ed_chosen_by,
        "es_chosen_by": phases.es_chosen_by,
    }


def _measurement(row: Row, sex: str | None) -> dict[str, Any]:
    value = _number(row.value)
    known = None if value is None else reference_range(row.key, sex)
    return {
        "key": row.key,
        "name": row.name,
        "value": value,
        "unit": row.unit,
        "reference": None if known is None or value is None else _reference(known, value),
    }


def _reference(known: ReferenceRange, value: float) -> dict[str, Any]:
    source = SOURCES[known.source]
    return {
        "low": known.lower,
        "high": known.upper,
        "sex": known.sex,
        "position": known.position(value),
        "source": source.citation,
        "doi": source.doi,
        "population": source.population,
        "technique": source.technique,
        "evidence": EVIDENCE[known.evidence],
    }


def _volumes(analysis: CardiacFunction, times_ms: Sequence[float] | None) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase + 1,
            "time_ms": None if times_ms is None else times_ms[phase],
            "lv_ml": _number(analysis.lv_ml[phase]),
            "rv_ml": _number(analysis.rv_ml[phase]),
            "myocardium_ml": _number(analysis.myocardium_ml[phase]),
        }
        for phase in range(len(analysis.lv_ml))
    ]


def _wall(wall: WallThickness, analysis: CardiacFunction) -> dict[str, Any]:
    return {
        "phase": analysis.phases.ed + 1,
        "reason": wall.reason,
        "segments": [
            {"segment": number, "name": name, "thickness_mm": _number(mm)}
            for number, (name, mm) in enumerate(zip(SEGMENTS, wall.mm, strict=True), start=1)
        ],
        "slices": dict(
            zip(("basal", "mid", "apical"), ([index + 1 for index in third] for third in wall.slices), strict=True)
        ),
    }


def _confidence(confidence: Mapping[str, ArrayLike | None] | None) -> dict[str, list[float | None] | None] | None:
    if confidence is None:
        return None
    return {
        name: None if values is None else [_number(float(value)) for value in np.atleast_1d(np.asarray(values))]
        for name, values in confidence.items()
    }
