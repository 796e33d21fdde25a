"""How well one case's labels agree with the truth, structure by structure, on the grid as acquired."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance
from skimage.segmentation import find_boundaries
from torch import Tensor

from scripts.labels import VOID
from scripts.metrics import confusion_matrix, dice, iou

Distances = tuple[float, float, float, float, float]
FOUND, ABSENT, MISSED, INVENTED = "found", "absent", "missed", "invented"
EMPTY_RULE = (
    "A structure in neither truth nor prediction scores Dice and IoU 1 and distances 0 mm (nothing to find, nothing "
    "found). A structure in only one of them scores Dice and IoU 0 and has no distance: it is left out of the means of "
    "HD95 and ASSD and counted beside them, as missed (in the truth only) or invented (in the prediction only)."
)


@dataclass(frozen=True)
class StructureScores:
    """Agreement on one structure in one case.

    Attributes:
        outcome: "found" (in truth and prediction), "absent" (in neither), "missed" (in the truth only) or "invented"
            (in the prediction only); see ``EMPTY_RULE``.
        dice, iou: in [0, 1].
        hd95_mm: larger of the two directed 95th percentiles of the distances between the surfaces; NaN if missed or
            invented.
        assd_mm: mean of the distances from each surface to the other, over the points of both; NaN likewise.
        asd_mm: mean of the distances from the predicted surface to the true one; NaN likewise.
        hd95_voxel, asd_voxel: what tables of semi-supervised methods print: distances between voxels, as if those were cubes
            of edge 1; HD95 is the 95th percentile of the distances of both directions together, ASD is as ``asd_mm``.
        truth_ml, predicted_ml: volumes.
    """

    outcome: str
    dice: float
    iou: float
    hd95_mm: float
    assd_mm: float
    asd_mm: float
    hd95_voxel: float
    asd_voxel: float
    truth_ml: float
    predicted_ml: float


def case_scores(
    prediction: Tensor, label: Tensor, spacing: Sequence[float], num_classes: int
) -> tuple[list[StructureScores], Tensor, Tensor]:
    """Score the classes 1 to num_classes - 1 of one volume.

    Args:
        prediction: (x, y, slices) integer in [0, num_classes).
        label: (x, y, slices) integer in [0, num_classes); 255 = void: counted nowhere, part of no structure.
        spacing: mm between voxel centres in x, y and across slices.
        num_classes: K, with background.

    Returns:
        The scores of the K - 1 structures, the confusion matrix (K, K) int64 (rows are the truth), and that of the voxels away
        from the truth's borders alone.
    """
    prediction, label = prediction.long().cpu(), label.long().cpu()
    confusion = confusion_matrix(prediction, label, num_classes)
    interior = confusion_matrix(prediction, label.where(~at_border(label), VOID), num_classes)
    overlaps = torch.stack([dice(confusion), iou(confusion)], 1).nan_to_num(1.0).tolist()
    prediction = prediction.where(label != VOID, 0)
    voxel_ml = float(torch.tensor(spacing, dtype=torch.float64).prod()) / 1000
    scores = []
    for index in range(1, num_classes):
        predicted, true = prediction == index, label == index
        outcome = _outcome(bool(predicted.any()), bool(true.any()))
        distances = _surface_distances(predicted, true, spacing, outcome)
        truth_ml, predicted_ml = (int(mask.sum()) * voxel_ml for mask in (true, predicted))
        class_dice, class_iou = overlaps[index]
        scores.append(StructureScores(outcome, class_dice, class_iou, *distances, truth_ml, predicted_ml))
    return scores, confusion, interior


def at_border(label: Tensor) -> Tensor:
    """Voxels of ``label`` (x, y, slices) that have another class, or void, among their eight neighbours in the slice; bool."""
    slices = label.numpy()
    borders = [find_boundaries(slices[..., place], connectivity=2) for place in range(slices.shape[2])]
    return torch.from_numpy(np.stack(borders, 2))


def _outcome(predicted: bool, true: bool) -> str:
    if predicted == true:
        return FOUND if true else ABSENT
    return MISSED if true else INVENTED


def _surface_distances(predicted: Tensor, true: Tensor, spacing: Sequence[float], outcome: str) -> Distances:
    """HD95, ASSD and ASD in mm, HD95 and ASD in voxels, between two masks (x, y, slices)."""
    if outcome != FOUND:
        nothing = 0.0 if outcome == ABSENT else float("nan")
        return nothing, nothing, nothing, nothing, nothing
    there, back = _distances(predicted, true, spacing)
    hd95 = max(float(there.quantile(0.95)), float(back.quantile(0.95)))
    in_voxels = _distances(predicted, true, (1.0, 1.0, 1.0))
    pooled = float(torch.cat(in_voxels).quantile(0.95))
    return hd95, float(torch.cat([there, back]).mean()), float(there.mean()), pooled, float(in_voxels[0].mean())


def _distances(predicted: Tensor, true: Tensor, spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    """From each point of the predicted surface to the true one, and back."""
    _, distances, _ = get_edge_surface_distance(predicted, true, spacing=list(spacing), symmetric=True)
    there, back = distances  # type: ignore[misc]  # two, since symmetric
    return there.double(), back.double()
