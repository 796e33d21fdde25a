"""What the files of a user's own data say: classes, channels, a size and a spacing that suit them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import nibabel as nib
import numpy as np
import SimpleITK

from scripts.data.image_files import image_header, read_mask
from scripts.data.image_split import Item
from scripts.data.reader import NIFTI_SUFFIXES, LoadVolumed
from scripts.data.split import SECTIONS
from scripts.errors import InputError, root_cause
from scripts.labels import VOID

LONGEST = 256
"""Pixels of the longer side of a size that is found, not given: the paper's networks at a bearable cost."""
MULTIPLE = 4
"""Sizes that are found are multiples of this, which the networks take without padding."""

Result = TypeVar("Result")


@dataclass
class Facts:
    """Settled facts of a data set by their key in its data list, and where each is from."""

    data_list: Mapping[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def settle(self, key: str, given: Any, find: Callable[[], Any]) -> Any:
        """What is given, else what the data list says, else what ``find`` finds."""
        if given is not None:
            self.values[key], self.origins[key] = given, "given"
        elif key in self.data_list:
            self.values[key], self.origins[key] = self.data_list[key], "from the data list"
        else:
            self.values[key], self.origins[key] = find(), "found"
        return self.values[key]


@dataclass(frozen=True)
class VolumeHeader:
    """``shape``: (x, y); ``phases``: volumes in the file; ``spacing``: of x and y, mm."""

    shape: tuple[int, int]
    phases: int
    spacing: tuple[float, float]


def settle_image_facts(facts: Facts, root: Path, channels: int | None, size: Sequence[int] | None) -> None:
    """Channels, size [H, W] and spacing (none) of 2-D images; headers are read only where something is to be found.

    Raises:
        InputError: an image that cannot be read; grey and colour images mixed; an option out of range.
    """
    if channels not in (None, 1, 3):
        raise InputError(f"--image_channels must be 1 (grey) or 3 (RGB), got {channels!r}.")
    files = [item["image"] for item in _items(facts.data_list)]
    known = facts.data_list
    missing = (channels is None and "channels" not in known) or (size is None and "size" not in known)
    headers = dict(zip(files, _each(lambda file: image_header(root / file), files), strict=True)) if missing else {}

    def found_channels() -> int:
        first = {header.channels: file for file, header in headers.items()}
        if len(first) > 1:
            raise InputError(
                f"the images are grey and colour mixed: {first[1]} is grey, {first[3]} is RGB. Give --image_channels 1 to "
                "use all as grey images, or convert the grey ones to RGB."
            )
        return next(iter(first))

    facts.settle("channels", channels, found_channels)
    facts.settle("size", _checked_size(size), lambda: median_size([(h.height, h.width) for h in headers.values()]))
    facts.values["spacing"] = None


def settle_volume_facts(
    facts: Facts, root: Path, channels: int | None, size: Sequence[int] | None, spacing: Sequence[float] | None
) -> None:
    """Channels, in-plane spacing and size of volumes.

    Sets ``phase`` of unlabelled items of several phases to "all": each of their phases is unlabelled data.

    Raises:
        InputError: a header that cannot be read; a labelled volume of several phases; an option out of range.
    """
    if channels not in (None, 1):
        raise InputError(f"--image_channels must be 1 for volumes, got {channels!r}: each phase is a grey image.")
    items = _items(facts.data_list)
    headers = _each(lambda item: volume_header(root / item["image"]), items)
    for item, header in zip(items, headers, strict=True):
        if header.phases > 1 and "label" in item:
            raise InputError(
                f"{root / item['image']} has {header.phases} phases or channels and a label: a labelled image is one 3-D "
                "volume. Save the labelled phase as a file of its own; a study of all phases can be unlabelled data."
            )
        if header.phases > 1:
            item.setdefault("phase", "all")
    wanted = _checked_size(size) or facts.data_list.get("size")
    facts.settle("channels", channels, lambda: 1)
    fixed = _checked_spacing(spacing) or facts.data_list.get("spacing")
    found_spacing, found_size = covering_grid(headers, fixed, wanted)
    facts.settle("spacing", _checked_spacing(spacing), lambda: found_spacing)
    if facts.values["spacing"] is None:
        facts.values["spacing"], facts.origins["spacing"] = found_spacing, "found"
    facts.settle("size", _checked_size(size), lambda: found_size)


def settle_classes(facts: Facts, root: Path, dimensions: int, num_classes: int | None, void: Sequence[int]) -> None:
    """Class names, and what values in label files mean where some of them are void.

    Raises:
        InputError: label values that do not look like classes; a number that contradicts the data list.
    """
    names = facts.data_list.get("labels")
    if num_classes is not None and names is not None and len(names) != num_classes:
        raise InputError(
            f"--num_classes {num_classes} contradicts the data list, whose 'labels' name {len(names)} classes: change one."
        )
    label_map = facts.data_list.get("label_map")

    def found_names() -> dict[str, str]:
        count = num_classes
        if count is None and label_map is not None:
            count = 1 + max((c for c in label_map.values() if c != VOID), default=0)
        if count is None:
            count = count_classes(_label_values(facts.data_list, root, dimensions), void)
        first = "background" if facts.values.get("background", True) else "class 0"
        return {"0": first} | {str(value): f"class {value}" for value in range(1, count)}

    labels = facts.settle("labels", None, found_names)
    if num_classes is not None:
        facts.origins["labels"] = "given"
    if void:
        known = label_map or {str(value): value for value in range(len(labels))}
        facts.values["label_map"] = {value: index for value, index in known.items() if int(value) not in void}


def count_classes(values: Iterable[int], void: Sequence[int] = ()) -> int:
    """Number of classes that label values stand for: the largest, but for void ones, plus 1.

    Raises:
        InputError: nothing but 0; or so many gaps that the values are hardly class indices.
    """
    present = sorted(set(values))
    classes = [value for value in present if value != VOID and value not in void]
    listed = ", ".join(map(str, present[:12])) + (" ..." if len(present) > 12 else "")
    if not classes or classes[-1] == 0:
        raise InputError(
            f"the labels hold only the values {listed}, so there is no class beside 0; {VOID} always means void (no class). "
            f"If {VOID} marks an object, save it as 1; if it is void indeed, say how many classes there are by --num_classes."
        )
    if 2 * len(classes) < classes[-1] + 1:
        raise InputError(
            f"the labels hold the values {listed}: expected class indices 0, 1, 2, ... without large gaps, and {VOID} for "
            "void. Save the labels with consecutive values, name the values that mean void by --void_values, or, if classes "
            "are merely absent, say how many there are by --num_classes."
        )
    return classes[-1] + 1


def median_size(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Median height and width, scaled down to ``LONGEST`` if longer, each rounded to ``MULTIPLE``, at least 8."""
    median = np.median(np.asarray(sizes), axis=0)
    scale = min(1.0, LONGEST / float(median.max()))
    return [max(8, MULTIPLE * round(float(side) * scale / MULTIPLE)) for side in median]


def covering_grid(
    headers: Sequence[VolumeHeader], spacing: Sequence[float] | None, size: Sequence[int] | None
) -> tuple[list[float], list[int]]:
    """In-plane spacing (mm) and size (pixels) that cover the largest image.

    Args:
        headers: of all volumes.
        spacing: if it is fixed; else the median one, or as much coarser as ``size`` (``LONGEST``) needs.
        size: if it is fixed.
    """
    extents = np.max([np.multiply(h.shape, h.spacing) for h in headers], axis=0)
    if spacing is None:
        median = np.median([h.spacing for h in headers], axis=0)
        coarser = max(1.0, float(np.max(extents / (np.asarray(size or (LONGEST, LONGEST)) * median))))
        spacing = [_rounded_up(float(value) * coarser) for value in median]
    if size is None:
        pixels = np.divide(extents, spacing)
        size = [max(8, MULTIPLE * math.ceil(float(n) / MULTIPLE - 1e-6)) for n in pixels]
    return list(spacing), list(size)


def volume_header(path: Path) -> VolumeHeader:
    """Read shape and spacing without the voxels.

    Raises:
        InputError: not readable, or no positive spacing.
    """
    try:
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            header = cast(nib.Nifti1Image, nib.load(path)).header
            shape, spacing, components = header.get_data_shape(), header.get_zooms(), 1
        else:
            reader = SimpleITK.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            shape, spacing, components = reader.GetSize(), reader.GetSpacing(), reader.GetNumberOfComponents()
        found = VolumeHeader(
            (int(shape[0]), int(shape[1])), components * math.prod(shape[3:]), (float(spacing[0]), float(spacing[1]))
        )
    except Exception as error:  # readers raise whatever their C libraries do
        raise InputError(
            f"{path} cannot be read: {root_cause(error)}. Expected a complete volume of the format that its name says: copy "
            "or convert it again."
        ) from error
    if not all(math.isfinite(value) and value > 0 for value in found.spacing):
        raise InputError(
            f"{path} has the in-plane spacing {found.spacing} mm, expected positive numbers: repair its header."
        )
    return found


def _rounded_up(value: float) -> float:
    """``value``, positive, to four digits, never less."""
    digits = 3 - math.floor(math.log10(value))
    return round(math.ceil(value * 10**digits - 1e-6) * 10**-digits, digits)


def _items(data_list: Mapping[str, Any]) -> list[Item]:
    return [item for section in SECTIONS for item in data_list[section]]


def _each(function: Callable[[Any], Result], things: Sequence[Any]) -> list[Result]:
    """``function`` of each of ``things``, in threads: decoders let go of Python's lock."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, things))


def _label_values(data_list: Mapping[str, Any], root: Path, dimensions: int) -> set[int]:
    files = [root / item["label"] for item in _items(data_list) if "label" in item]
    load = LoadVolumed(("label",))

    def values(file: Path) -> list[int]:
        mask = read_mask(file) if dimensions == 2 else load({"label": file})["label"].numpy()
        found = np.unique(mask)
        if not np.array_equal(found, np.rint(found)) or found.min() < 0 or found.max() > VOID:
            raise InputError(
                f"{file} has label values from {found.min():g} to {found.max():g}, some of them no whole number in 0 to "
                f"{VOID}: save it as class indices, resampled by nearest neighbour if at all."
            )
        return found.astype(int).tolist()

    return {value for found in _each(values, files) for value in found}


def _checked_size(size: Sequence[int] | None) -> list[int] | None:
    if size is None:
        return None
    whole = isinstance(size, Sequence) and all(isinstance(part, int) and part > 0 for part in size)
    if not whole or len(size) != 2:
        raise InputError(f"size must be two positive whole numbers of pixels, as [192, 256], got {size!r}.")
    return list(size)


def _checked_spacing(spacing: Sequence[float] | None) -> list[float] | None:
    if spacing is None:
        return None
    positive = isinstance(spacing, Sequence) and all(isinstance(part, int | float) and part > 0 for part in spacing)
    if not positive or len(spacing) != 2:
        raise InputError(f"spacing must be two positive numbers of mm, as [1.5, 1.5], got {spacing!r}.")
    return list(spacing)
