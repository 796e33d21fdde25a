"""The pixels of one item of a data list, whatever its format, and what is wrong with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst
from numpy.typing import NDArray

from scripts.data.image_files import IMAGE_SUFFIXES, image_header, read_image, read_mask
from scripts.data.label_values import mapped
from scripts.data.prepare.trouble import Kind, Severity, Trouble
from scripts.data.preprocessing import CheckVolumed
from scripts.data.reader import LoadVolumed
from scripts.errors import InputError, input_error_in, root_cause
from scripts.labels import VOID

SAME_SPACING = 0.01
"""Relative difference of voxel sizes below which label and image are on one grid, as in ``CheckVolumed``."""


@dataclass(frozen=True)
class Expected:
    """What the items of a list have in common.

    Attributes:
        class_names: of the classes 0, 1, ...
        channels: of every image.
        label_map: as in a data list, {"value in label files": class}; all other values are void. None: values are classes.
        background: whether class 0 is background.
    """

    class_names: tuple[str, ...]
    channels: int
    label_map: Mapping[str, int] | None = None
    background: bool = True

    @classmethod
    def of(cls, data_list: Mapping[str, Any], root: Path) -> "Expected":
        """Read it from ``data_list``; channels that it does not name are those of its first readable picture, or 1."""
        labels = data_list["labels"]
        names = tuple(str(labels[value]) for value in sorted(labels, key=int))
        return cls(
            class_names=names,
            channels=data_list.get("channels") or _channels_of_first(data_list, root),
            label_map=data_list.get("label_map"),
            background=bool(data_list.get("background", True)),
        )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass
class Content:
    """One item, read.

    Attributes:
        image: (C or phases, rows, columns, slices); 2-D pictures uint8 with one slice, volumes float32 with x as rows.
            None if it cannot be read.
        label: (rows, columns, slices) uint8 class indices, 255 = void; None without a usable label.
        volume: whether rows and columns are x and y of a volume.
        phases, channels: what the first axis of ``image`` is made of.
        spacing: mm in x, y and between slices, of volumes.
        left_out: values of the label file, other than 255, that the label map makes void.
        troubles: what is wrong.
    """

    image: NDArray | None = None
    label: NDArray[np.uint8] | None = None
    volume: bool = False
    phases: int = 1
    channels: int = 1
    spacing: tuple[float, ...] | None = None
    left_out: set[int] = field(default_factory=set)
    troubles: list[Trouble] = field(default_factory=list)

    def report(self, kind: Kind, path: str, message: str, severity: Severity = Severity.ERROR) -> None:
        self.troubles.append(Trouble(severity, kind, (path,), message))


def is_picture(path: str) -> bool:
    """Whether ``path`` is a 2-D image by its suffix; all else are volumes."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def read_content(item: Mapping[str, Any], root: Path, expected: Expected) -> Content:
    """Read image and label (if the item names one) of ``item``; whatever fails becomes a trouble.

    Args:
        item: of a data list.
        root: what its paths are relative to.
        expected: of the list.
    """
    return _read_picture(item, root, expected) if is_picture(item["image"]) else _read_volume(item, root, expected)


def _read_picture(item: Mapping[str, Any], root: Path, expected: Expected) -> Content:
    content = Content(channels=expected.channels)
    image = _attempt(
        content, item["image"], lambda: read_image(root / item["image"], expected.channels, with_mask="label" in item)
    )
    mask = None
    if "label" in item:
        mask = _attempt(content, item["label"], lambda: read_mask(root / item["label"]))
    if image is None:
        return content
    content.image = image[..., None]
    if (image.min(axis=(1, 2)) == image.max(axis=(1, 2))).all():
        content.report(
            Kind.CONSTANT,
            item["image"],
            f"{item['image']} is constant: every pixel is the same, so it shows nothing; export it again, or take it out.",
        )
    if mask is None:
        return content
    if mask.shape != image.shape[1:]:
        content.report(
            Kind.LABEL_SIZE,
            item["label"],
            f"{item['label']} has {_times(mask.shape)} pixels, its image {item['image']} {_times(image.shape[1:])}: a label "
            "must be as large as its image; export it again at that size, without interpolation between classes.",
        )
        return content
    content.left_out = _left_out(mask, expected)
    try:
        content.label = mapped(mask, expected.num_classes, expected.label_map, item["label"])[..., None]
    except InputError as error:
        content.report(Kind.LABEL_VALUES, item["label"], str(error))
    return content


