"""What ``configs/inference.json`` is made of: images in, label maps on the same grid out."""

import logging
import os
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from ignite.engine import Engine, Events
from matplotlib.colors import to_rgb
from monai.data import DataLoader, Dataset

from scripts.configuration import make_folder
from scripts.data.label_maps import PHOTOGRAPH_SUFFIXES, SUFFIXES, label_map_name, split_name, write_label_map
from scripts.errors import InputError, input_error_in, root_cause
from scripts.model_card import ModelCard
from scripts.palette import class_colors

logger = logging.getLogger(__name__)

SKIPPED_STEMS = ("_gt", "_seg")
"""Ends of the stems of label maps: such files are found in a folder and passed over."""


def find_images(
    dataset_dir: str | Path | None, output_dir: str | Path, photographs: bool = False
) -> list[dict[str, str]]:
    """The images to label, as MONAI data items.

    Args:
        dataset_dir: one file of any format that nibabel or SimpleITK reads, or a folder, which is searched with all
            folders below for the suffixes of ``scripts.data.label_maps``; hidden files and files whose stem ends with
            ``SKIPPED_STEMS`` are not images.
        output_dir: where the label maps will go.
        photographs: whether to look for photographs, not for volumes.

    Raises:
        InputError: nothing given, nothing there, unreadable, no image in it; two images would have the same label map;
            a label map would replace a file beside its image, which may have been drawn by hand.
    """
    if not dataset_dir:
        raise InputError("no dataset_dir was given: give an image, or a folder of images, with --dataset_dir.")
    root = Path(dataset_dir)
    if not root.exists():
        raise InputError(f"dataset_dir {root} does not exist: give an image or a folder of images.")
    suffixes = PHOTOGRAPH_SUFFIXES if photographs else SUFFIXES
    images = _images_below(root, suffixes) if root.is_dir() else [_only_image(root, suffixes, photographs)]
    owners: dict[Path, Path] = {}
    for image in images:
        written = label_map_path(image, root, output_dir)
        other = owners.setdefault(written, image)
        if other != image:
            raise InputError(
                f"{other} and {image} would both be labelled in {written}: rename one, or label them into two folders."
            )
        if written.exists() and written.parent.resolve() == image.parent.resolve():
            raise InputError(
                f"{written} stands beside its image already, and may have been drawn by hand: give another --output_dir, "
                "or move it away."
            )
    return [{"image": str(image)} for image in images]


def label_map_path(image: str | Path, dataset_dir: str | Path, output_dir: str | Path) -> Path:
    """Where the label map of ``image`` goes: below ``output_dir`` as the image lies below ``dataset_dir``."""
    folder = Path(image).parent
    below = folder.relative_to(dataset_dir) if folder.is_relative_to(dataset_dir) else Path()
    return Path(output_dir) / below / label_map_name(image)


