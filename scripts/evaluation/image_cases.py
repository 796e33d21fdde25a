"""Photographs as they are on disk: what the network sees, and the label to measure on at both sizes."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Transform

from scripts.data.image_grid import ImageGrid, resize_mask
from scripts.image_prediction import NetworkImaged


class ImageEvaluationPreprocessing(Transform):
    """Read, check, resize and normalise as training does, and keep the label at the size of the file.

    Args:
        grid: of the network.
        num_classes, label_map: see ``scripts.data.label_values.mapped``.
    """

    def __init__(self, grid: ImageGrid, num_classes: int, label_map: Mapping[str, int] | None = None) -> None:
        self.for_network = NetworkImaged(grid)
        self.from_files = grid.preprocessing(("image", "label"), num_classes, label_map)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Paths ``image`` and ``label`` to ``image`` (C, H, W) float32, ``label`` (1, h, w) uint8 with ``file_size``
        [h, w], and ``small_label`` (1, H, W) uint8. Other entries stay.

        Raises:
            InputError: as ``ImagePreprocessing.read``.
        """
        read = self.from_files.read(data)
        small_label = resize_mask(read["label"], self.for_network.grid.size)
        return dict(data) | self.for_network.of(read["image"]) | {"label": read["label"], "small_label": small_label}