def _read_volume(item: Mapping[str, Any], root: Path, expected: Expected) -> Content:
    content = Content(volume=True)
    image = _attempt(content, item["image"], lambda: _load(root / item["image"]))
    label = _attempt(content, item["label"], lambda: _load(root / item["label"])) if "label" in item else None
    if image is None or _checked(content, Kind.IMAGE, item["image"], {"image": image}, expected) is None:
        return content
    content.spacing = tuple(image.affine[:3, :3].norm(dim=0).tolist())
    content.image = image.numpy()
    if item.get("phase") == "all":
        content.phases = len(image)
    elif len(image) == expected.channels:
        content.channels = expected.channels
    else:
        content.report(
            Kind.IMAGE,
            item["image"],
            f"{item['image']} has {len(image)} phases or channels, expected {expected.channels}: a 4-D study belongs into "
            'the section unlabeled, its item with "phase": "all".',
        )
        return content
    if label is not None:
        _take_label(content, item["label"], image, label, expected)
    return content


def _take_label(content: Content, path: str, image: MetaTensor, label: MetaTensor, expected: Expected) -> None:
    """Check ``label`` (1, x, y, slices) against ``image`` and keep it as classes."""
    same_size = label.shape[1:] == image.shape[1:] and np.allclose(
        label.affine[:3, :3].norm(dim=0), image.affine[:3, :3].norm(dim=0), rtol=SAME_SPACING
    )
    if same_size and not np.allclose(label.affine, image.affine, atol=0.5):
        content.report(
            Kind.LABEL_PLACE,
            path,
            f"{path} lies elsewhere than its image by its affine: it is taken voxel by voxel; look at it over its image.",
            Severity.WARNING,
        )
        label.affine = image.affine.clone()
    kind = Kind.LABEL_VALUES if same_size else Kind.LABEL_SIZE
    classes = _checked(content, kind, path, {"image": image, "label": label}, expected)
    if classes is not None:
        content.left_out = _left_out(label.numpy(), expected)
        content.label = classes["label"].numpy()[0]


def _checked(
    content: Content, kind: Kind, path: str, volumes: dict[str, MetaTensor], expected: Expected
) -> dict[str, MetaTensor] | None:
    """``volumes`` with the label as classes, as a training would see them; None and a trouble if it would refuse them."""
    try:
        return CheckVolumed(tuple(volumes), expected.num_classes, expected.label_map)(volumes)  # type: ignore[arg-type]
    except InputError as error:
        constant = kind is Kind.IMAGE and bool(volumes["image"].min() == volumes["image"].max())
        content.report(Kind.CONSTANT if constant else kind, path, str(error))
        return None


def _load(path: Path) -> MetaTensor:
    """A volume (C or phases, x, y, slices) float32."""
    return EnsureChannelFirst()(LoadVolumed(("image",))({"image": str(path)})["image"])  # type: ignore[return-value]


def _attempt(content: Content, path: str, read: Callable[[], Any]) -> Any:
    """What ``read`` returns, or None and a trouble: decoders raise whatever they like on broken files."""
    try:
        return read()
    except Exception as error:
        known = input_error_in(error)
        message = str(known) if known else f"{path} cannot be read: {root_cause(error)}. Copy or export it again."
        content.report(Kind.UNREADABLE, path, message)
        return None


def _left_out(values: NDArray, expected: Expected) -> set[int]:
    """Those of the ``values`` in a label file, other than 255, that the label map makes void."""
    if expected.label_map is None:
        return set()
    present = np.flatnonzero(np.bincount(values.astype(np.uint8).ravel())).tolist()
    return {value for value in present if value != VOID and expected.label_map.get(str(value), VOID) == VOID}


def _channels_of_first(data_list: Mapping[str, Any], root: Path) -> int:
    for section in ("labeled", "unlabeled", "validation", "test"):
        for item in data_list.get(section, []):
            if not is_picture(item["image"]):
                return 1
            try:
                return 1 if image_header(root / item["image"]).channels == 1 else 3
            except InputError:
                continue
    return 1


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
