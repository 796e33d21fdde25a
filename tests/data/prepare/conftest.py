"""A small set of pictures to spoil, one fault at a time."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from scripts.data.prepare.checks import Findings, check_data_list
from scripts.data.prepare.trouble import Kind, Trouble

SIZE = (12, 16)


class PictureSet:
    """A folder of RGB pictures with masks of three classes, and their data list."""

    def __init__(self, root: Path) -> None:
        self.root = root
        names = {str(value): name for value, name in enumerate(("background", "disc", "square"))}
        self.data_list: dict = {"name": "pictures", "labels": names, "channels": 3}
        for section in ("labeled", "unlabeled", "validation", "test"):
            self.data_list[section] = []

    def add(
        self,
        section: str,
        name: str,
        image: NDArray | None = None,
        label: NDArray | None = None,
        suffix: str = ".png",
    ) -> dict:
        """Write ``images/name`` and, but for unlabelled ones, ``labels/name.png``; the item."""
        image = noise(name) if image is None else image
        item = {"image": self.write(f"images/{name}{suffix}", image)}
        if section != "unlabeled":
            item["label"] = self.write(f"labels/{name}.png", self.stripes(0, 1, 2) if label is None else label)
        self.data_list[section].append(item)
        return item

    def write(self, path: str, array: NDArray) -> str:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(self.root / path)
        return path

    @staticmethod
    def stripes(*values: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
        """A mask (H, W) of columns that take the ``values`` in turn."""
        return np.tile(np.asarray(values, np.uint8)[np.arange(size[1]) % len(values)], (size[0], 1))

    def check(self) -> Findings:
        return check_data_list(self.data_list, self.root, workers=2)

    def found(self, kind: Kind) -> list[Trouble]:
        return [trouble for trouble in self.check().troubles if trouble.kind is kind]


def noise(name: str) -> NDArray[np.uint8]:
    """A picture (H, W, 3) that depends on ``name`` alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> PictureSet:
    """Two labelled pictures, one unlabelled, one for validation, without a fault."""
    made = PictureSet(tmp_path / "pictures")
    for section, name in (("labeled", "a"), ("labeled", "b"), ("unlabeled", "c"), ("validation", "d")):
        made.add(section, name)
    return made
