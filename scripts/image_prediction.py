"""Labels of a photograph at the size that its file has."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import MapTransform, Transform
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.data.image_grid import ImageGrid, resize_image
from scripts.data.preprocessing import normalize_slices
from scripts.errors import InputError
from scripts.training.precision import Precision

ONE_SHADE = "--likelihood is for volumes: an object in a photograph has no one shade."


class NetworkImaged(Transform):
    """Read a photograph and make of it what the network saw in training.

    Args:
        grid: of the network.
    """

    def __init__(self, grid: ImageGrid) -> None:
        self.grid = grid
        self.from_file = grid.preprocessing(("image",))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Path ``image`` to ``image`` (C, H, W) float32, ``file``, the path, and ``file_size`` [h, w]. Others stay.

        Raises:
            InputError: as ``ImagePreprocessing.read``.
        """
        return dict(data) | self.of(self.from_file.read(data)["image"]) | {"file": str(data["image"])}

    def of(self, image: Tensor) -> dict[str, Any]:
        """``image`` (C, H, W) float32 and ``file_size`` [h, w] of an image (C, h, w) uint8."""
        small = normalize_slices(resize_image(image, self.grid.size).float())
        return {"image": small, "file_size": list(image.shape[1:])}


class ImageInferer(Inferer):
    """A 2-D network on a batch of images.

    Args:
        num_classes: K; of a network that gives one channel more (void), the others are read.
        precision: see ``scripts.training.precision.Precision``.
        likelihood: 0; for volumes it may be more (``scripts.prediction.StackInferer``).

    Raises:
        InputError: a likelihood; when called, if the network gives other than K or K + 1 channels.
    """

    def __init__(self, num_classes: int, precision: str = "auto", likelihood: float = 0.0) -> None:
        super().__init__()
        if likelihood:
            raise InputError(ONE_SHADE)
        self.num_classes = num_classes
        self.precision = precision

    def __call__(
        self, inputs: Tensor, network: Callable[[Tensor], Tensor] | nn.Module, *args: Any, **kwargs: Any
    ) -> Tensor:
        """(B, C, H, W) float to class probabilities (B, K, H, W) float32."""
        with Precision(self.precision, inputs.device).autocast():
            logits = network(inputs.as_subclass(Tensor), *args, **kwargs)
        if logits.shape[1] not in (self.num_classes, self.num_classes + 1):
            raise InputError(
                f"the network gives {logits.shape[1]} classes where the model card names {self.num_classes}: give the model "
                "card that was written with the weights, or correct its class_names or network_def."
            )
        return logits[:, : self.num_classes].float().softmax(1)


class ImageLabelsd(MapTransform):
    """Turn probabilities at the networks' size into labels at the size of the file, and at the networks' own.

    Reads ``pred`` (K, H, W) and ``file_size`` [h, w]; writes ``pred`` (1, h, w) and ``small_pred`` (1, H, W), uint8.
    """

    def __init__(self, keys: str = "pred") -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        data = dict(data)
        probabilities = data["pred"].as_subclass(Tensor) if isinstance(data["pred"], MetaTensor) else data["pred"]
        size = [int(n) for n in torch.as_tensor(data["file_size"]).flatten()]
        native = F.interpolate(probabilities.unsqueeze(0), size, mode="bilinear", align_corners=False)[0]
        labels = {"pred": native, "small_pred": probabilities}
        return data | {key: p.argmax(0, keepdim=True).to(torch.uint8) for key, p in labels.items()}
