"""Scores of all cases as a table, plain numbers and a page to read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from scripts.evaluation.scores import ABSENT, EMPTY_RULE, FOUND, INVENTED, MISSED, StructureScores
from scripts.metrics import iou, mean_iou

METRICS = ("dice", "iou", "hd95_mm", "assd_mm", "asd_mm", "hd95_voxel", "asd_voxel")
OUTCOMES = (FOUND, ABSENT, MISSED, INVENTED)


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case (a patient's frame).

    Attributes:
        patient, phase, image: which one; the image's path in the data list.
        structures: of the classes 1, 2, ...
        confusion: (K, K) int64, voxels by true (rows) and predicted class.
        interior: the same of the voxels away from the truth's borders.
    """

    patient: str
    phase: str
    image: str
    structures: Sequence[StructureScores]
    confusion: Tensor
    interior: Tensor

    @property
    def mean_dice(self) -> float:
        """Mean over the structures."""
        return sum(scores.dice for scores in self.structures) / len(self.structures)

    @property
    def title(self) -> str:
        return f"{self.patient} {self.phase}".strip()


def table(cases: Sequence[CaseScores], class_names: Sequence[str]) -> pd.DataFrame:
    """A row a case and structure.

    Args:
        cases: their scores.
        class_names: of the classes 0 (background), 1, 2, ...
    """
    rows = [
        {
            "patient": case.patient,
            "phase": case.phase,
            "image": case.image,
            "label": value,
            "structure": class_names[value],
        }
        | asdict(scores)
        for case in cases
        for value, scores in enumerate(case.structures, start=1)
    ]
    return pd.DataFrame(rows)


def summarize(cases: Sequence[CaseScores], class_names: Sequence[str]) -> dict[str, Any]:
    """Means over the cases, in all and by phase, and data-set-level IoU; plain numbers, NaN for what has none.

    Returns:
        ``mean_foreground_dice`` (over cases and structures, the headline), ``all`` and ``phases`` (see
        ``_group``), ``data_set_iou`` per class, ``foreground_miou`` (without class 0) and ``miou`` (with it) from the
        voxels of all cases together, ``errors`` (see ``_errors``), ``cases`` with every score.
    """
    frame = table(cases, class_names)
    confusion = torch.stack([case.confusion for case in cases]).sum(0)
    interior = torch.stack([case.interior for case in cases]).sum(0)
    everything = _group(frame)
    phases = list(dict.fromkeys(case.phase for case in cases if case.phase))
    return {
        "mean_foreground_dice": everything["mean"]["dice"],
        "foreground_miou": mean_iou(confusion, foreground_only=True),
        "miou": mean_iou(confusion),
        "data_set_iou": dict(zip(class_names, iou(confusion).tolist(), strict=True)),
        "errors": _errors(confusion, interior, class_names),
        "all": everything,
        "phases": {phase: _group(frame[frame["phase"] == phase]) for phase in phases},
        "empty_structures": EMPTY_RULE,
        "cases": frame.to_dict("records"),
    }


def plain(content: Any) -> Any:
    """``content`` for JSON, which knows no NaN: null stands for it."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _errors(confusion: Tensor, interior: Tensor, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Voxels that are wrong by ``truth`` and ``prediction``, most first: how many ``voxels``, and how many ``at_border``,
    see ``scores.at_border``."""
    pairs = [(truth, found) for truth, found in confusion.nonzero().tolist() if truth != found]
    counted = [(int(confusion[pair]), int(confusion[pair] - interior[pair]), pair) for pair in pairs]
    return [
        {"truth": class_names[truth], "prediction": class_names[found], "voxels": voxels, "at_border": at_border}
        for voxels, at_border, (truth, found) in sorted(counted, reverse=True)
    ]


def _group(frame: pd.DataFrame) -> dict[str, Any]:
    """Means of some cases.

    Returns:
        ``cases``; per structure the mean of each metric, ``dice_sd`` (standard deviation over cases) and the number of
        cases of each outcome; ``mean`` of the structures, its ``dice_sd`` that of the cases' mean Dice.
    """
    grouped = frame.groupby("structure", sort=False)
    means = grouped[list(METRICS)].mean()
    deviations = grouped["dice"].std(ddof=0)
    structures = {
        name: means.loc[name].to_dict()
        | {"dice_sd": float(deviations[name])}
        | {outcome: int((rows["outcome"] == outcome).sum()) for outcome in OUTCOMES}
        for name, rows in grouped
    }
    by_case = frame.groupby("image", sort=False)["dice"].mean()
    mean = means.mean().to_dict() | {"dice_sd": float(by_case.std(ddof=0))}
    counts = {outcome: int((frame["outcome"] == outcome).sum()) for outcome in OUTCOMES}
    return {"cases": len(by_case), "structures": structures, "mean": mean | counts}
