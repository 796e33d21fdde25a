"""Scores from confusion matrices: of a whole data set, of one case, in the paper's and the standard variant."""

from collections.abc import Sequence
from typing import Any, cast

import ignite.distributed as idist
import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric, MetricsLambda
from torch import Tensor

from scripts.labels import VOID


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true class (rows) and predicted class (columns).

    Args:
        prediction: int64 of any shape, in [0, num_classes).
        label: int64 of the same shape, in [0, num_classes); 255 = void, not counted.

    Returns:
        (num_classes, num_classes) int64.
    """
    known = label != VOID
    pairs = label[known] * num_classes + prediction[known]
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou(confusion: Tensor) -> Tensor:
    """Intersection over union per class, (K,) float64; NaN for a class in neither truth nor prediction."""
    matrix = confusion.double()
    union = matrix.sum(0) + matrix.sum(1) - matrix.diag()
    return matrix.diag() / union.where(union > 0, torch.nan)


def dice(confusion: Tensor) -> Tensor:
    """Dice coefficient per class, (K,) float64; NaN for a class in neither truth nor prediction."""
    matrix = confusion.double()
    total = matrix.sum(0) + matrix.sum(1)
    return 2 * matrix.diag() / total.where(total > 0, torch.nan)


def mean_iou(confusion: Tensor, foreground_only: bool = False) -> float:
    """Mean of ``iou`` over the classes that occur; without class 0 if ``foreground_only``."""
    return float(iou(confusion)[int(foreground_only) :].nanmean())


class CaseConfusion(Metric):
    """One confusion matrix a case, (cases, K, K) int64, from batches of slices.

    Reads ``pred`` (B, K, H, W) logits (channels beyond the classes are passed over) and ``label`` (B, H, W) of ``engine.state.output`` and ``case`` (B,) of
    ``engine.state.batch``.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes = num_classes
        super().__init__(device=device)

    def reset(self) -> None:
        self._matrices: dict[int, Tensor] = {}

    def iteration_completed(self, engine: Any) -> None:
        output = engine.state.output
        self.update((output["pred"], output["label"], engine.state.batch["case"]))

    def update(self, output: Sequence[Tensor]) -> None:
        logits, label, cases = output
        prediction = logits[:, : self.num_classes].argmax(1)
        for case in cases.unique().tolist():
            chosen = cases == case
            matrix = confusion_matrix(prediction[chosen], label[chosen].long(), self.num_classes).cpu()
            self._matrices[case] = self._matrices.get(case, 0) + matrix

    def compute(self) -> Tensor:
        matrices = self._of_all_processes()
        if not matrices:
            raise NotComputableError("no validation slice was seen: the data list's validation section is empty.")
        return torch.stack([matrices[case] for case in sorted(matrices)])

    def _of_all_processes(self) -> dict[int, Tensor]:
        """The matrices of all cases: of several processes each sees some of the slices, and counts add up exactly."""
        if idist.get_world_size() == 1:
            return self._matrices
        matrices: dict[int, Tensor] = {}
        for seen in cast(list, idist.all_gather(self._matrices)):
            for case, matrix in seen.items():
                matrices[case] = matrices.get(case, 0) + matrix
        return matrices


def iou_key(class_name: str) -> str:
    """What the IoU of a class is called among the metrics."""
    return f"iou_{class_name.replace(' ', '_')}"


def validation_metrics(
    class_names: Sequence[str], background: bool = True, device: torch.device | str = "cpu"
) -> dict[str, MetricsLambda]:
    """Metrics of a validation epoch on the networks' grid; the first is what the best model is chosen by.

    Args:
        class_names: of the classes 0, 1, ...
        background: whether class 0 is background, which no foreground metric counts.
        device: of the confusion matrices.

    Returns:
        ``foreground_miou`` and ``miou`` (data-set-level, without and with the background), ``mean_dice`` (mean over
        cases and foreground classes) and ``iou_<class>``.
    """
    confusion = CaseConfusion(len(class_names), device)

    def per_class(index: int) -> MetricsLambda:
        return MetricsLambda(lambda matrices: float(iou(matrices.sum(0))[index]), confusion)

    metrics = {
        "foreground_miou": MetricsLambda(
            lambda matrices: mean_iou(matrices.sum(0), foreground_only=background), confusion
        ),
        "miou": MetricsLambda(lambda matrices: mean_iou(matrices.sum(0)), confusion),
        "mean_dice": MetricsLambda(lambda matrices: _mean_case_dice(matrices, background), confusion),
    }
    return metrics | {iou_key(name): per_class(index) for index, name in enumerate(class_names)}


def _mean_case_dice(matrices: Tensor, background: bool) -> float:
    return float(torch.stack([dice(matrix)[int(background) :] for matrix in matrices]).nanmean())
