"""Slices of many volumes, or photographs, preprocessed once and kept as plain tensors."""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scripts.data.preprocessing import normalize_slices
from scripts.errors import InputError, input_error_in, root_cause
from scripts.files import save_tensors

logger = logging.getLogger(__name__)

CACHE_FORMAT = 1
"""Goes up with every change of what preprocessing makes of the same files, so that old caches are left alone."""
ITEMS_A_PROCESS = 8
"""With fewer, a process costs more than it saves."""
Arrays = tuple[np.ndarray, np.ndarray | None]


class SliceDataset(Dataset):
    """All slices of ``data``, on one device, as tensors without metadata; a photograph is one slice.

    What the transform gives in 8 bits is kept in 8 bits and normalised when it is drawn.

    Args:
        data: items with paths ``image`` and maybe ``label`` (relative to ``base_dir``) and any description.
        transform: item of paths to ``image`` (C, H, W[, slices]) and maybe ``label`` (1, H, W[, slices]); for an item
            whose ``phase`` is "all", the channels are phases, each a source of slices.
        base_dir: what relative paths start from.
        device: where the tensors live; the accelerator spares each step a copy.
        cache_dir: keep the preprocessed tensors here, under a key of the files (size and time) and of ``cache_key``, and
            map them into memory, so that only what is drawn is read. A broken cache is made anew.
        cache_key: what else the tensors depend on (the grid, the number of classes).
        name: for messages.
        processes: that preprocess items at a time, at most; with few items it is done in this one.

    Attributes:
        images: (N, C, H, W) float32 or uint8. labels: (N, H, W) uint8, or None if no item has one.
        cases: (N,) int64, the item that a slice is of. files: the image file of each item.

    Raises:
        InputError: a file that cannot be read or used, by name; some items with and some without a label; a cache that
            cannot be written.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[dict], dict],
        base_dir: str | Path = "",
        device: torch.device | str = "cpu",
        cache_dir: str | Path | None = None,
        cache_key: Any = None,
        name: str = "slices",
        processes: int = 1,
    ) -> None:
        self.data = [_absolute(item, Path(base_dir)) for item in data]
        self.transform = transform
        self.name = name
        self.processes = processes
        self.files = [str(item["image"]) for item in self.data]
        with_label = sum("label" in item for item in self.data)
        if with_label not in (0, len(self.data)):
            without = next(item["image"] for item in self.data if "label" not in item)
            raise InputError(
                f"{with_label} of {len(self.data)} {name} items have a label, {without} for one has none: expected all or "
                "none. Add its label, or move it to the data list's section 'unlabeled'."
            )
        tensors = self._load(Path(cache_dir), cache_key) if cache_dir else self._preprocess()
        self.images: Tensor = tensors["images"].to(device)
        self.labels: Tensor | None = tensors["labels"].to(device) if with_label else None
        self.cases: Tensor = tensors["cases"]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One slice: ``image`` (C, H, W) float32, ``case`` int64 scalar and, if labelled, ``label`` (H, W) int64."""
        return {name: tensor[0] for name, tensor in self.take([index]).items()}

    def take(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Some slices: ``image`` (n, C, H, W) float32, ``case`` (n,) int64 and, if labelled, ``label`` (n, H, W) int64."""
        chosen = torch.as_tensor(indices)
        images = self.images[chosen.to(self.images.device, non_blocking=True)]
        if images.dtype == torch.uint8:
            images = normalize_slices(images.float().flatten(0, 1)).view_as(images)
        taken = {"image": images, "case": self.cases[chosen]}
        return (
            taken
            if self.labels is None
            else taken | {"label": self.labels[chosen.to(self.labels.device, non_blocking=True)].long()}
        )

    def names(self, indices: Iterable[int]) -> list[str]:
        """The files that slices are of."""
        return [self.files[int(self.cases[index])] for index in indices]

    def _preprocess(self) -> dict[str, Tensor]:
        if not self.data:
            return {"images": torch.empty(0, 1, 1, 1), "labels": torch.empty(0), "cases": torch.empty(0).long()}
        images, labels, cases = [], [], []
        preprocessing = Preprocessing(self.data, self.transform)
        workers = min(self.processes, len(self.data) // ITEMS_A_PROCESS)
        # Arrays go through pipes; tensors would go through shared memory, of which containers have little.
        loader = DataLoader(
            preprocessing, batch_size=None, num_workers=workers if workers > 1 else 0, collate_fn=_as_it_is
        )
        for case, done in enumerate(self._tracked(loader)):
            if isinstance(done, InputError):
                raise done
            image, label = done
            images.append(torch.from_numpy(image))
            cases += [case] * len(image)
            if label is not None:
                labels.append(torch.from_numpy(label))
        sizes = {tuple(image.shape[1:]) for image in images}
        if len(sizes) > 1:
            raise InputError(
                f"{self.name} have slices of different sizes {sorted(sizes)}: the transform must make them one."
            )
        empty = torch.empty(0)
        return {
            "images": torch.cat(images),
            "labels": torch.cat(labels) if labels else empty,
            "cases": torch.tensor(cases),
        }

    def _tracked(self, done: Iterable) -> Iterable:
        silent = not sys.stdout.isatty()
        return track(done, f"Reading {self.name}", total=len(self.data), transient=True, disable=silent)

    def _load(self, cache_dir: Path, cache_key: Any) -> dict[str, Tensor]:
        path = cache_dir / f"{_fingerprint(self.data, cache_key)}.pt"
        if (cached := self._mapped(path)) is not None:
            return cached
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{path}.lock")
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise InputError(
                f"the cache {cache_dir} could not be written: {error}. Free some space, or give another folder with "
                "--cache_dir."
            ) from error
        try:  # of several processes one preprocesses, and the others wait for what it makes
            if (cached := self._mapped(path)) is not None:
                return cached
            tensors = self._preprocess()
            save_tensors(path, tensors)
        finally:
            lock.release()
        return tensors

    def _mapped(self, path: Path) -> dict[str, Tensor] | None:
        """The tensors of a cache, mapped into memory; None if it is not there or broken."""
        if not path.is_file():
            return None
        try:
            tensors = torch.load(path, weights_only=True, mmap=True)
            logger.info("%s: %d slices from %s", self.name, len(tensors["cases"]), path)
            return tensors
        except Exception as error:  # torch.load raises many kinds for a broken file
            logger.warning("%s is broken (%s): preprocessing %s again.", path, root_cause(error), self.name)
            return None


class Preprocessing(Dataset):
    """Items preprocessed one by one, as arrays that travel between processes."""

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Callable[[dict], dict]) -> None:
        self.data = data
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Arrays | InputError:
        """Slices (n, C, H, W) of item ``index`` and their labels (n, H, W) if it has some; or why there are none."""
        item = self.data[index]
        try:
            done = self.transform(dict(item))
        except Exception as error:
            known = input_error_in(error)
            if known is not None:
                return InputError(str(known))
            return InputError(
                f"{item['image']} (or its label) cannot be preprocessed: {root_cause(error)}. Check the file in a viewer, "
                "and convert or copy it again."
            )
        image = torch.as_tensor(done["image"]).as_subclass(Tensor)
        if item.get("phase") == "all":
            image = image.movedim(0, -1).flatten(-2).unsqueeze(0)
        label = torch.as_tensor(done["label"]).as_subclass(Tensor)[0] if "label" in done else None
        if image.ndim == 3:
            return _array(image.unsqueeze(0)), None if label is None else _array(label.unsqueeze(0))
        return _array(image.movedim(-1, 0)), None if label is None else _array(label.movedim(-1, 0))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()


def _as_it_is(item: Any) -> Any:
    return item


def _absolute(item: Mapping[str, Any], base_dir: Path) -> dict[str, Any]:
    if "image" not in item:
        raise InputError(f"the data list has an item without an image: {dict(item)}. Give every item a path 'image'.")
    paths = {key: str(base_dir / item[key]) for key in ("image", "label") if key in item}
    missing = [path for path in paths.values() if not Path(path).is_file()]
    if missing:
        raise InputError(f"the data list names {missing[0]}, which is not there: check dataset_dir, or the list.")
    return dict(item) | paths


def _fingerprint(data: Sequence[Mapping[str, Any]], cache_key: Any) -> str:
    """Hash of the files' names, sizes and times and of the key: a changed file or setting is another cache."""
    paths = [item[key] for item in data for key in ("image", "label") if key in item]
    stats = [(path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths]
    phases = [item.get("phase") for item in data]
    content = [CACHE_FORMAT, stats, phases, cache_key]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:24]
