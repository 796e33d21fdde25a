"""Cases as acquired: what the network sees, and the untouched image and label to measure on."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Compose, EnsureChannelFirstd, Transform

from scripts.data.preprocessing import CheckVolumed, SliceGrid
from scripts.data.reader import LoadVolumed


class EvaluationPreprocessing(Transform):
    """Read and check ``image`` and ``label``; resample the image alone.

    Args:
        grid: of the network.
        num_classes, label_map: see ``scripts.data.label_values.mapped``.
    """

    def __init__(self, grid: SliceGrid, num_classes: int, label_map: Mapping[str, int] | None = None) -> None:
        keys = ("image", "label")
        self.read = Compose([LoadVolumed(keys), EnsureChannelFirstd(keys), CheckVolumed(keys, num_classes, label_map)])
        self.for_network = grid.preprocessing(("image",), num_classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Paths ``image`` and ``label`` to MetaTensors: ``image`` (1, H, W, slices) as in training; ``acquired`` and
        ``label`` (1, x, y, slices) as they are on disk. Other entries stay.

        Raises:
            InputError: as ``LoadVolumed`` and ``CheckVolumed``.
        """
        acquired = self.read({key: data[key] for key in ("image", "label")})
        network_input = self.for_network({"image": data["image"]})["image"]
        return dict(data) | {"image": network_input, "acquired": acquired["image"], "label": acquired["label"]}
