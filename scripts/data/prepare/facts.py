"""What is kept of one item once its pixels are gone: hashes, counts, sizes."""

import hashlib
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from scripts.data.prepare.content import Content, Expected, read_content
from scripts.data.prepare.trouble import Kind, Trouble
from scripts.data.split import SECTIONS
from scripts.labels import VOID

LABELED_SECTIONS = ("labeled", "validation", "test")


@dataclass(frozen=True)
class ItemFacts:
    """One item of a data list.

    Attributes:
        section, image, label, patient: where and which; paths as in the list.
        shape: (rows, columns), or (x, y, z) of a volume; empty if it could not be read.
        phases, channels, spacing: as in ``Content``.
        slices: 2-D slices that it gives; 1 for a picture.
        image_hashes: of the decoded pixels, one a phase. label_hash: of the classes.
        pixels: K + 1 numbers, pixels of each class, void last; None without a usable label.
        slices_with: K numbers, slices in which each class occurs. (Tuples: thousands of tiny arrays, each
            made between large ones, would pin the memory around them.)
        left_out: values of the label file that count as void.
        troubles: what is wrong with it.
    """

    section: str
    image: str
    label: str | None
    patient: str | None
    shape: tuple[int, ...] = ()
    phases: int = 1
    channels: int = 1
    spacing: tuple[float, ...] | None = None
    slices: int = 0
    image_hashes: tuple[str, ...] = ()
    label_hash: str | None = None
    pixels: tuple[int, ...] | None = None
    slices_with: tuple[int, ...] | None = None
    left_out: frozenset[int] = frozenset()
    troubles: list[Trouble] = field(default_factory=list)


def gather_facts(
    data_list: Mapping[str, Any], root: Path, expected: Expected, workers: int | None = None
) -> list[ItemFacts]:
    """Read every item of ``data_list`` once, in threads; no more pixels are held than there are threads.

    Args:
        data_list: sections of items.
        root: what its paths are relative to.
        expected: of the list.
        workers: threads; None is one a processor.

    Returns:
        One entry an item, in the list's order.
    """
    items = [(section, item) for section in SECTIONS for item in data_list.get(section, [])]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        facts = pool.map(lambda entry: item_facts(entry[0], entry[1], root, expected), items)
        silent = not sys.stdout.isatty()
        return list(track(facts, "Reading and checking", total=len(items), transient=True, disable=silent))


def item_facts(section: str, item: Mapping[str, Any], root: Path, expected: Expected) -> ItemFacts:
    """Read one item and keep what later questions need. The label of an unlabelled item is not opened."""
    wanted = {key: value for key, value in item.items() if key != "label" or section in LABELED_SECTIONS}
    content = read_content(wanted, root, expected)
    if section in LABELED_SECTIONS and "label" not in wanted:
        content.report(
            Kind.NO_LABEL,
            item["image"],
            f"{item['image']} stands in the section {section} without a label: add its label, or move it to unlabeled.",
        )
    about = {"section": section, "image": item["image"], "label": wanted.get("label"), "patient": item.get("patient")}
    return ItemFacts(
        **about,
        **_image_facts(content),
        **_label_facts(content, expected.num_classes),
        left_out=frozenset(content.left_out),
        troubles=content.troubles,
    )


def _image_facts(content: Content) -> dict[str, Any]:
    if content.image is None:
        return {}
    parts = content.image if content.phases > 1 else (content.image,)
    shape = content.image.shape[1:] if content.volume else content.image.shape[1:3]
    return {
        "shape": tuple(shape),
        "phases": content.phases,
        "channels": content.channels,
        "spacing": content.spacing,
        "slices": content.image.shape[3] * content.phases,
        "image_hashes": tuple(pixel_hash(part) for part in parts),
    }


def _label_facts(content: Content, num_classes: int) -> dict[str, Any]:
    if content.label is None:
        return {}
    slices = range(content.label.shape[-1])
    counts = np.stack([np.bincount(content.label[..., z].ravel(), minlength=VOID + 1) for z in slices])
    return {
        "label_hash": pixel_hash(content.label),
        "pixels": tuple(counts.sum(axis=0)[[*range(num_classes), VOID]].tolist()),
        "slices_with": tuple((counts[:, :num_classes] > 0).sum(axis=0).tolist()),
    }


def pixel_hash(array: NDArray) -> str:
    """Hash of the values and the shape of ``array``, whatever file they came from.

    A single leading axis (a channel) does not count, so a phase of a study equals the same image on its own.
    """
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
