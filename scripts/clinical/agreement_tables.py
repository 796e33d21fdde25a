"""How far measurements from predicted labels agree with those from reference labels: numbers and tables.

The quantities and the form are those of the ACDC challenge (Bernard et al., IEEE Transactions on Medical Imaging
37:2514, 2018): Dice and Hausdorff distance of each structure at ED and ES; correlation, bias and limits of agreement
(Bland and Altman, Lancet 327:307, 1986) of volumes, ejection fractions and mass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.metrics import compute_hausdorff_distance
from numpy.typing import ArrayLike, NDArray

from scripts.clinical.function import QUANTITIES, CardiacFunction, Phases, volumes_ml
from scripts.clinical.structures import Structures
from scripts.evaluation.scores import ABSENT, FOUND, INVENTED, MISSED
from scripts.labels import VOID

PHASES = ("ED", "ES")
COMPARED = ("lv_edv_ml", "lv_esv_ml", "lv_ef_percent", "lv_mass_g", "rv_edv_ml", "rv_esv_ml", "rv_ef_percent")
"""Keys of ``function.QUANTITIES``."""
LIMIT_SD = 1.96
"""Limits of agreement lie so many standard deviations from the bias."""
MIN_FOR_SD, MIN_FOR_CORRELATION = 2, 3
"""Fewer values have none: two points always lie on a line."""
COLUMNS = ("patient", "group", "quantity", "unit", "truth", "prediction", "difference")


@dataclass(frozen=True)
class Overlap:
    """One structure in one frame.

    Attributes:
        outcome: "found" (in truth and prediction), "absent" (in neither), "missed" (in the truth only) or "invented"
            (in the prediction only).
        dice: in [0, 1]; 1 if absent.
        hausdorff_mm: the largest distance from a surface voxel of one mask to the nearest of the other, in 3-D; 0 if
            absent, NaN if missed or invented.
        truth_ml, predicted_ml: volumes.
    """

    outcome: str
    dice: float
    hausdorff_mm: float
    truth_ml: float
    predicted_ml: float


@dataclass(frozen=True)
class Frame:
    """One frame of a patient: ``phase`` is "ED" or "ES", ``group`` "" if unknown, ``overlaps`` by structure."""

    patient: str
    phase: str
    group: str
    overlaps: Mapping[str, Overlap]


@dataclass(frozen=True)
class Agreement:
    """Of n pairs, in the quantity's unit; a difference is prediction minus truth. NaN: too few pairs for it.

    Attributes:
        truth_mean, predicted_mean: means of both.
        correlation: Pearson's, in [-1, 1]; from ``MIN_FOR_CORRELATION`` pairs on, NaN if one side does not vary.
        bias: mean difference. sd: standard deviation of the differences (n - 1), from ``MIN_FOR_SD`` pairs on.
        lower, upper: limits of agreement, bias -+ ``LIMIT_SD`` sd.
        mean_absolute_error: mean size of the differences.
    """

    n: int
    truth_mean: float
    predicted_mean: float
    correlation: float
    bias: float
    sd: float
    lower: float
    upper: float
    mean_absolute_error: float


def overlaps(
    prediction: NDArray[np.integer], truth: NDArray[np.integer], spacing: Sequence[float], structures: Structures
) -> dict[str, Overlap]:
    """Compare one frame, structure by structure ("rv", "myocardium", "lv").

    Args:
        prediction: (x, y, S) labels.
        truth: (x, y, S) labels; 255 = void: counted nowhere, part of no structure.
        spacing: mm between voxel centres in x, y and between slice planes.
        structures: the label values.

    Raises:
        InputError: labels that are not 3-D, or spacing that is not three positive lengths.
    """
    prediction = np.where(truth == VOID, 0, prediction)
    truth_ml, predicted_ml = (volumes_ml(labels[None], spacing, structures) for labels in (truth, prediction))
    result = {}
    for name, value in structures.items().items():
        predicted, true = prediction == value, truth == value
        size = int(predicted.sum()) + int(true.sum())
        dice = 2 * int((predicted & true).sum()) / size if size else 1.0
        outcome = _outcome(bool(predicted.any()), bool(true.any()))
        distance = _hausdorff_mm(predicted, true, spacing, outcome)
        result[name] = Overlap(outcome, dice, distance, truth_ml[name][0], predicted_ml[name][0])
    return result


def overlap_table(frames: Sequence[Frame]) -> dict[str, dict[str, dict[str, Any]]]:
    """Structure to phase to ``n`` frames, ``dice`` and ``hausdorff_mm`` (each ``mean``, ``sd`` with n - 1, and ``n``
    values), ``missed`` and ``invented``; the Hausdorff distance is over the frames that have one."""
    names = list(frames[0].overlaps) if frames else []
    return {
        name: {phase: _overlap_row([f.overlaps[name] for f in frames if f.phase == phase]) for phase in PHASES}
        for name in names
    }


def paired_values(frames: Sequence[Frame]) -> pd.DataFrame:
    """A row a patient and quantity, with ``COLUMNS``, for the patients that have both an ED and an ES frame.

    Values are in ``unit``; an ejection fraction without end-diastolic volume is NaN.
    """
    by_patient: dict[str, dict[str, Frame]] = {}
    for frame in frames:
        by_patient.setdefault(frame.patient, {})[frame.phase] = frame
    rows = []
    for patient, phases in by_patient.items():
        if not all(phase in phases for phase in PHASES):
            continue
        truth, predicted = (_function(phases, side) for side in ("truth_ml", "predicted_ml"))
        for key in COMPARED:
            true, value = (_number(getattr(function, key)) for function in (truth, predicted))
            rows.append((patient, phases["ED"].group, key, QUANTITIES[key][1], true, value, value - true))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def agreement(truth: ArrayLike, prediction: ArrayLike) -> Agreement:
    """Agreement of n predictions with the truth, both (n,) in one unit; pairs with a NaN are left out.

    Correlation is Pearson's, sd that of the differences, limits are bias -+ 1.96 sd (Bland and Altman 1986).
    """
    true, predicted = (np.asarray(values, dtype=np.float64) for values in (truth, prediction))
    known = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[known], predicted[known]
    difference = predicted - true
    bias, sd = _mean(difference), _sd(difference)
    return Agreement(
        n=len(true),
        truth_mean=_mean(true),
        predicted_mean=_mean(predicted),
        correlation=_correlation(true, predicted),
        bias=bias,
        sd=sd,
        lower=bias - LIMIT_SD * sd,
        upper=bias + LIMIT_SD * sd,
        mean_absolute_error=_mean(np.abs(difference)),
    )


def agreement_table(pairs: pd.DataFrame) -> dict[str, Agreement]:
    """Agreement by quantity (``COMPARED``) over the rows of ``paired_values``."""
    by_quantity = {key: pairs[pairs["quantity"] == key] for key in COMPARED}
    return {key: agreement(rows["truth"], rows["prediction"]) for key, rows in by_quantity.items()}


def groups_of(frames: Sequence[Frame]) -> list[str]:
    """Names of the pathology groups, sorted; empty if no patient has one."""
    return sorted({frame.group for frame in frames} - {""})


def summarize(frames: Sequence[Frame]) -> dict[str, Any]:
    """All tables as plain numbers.

    Returns:
        ``patients`` and ``frames``, their numbers; ``patients_with_both_phases``; ``overlap`` (see ``overlap_table``)
        and ``function`` (see ``Agreement``, by quantity) over all; ``groups``: the same four for each group; ``scores``:
        a row a frame and structure.
    """
    scores = [
        {"patient": frame.patient, "group": frame.group, "phase": frame.phase, "structure": name} | asdict(overlap)
        for frame in frames
        for name, overlap in frame.overlaps.items()
    ]
    parts = {name: _part([frame for frame in frames if frame.group == name]) for name in groups_of(frames)}
    return _part(frames) | {"groups": parts, "scores": scores}


def _part(frames: Sequence[Frame]) -> dict[str, Any]:
    pairs = paired_values(frames)
    return {
        "patients": len({frame.patient for frame in frames}),
        "frames": len(frames),
        "patients_with_both_phases": int(pairs["patient"].nunique()),
        "overlap": overlap_table(frames),
        "function": {key: asdict(row) for key, row in agreement_table(pairs).items()},
    }


def _function(phases: Mapping[str, Frame], side: str) -> CardiacFunction:
    """Of the volumes ``side`` ("truth_ml" or "predicted_ml") at ED (phase 0) and ES (phase 1), which the data names."""
    volumes = {
        name: tuple(float(getattr(phases[phase].overlaps[name], side)) for phase in PHASES)
        for name in ("lv", "rv", "myocardium")
    }
    return CardiacFunction(volumes["lv"], volumes["rv"], volumes["myocardium"], Phases(0, 1, "study", "study"))


def _overlap_row(found: Sequence[Overlap]) -> dict[str, Any]:
    distances = np.array([overlap.hausdorff_mm for overlap in found])
    counts = {outcome: sum(overlap.outcome == outcome for overlap in found) for outcome in (MISSED, INVENTED)}
    dice = _spread(np.array([overlap.dice for overlap in found]))
    return {"n": len(found), "dice": dice, "hausdorff_mm": _spread(distances[~np.isnan(distances)])} | counts


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    return {"n": len(values), "mean": _mean(values), "sd": _sd(values)}


def _outcome(predicted: bool, true: bool) -> str:
    if predicted == true:
        return FOUND if true else ABSENT
    return MISSED if true else INVENTED


def _hausdorff_mm(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_], spacing: Sequence[float], outcome: str
) -> float:
    """Maximum of both directed distances between the masks' (x, y, S) surfaces."""
    if outcome != FOUND:
        return 0.0 if outcome == ABSENT else math.nan
    masks = torch.from_numpy(predicted)[None, None], torch.from_numpy(true)[None, None]
    lengths = [float(mm) for mm in spacing]
    return float(compute_hausdorff_distance(*masks, include_background=True, spacing=lengths))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) >= MIN_FOR_SD else math.nan


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < MIN_FOR_CORRELATION or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
