"""A study of the phantom with its true labels and everything found in it, to test reports on."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.clinical.function import measure
from scripts.clinical.quality import Flag
from scripts.clinical.report import ACDC_STRUCTURES, Findings
from scripts.clinical.wall_thickness import wall_thickness
from scripts.data.cine import Body, CineStudy
from scripts.data.patients import PhantomPatient

ABOUT: Any = {
    "model_file": "/somewhere/models/model.pt",
    "weights_sha256": "0123456789abcdef" * 4,
    "model": {
        "network": "BasicUNet",
        "class_names": ("background", "rv"),
        "scores": {"dice": 0.91, "miou": float("nan")},
    },
    "bundle_version": "9.8.7",
    "software": {"torch": "2.13.0"},
    "seconds": 12.3,
    "device": "cpu",
}
HARD = Flag("hard", "missing structure", "the right ventricle's cavity was not found at ED", 0)
WARNING = Flag("warning", "fragments", "the myocardium is in 3 pieces <b>&</b> torn", 0, 2)
NOTE = Flag("note", "phases", "few phases")


@cache
def _rendered() -> tuple[NDArray[np.float32], NDArray[np.uint8], tuple[float, float, float]]:
    patient = PhantomPatient.from_seed(0, 1, smallest=True)
    phases = [patient.render(frame) for frame in range(1, patient.frames + 1, 4)]
    images = np.stack([image for image, _ in phases]).astype(np.float32)
    return images, np.stack([label for _, label in phases]).astype(np.uint8), patient.spacing


def phantom_study(**changes: Any) -> CineStudy:
    """Seven phases of a small oblique study, in patient space as DICOM has it."""
    images, _, spacing = _rendered()
    turned = np.array([[0.8, 0.0, 0.6], [0.36, 0.8, -0.48], [-0.48, 0.6, 0.64]])
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag(spacing)
    affine[:3, 3] = (-101.23456789, 77.7, 1 / 3)
    times = 120.0 * np.arange(len(images))[:, None] + np.arange(images.shape[3])[None]
    known: dict[str, Any] = {
        "images": images,
        "affine": affine,
        "times_ms": times,
        "heart_rate": 71.0,
        "body": Body(1.8, 81.0, "M"),
        "source": "DICOM",
        "repairs": ("an invalid date was left out",),
    }
    return CineStudy(**(known | changes))


def phantom_labels() -> NDArray[np.uint8]:
    """The true labels of ``phantom_study``."""
    return _rendered()[1].copy()


def phantom_findings(study: CineStudy | None = None, **changes: Any) -> Findings:
    """What is found in ``study`` (by default ``phantom_study()``) with the true labels."""
    study, labels, structures = study or phantom_study(), phantom_labels(), ACDC_STRUCTURES
    analysis = measure(
        labels,
        study.spacing,
        structures,
        heart_rate_per_min=study.heart_rate,
        height_m=study.body.height_m,
        weight_kg=study.body.weight_kg,
    )
    known: dict[str, Any] = {
        "analysis": analysis,
        "flags": (WARNING, NOTE),
        "wall": wall_thickness(labels[analysis.phases.ed], study.spacing, structures, True),
        "confidence": {"rv": np.linspace(0.9, 0.95, len(labels)), "lv": None},
    }
    return Findings(study=study, labels=labels, about=ABOUT, **(known | changes))
