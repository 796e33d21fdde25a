"""Every phase of a study through the network, one at a time, so that memory does not grow with their number."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor, nn

from scripts.clinical.structures import Structures
from scripts.components import KeepMainComponents
from scripts.data.cine import CineStudy
from scripts.data.preprocessing import SliceGrid, ToNativeGrid
from scripts.prediction import StackInferer

FLIPS: tuple[tuple[int, ...], ...] = ((2,), (3,), (2, 3))
"""Axes of (1, P, H, W, D) that are mirrored: each in-plane one, and both."""


class PhaseImaged(Transform):
    """One phase of a study as the network saw volumes in training.

    Args:
        study: what was read.
        grid: of the network.
    """

    def __init__(self, study: CineStudy, grid: SliceGrid) -> None:
        self.study = study
        self.resample = grid.resampling(("image",))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """``phase``, from 0, to ``image`` (1, H, W, S) float32 with it."""
        voxels = torch.tensor(self.study.images[data["phase"]]).unsqueeze(0)
        image = MetaTensor(voxels, affine=torch.tensor(self.study.affine))
        return dict(data) | self.resample({"image": image})


class FlippedInferer(StackInferer):
    """The mean of the class probabilities of a volume and its mirror images.

    Args:
        flips: whether to; otherwise as ``StackInferer``.
        **options: of ``StackInferer``.
    """

    def __init__(self, flips: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.flips = FLIPS if flips else ()

    def __call__(
        self, inputs: Tensor, network: Callable[[Tensor], Tensor] | nn.Module, *args: Any, **kwargs: Any
    ) -> Tensor:
        """(1, P, H, W, D) to probabilities (1, P * K, H, W, D)."""
        total = super().__call__(inputs, network, *args, **kwargs)
        for axes in self.flips:
            total = total + super().__call__(inputs.flip(axes), network, *args, **kwargs).flip(axes)
        return total / (1 + len(self.flips))


class PhaseLabelsd(Transform):
    """Probabilities of one phase to labels on the acquired grid, and how sure the network is of each structure.

    Args:
        study: what was read.
        structures: the label values.
        largest_component: keep one connected component of each structure; see ``scripts.components.KeepMainComponents``.
    """

    def __init__(self, study: CineStudy, structures: Structures, largest_component: bool = True) -> None:
        self.affine = torch.tensor(study.affine)
        self.shape = study.images.shape[1:]
        self.structures = structures.items()
        self.to_native = ToNativeGrid()
        self.largest = KeepMainComponents(list(self.structures.values())) if largest_component else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """``pred`` (K, H, W, S) and ``image`` to ``pred`` (1, x, y, S) uint8 and ``confidence``: of each structure the mean
        probability of the chosen class over its voxels, in [0, 1], NaN where it has none."""
        probabilities = self.to_native(data["pred"].as_subclass(Tensor), data["image"], self.affine, self.shape)
        surest, labels = probabilities.max(0, keepdim=True)
        if self.largest is not None:
            labels = self.largest(labels)
        confidence = {name: float(surest[labels == value].mean()) for name, value in self.structures.items()}
        return dict(data) | {"pred": labels.to(torch.uint8), "confidence": confidence}
