"""Labels of a whole volume or cine on the grid on which it was acquired."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import KeepLargestConnectedComponent, MapTransform
from torch import Tensor, nn

from scripts.data.preprocessing import ToNativeGrid
from scripts.errors import InputError
from scripts.training.precision import Precision


class StackInferer(Inferer):
    """A 2-D network over the slices (and phases) of a volume, in batches.

    Args:
        batch_size: slices in one pass; it bounds the memory, whatever the number of slices and phases.
        precision: see ``scripts.training.precision.Precision``.

    Raises:
        InputError: a batch size below 1.
    """

    def __init__(self, batch_size: int = 16, precision: str = "auto") -> None:
        super().__init__()
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be a whole number of at least 1, got {batch_size!r}.")
        self.batch_size = batch_size
        self.precision = precision

    def __call__(
        self, inputs: Tensor, network: Callable[[Tensor], Tensor] | nn.Module, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Class probabilities.

        Args:
            inputs: (1, P, H, W, D) float, one volume of P phases and D slices.
            network: (b, 1, H, W) to logits (b, K, H, W); it may want H and W padded (``PadToMultiple``).

        Returns:
            (1, P * K, H, W, D) float32 softmax, phase by phase.
        """
        _, phases, height, width, depth = inputs.shape
        slices = inputs.as_subclass(Tensor)[0].movedim(-1, 1).reshape(-1, 1, height, width)
        precision = Precision(self.precision, inputs.device)
        probabilities = []
        for batch in slices.split(self.batch_size):
            with precision.autocast():
                logits = network(batch, *args, **kwargs)
            probabilities.append(logits.float().softmax(1))
        stacked = torch.cat(probabilities).reshape(phases, depth, -1, height, width)
        return stacked.permute(0, 2, 3, 4, 1).reshape(1, -1, height, width, depth)


class NativeLabelsd(MapTransform):
    """Turn probabilities on the networks' grid into labels on the acquired grid.

    Reads ``pred`` (P * K, H, W, D) and ``image``, the preprocessed MetaTensor (P, H, W, D); writes ``pred``
    (P, x, y, slices) uint8 MetaTensor with the acquired affine.

    Args:
        num_classes: K.
        largest_component: keep only the largest connected component of each class, over the slices of a phase.

    Raises:
        InputError: if the network does not give K classes.
    """

    def __init__(self, num_classes: int, largest_component: bool = True, keys: str = "pred") -> None:
        super().__init__(keys)
        self.num_classes = num_classes
        self.to_native = ToNativeGrid()
        foreground = list(range(1, num_classes))
        self.largest = KeepLargestConnectedComponent(foreground) if largest_component else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        image = data["image"]
        affine = torch.as_tensor(image.meta["original_affine"])
        shape = [int(n) for n in image.meta["spatial_shape"]][:3]
        meta = {key: value for key, value in image.meta.items() if key != "affine"}
        labels = {}
        for key in self.key_iterator(dict(data)):
            self._check_classes(len(data[key]) / len(image))
            volumes = data[key].as_subclass(Tensor).split(self.num_classes)
            phases = [self._labels(volume, image, affine, shape) for volume in volumes]
            labels[key] = MetaTensor(torch.cat(phases), affine=affine, meta=meta)
        return dict(data) | labels

    def _check_classes(self, given: float) -> None:
        if given != self.num_classes:
            raise InputError(
                f"the network gives {given:g} classes where the model card names {self.num_classes}: give the model card "
                "that was written with the weights, or correct its class_names or network_def."
            )

    def _labels(self, probabilities: Tensor, image: MetaTensor, affine: Tensor, shape: list[int]) -> Tensor:
        labels = self.to_native(probabilities, image, affine, shape).argmax(0, keepdim=True)
        if self.largest is not None:
            labels = torch.as_tensor(self.largest(labels))
        return labels.to(torch.uint8)