class VolumeLoader(DataLoader):
    """Batches of one image; the next one is read while the last is worked on. One that cannot be used does not stop the
    others: it is reported when all are done.

    Args:
        dataset: of items with ``image``, a path, and a transform that reads and preprocesses it.

    Raises:
        InputError: at the end of an iteration in which an image failed; it names each, with the reason.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset, batch_size=1, num_workers=0, shuffle=False)
        self.images = dataset

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        reasons = []
        batches = super().__iter__()
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(next, batches)
            for number, item in enumerate(self.images.data, 1):
                try:
                    batch = coming.result()
                except Exception as error:  # whatever a reader or a transform raises on a broken file
                    logger.debug("%s", item["image"], exc_info=True)
                    known = input_error_in(error)
                    reasons.append(str(known) if known else f"{item['image']} cannot be used: {root_cause(error)}.")
                    batch = None
                if number < len(self):
                    coming = reader.submit(next, batches)
                if batch is not None:
                    yield batch
        if len(self) == 1 and reasons:
            raise InputError(reasons[0])
        if reasons:
            listed = "".join(f"\n- {reason}" for reason in reasons)
            raise InputError(f"{len(reasons)} of {len(self)} images have no label map; the others are done.{listed}")


class LabelMapWriter:
    """Handler of an evaluator: write ``pred`` of each output, uint8: a MetaTensor (P, x, y, z) that knows its file, or of
    a photograph (1, h, w), whose file the batch names as ``file``. One is written while the next is worked on; all are there
    when the evaluator ends, also by an error.

    Args:
        dataset_dir, output_dir: see ``label_map_path``.
        card: of the model; its colours are those of the label maps of photographs.
    """

    def __init__(self, dataset_dir: str | Path, output_dir: str | Path, card: ModelCard) -> None:
        self.dataset_dir = dataset_dir
        self.output_dir = output_dir
        colors = class_colors(len(card.class_names), card.colors, card.background)
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future | None = None
        self.palette = [round(255 * part) for color in colors for part in to_rgb(color)]

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._hand_over)
        engine.add_event_handler(Events.COMPLETED, self._finish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._finish_and_raise)

    def _start(self) -> None:
        make_folder(self.output_dir, "output_dir")
        self._writer = ThreadPoolExecutor(1)

    def _hand_over(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        place = f"{engine.state.iteration} of {engine.state.epoch_length}"
        for item, output in zip(batch, outputs, strict=True):
            labels = output["pred"]
            image = item["file"] if "file" in item else labels.meta["filename_or_obj"]
            self._wait()  # no more than one waits to be written
            assert self._writer is not None  # made when the evaluator began
            self._writing = self._writer.submit(self._write, labels.cpu().numpy(), image, place)

    def _write(self, labels: np.ndarray, image: str, place: str) -> None:
        path = label_map_path(image, self.dataset_dir, self.output_dir)
        write_label_map(path, labels, image, self.palette)
        logger.info("%s: %s -> %s", place, image, path)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _finish(self) -> None:
        if self._writer is not None:
            with self._writer:
                self._wait()

    def _finish_and_raise(self, engine: Engine, error: BaseException) -> None:
        try:
            self._finish()
        except Exception:  # the first error is the one to tell
            logger.exception("A label map could not be written, either.")
        raise error


def _images_below(root: Path, suffixes: Collection[str]) -> list[Path]:
    images, visited = [], set()
    try:
        for folder, subfolders, files in os.walk(root, onerror=_raise, followlinks=True):
            real = os.path.realpath(folder)
            subfolders[:] = [] if real in visited else [name for name in subfolders if not name.startswith(".")]
            images += [] if real in visited else [Path(folder, name) for name in files if _is_image(name, suffixes)]
            visited.add(real)
    except OSError as error:
        raise InputError(
            f"dataset_dir {root} cannot be read: {error}. Check the permissions of its folders."
        ) from error
    if not images:
        raise InputError(
            f"dataset_dir {root} holds no image: looked in it and all folders below for {', '.join(suffixes)}, other than "
            f"*{' and *'.join(SKIPPED_STEMS)}. Give an image or a folder of such; convert other formats first."
        )
    return sorted(images)


def _is_image(name: str, suffixes: Collection[str]) -> bool:
    stem, suffix = split_name(name)
    return suffix.lower() in suffixes and not stem.lower().endswith(SKIPPED_STEMS) and not name.startswith(".")


def _only_image(path: Path, suffixes: Collection[str], photographs: bool) -> Path:
    known = split_name(path)[1].lower() in suffixes
    if photographs and not known:
        raise InputError(
            f"dataset_dir {path} is not a photograph, and the model is of photographs: expected {', '.join(suffixes)}."
        )
    if not known and not SimpleITK.ImageFileReader.GetImageIOFromFileName(str(path)):
        raise InputError(f"dataset_dir {path} is not an image that SimpleITK reads: convert it to NIfTI first.")
    return path


def _raise(error: OSError) -> None:
    raise error
