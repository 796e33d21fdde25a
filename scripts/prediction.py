"""Labels of a whole volume or cine on the grid on which it was acquired."""

import logging
from collections.abc import Callable, Hashable, Mapping
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import MapTransform
from torch import Tensor, nn

from scripts.components import KeepMainComponents
from scripts.data.preprocessing import ToNativeGrid
from scripts.errors import InputError
from scripts.likelihood import explained
from scripts.training.precision import Precision

logger = logging.getLogger(__name__)


class StackInferer(Inferer):
    """A 2-D network over the slices (and phases) of a volume, in batches.

    Args:
        batch_size: slices in one pass; it bounds the memory, whatever the number of slices and phases.
        precision: see ``scripts.training.precision.Precision``.
        likelihood: exponent, in [0, 1], with which the image itself counts beside the network: see ``scripts.likelihood.explained``.

    Raises:
        InputError: a batch size below 1, or an exponent outside [0, 1].
    """

    def __init__(self, batch_size: int = 16, precision: str = "auto", likelihood: float = 0.0) -> None:
        super().__init__()
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be a whole number of at least 1, got {batch_size!r}.")
        if isinstance(likelihood, bool) or not isinstance(likelihood, int | float) or not 0 <= likelihood <= 1:
            raise InputError(f"--likelihood must be a number in [0, 1], 0 for off, got {likelihood!r}.")
        self.batch_size = batch_size
        self.precision = precision
        self.likelihood = likelihood
        if likelihood:
            logger.info("the image counts beside the network: its likelihood to the power of %g", likelihood)

    def __call__(
        self, inputs: Tensor, network: Callable[[Tensor], Tensor] | nn.Module, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Class probabilities.

        Args:
            inputs: (1, P, H, W, D) float, one volume of P phases and D slices.
            network: (b, 1, H, W) to logits (b, K, H, W); it may want H and W padded (``PadToMultiple``).

        Returns:
            (1, P * K, H, W, D) float32, phase by phase: the softmax, times the image's density where ``likelihood`` is above 0.
        """
        _, phases, height, width, depth = inputs.shape
        slices = inputs.as_subclass(Tensor)[0].movedim(-1, 1).reshape(-1, 1, height, width)
        precision = Precision(self.precision, inputs.device)
        probabilities = []
        for batch in slices.split(self.batch_size):
            with precision.autocast():
                logits = network(batch, *args, **kwargs)
            probabilities.append(explained(logits, batch, self.likelihood))
        stacked = torch.cat(probabilities).reshape(phases, depth, -1, height, width)
        return stacked.permute(0, 2, 3, 4, 1).reshape(1, -1, height, width, depth)


class NativeLabels:
    """Turn probabilities on the networks' grid into labels on the acquired grid.

    Args:
        num_classes: K.
        largest_component: keep one connected component of each class, over the slices of a phase; see
            ``scripts.components.KeepMainComponents``.
    """

    def __init__(self, num_classes: int, largest_component: bool = True) -> None:
        self.num_classes = num_classes
        self.to_native = ToNativeGrid()
        self.largest = KeepMainComponents(range(1, num_classes)) if largest_component else None

    def __call__(self, probabilities: Tensor, image: MetaTensor) -> Tensor:
        """Probabilities (P * K, H, W, D) of ``image``, the preprocessed one, to labels (P, x, y, slices) uint8.

        Raises:
            InputError: if the network does not give K classes.
        """
        affine, shape = acquired_grid(image)
        phases = probabilities.as_subclass(Tensor).split(self.num_classes)
        return torch.cat([self._labels(phase, image, affine, shape) for phase in phases])

    def check_classes(self, given: float) -> None:
        if given != self.num_classes:
            raise InputError(
                f"the network gives {given:g} classes where the model card names {self.num_classes}: give the model card "
                "that was written with the weights, or correct its class_names or network_def."
            )

    def _labels(self, probabilities: Tensor, image: MetaTensor, affine: Tensor, shape: list[int]) -> Tensor:
        labels = self.to_native(probabilities, image, affine, shape).argmax(0, keepdim=True)
        if self.largest is not None:
            labels = self.largest(labels)
        return labels.to(torch.uint8)


class NativeStackInferer(StackInferer):
    """A 2-D network over the slices of a volume, and back to the acquired grid, as many phases at a time as fill a batch: with more
    phases memory grows by their images and labels alone.

    Args:
        labels: how probabilities become labels.
        **options: of ``StackInferer``.
    """

    def __init__(self, labels: NativeLabels, **options: Any) -> None:
        super().__init__(**options)
        self.labels = labels

    def __call__(
        self, inputs: Tensor, network: Callable[[Tensor], Tensor] | nn.Module, *args: Any, **kwargs: Any
    ) -> Tensor:
        """(1, P, H, W, D) float, a MetaTensor that knows the acquired grid, to labels (1, P, x, y, slices) uint8."""
        image = inputs[0]
        labels = []
        for phases in inputs.as_subclass(Tensor).split(max(1, self.batch_size // inputs.shape[-1]), dim=1):
            probabilities = super().__call__(phases, network, *args, **kwargs)[0]
            self.labels.check_classes(len(probabilities) / phases.shape[1])
            labels.append(self.labels(probabilities, cast(MetaTensor, image)))
        return torch.cat(labels).unsqueeze(0)


class AcquiredGridd(MapTransform):
    """Give ``pred`` (P, x, y, slices), labels on the acquired grid, the place and the file of ``image``."""

    def __init__(self, keys: str = "pred") -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        image = data["image"]
        meta = {key: value for key, value in image.meta.items() if key != "affine"}
        affine = acquired_grid(image)[0]
        placed = {
            key: MetaTensor(torch.as_tensor(data[key]).as_subclass(Tensor), affine=affine, meta=meta)
            for key in self.key_iterator(dict(data))
        }
        return dict(data) | placed


class NativeLabelsd(MapTransform):
    """Turn ``pred`` (P * K, H, W, D), probabilities on the networks' grid, into labels on the acquired grid: reads ``image``,
    the preprocessed MetaTensor (P, H, W, D); writes ``pred`` (P, x, y, slices) uint8 MetaTensor with the acquired affine.

    Args:
        num_classes, largest_component: see ``NativeLabels``.

    Raises:
        InputError: if the network does not give K classes.
    """

    def __init__(self, num_classes: int, largest_component: bool = True, keys: str = "pred") -> None:
        super().__init__(keys)
        self.labels = NativeLabels(num_classes, largest_component)
        self.placed = AcquiredGridd(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        labels = {}
        for key in self.key_iterator(dict(data)):
            self.labels.check_classes(len(data[key]) / len(data["image"]))
            labels[key] = self.labels(data[key], data["image"])
        return self.placed(dict(data) | labels)


def acquired_grid(image: MetaTensor) -> tuple[Tensor, list[int]]:
    """Affine (4, 4) and shape (x, y, slices) of the file that a preprocessed ``image`` was read from."""
    return torch.as_tensor(image.meta["original_affine"]), [int(n) for n in image.meta["spatial_shape"]][:3]
