"""How long a run waits for its data: at the first start, at a later one, and in a step.

The images are those of ACDC, in --dataset_dir, read as configs/train.json reads them; or generated photographs of the size of
PASCAL VOC's (500 x 375, JPEG, with palette PNG masks), read as configs/data_voc.json reads them. The cold start decodes,
resamples and caches them; the warm start maps the cache into memory and draws a first batch. Waiting is the share of a
training step in which nothing but getting its batch is done; the step is the paper's method, with networks of few filters,
whose step is short.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from scripts.benchmarks.measurement import Stopwatch, machine, markdown_table, time_steps
from scripts.data.acdc import data_list
from scripts.data.image_grid import ImageGrid
from scripts.data.preprocessing import SliceGrid
from scripts.data.slices import SliceDataset
from scripts.data.unpaired import UnpairedBatches
from scripts.data.voc import CLASS_NAMES, class_color
from scripts.files import write_json
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.training.trainer import AlternatingTrainer

HEIGHT, WIDTH, BATCH_SIZE = 375, 500, 5
VOC_CLASSES = len(CLASS_NAMES)
DIFFERENT = 40
"""Pictures that are drawn; the others are copies, which have to be decoded all the same."""


@dataclass(frozen=True)
class Source:
    """Items of a data list and how they are read."""

    labeled: Sequence[Mapping[str, Any]]
    unlabeled: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]
    base_dir: Path
    grid: ImageGrid | SliceGrid
    num_classes: int
    channels: int


@dataclass(frozen=True)
class Result:
    images: int
    processes: int
    cold_start_s: float
    warm_start_s: float
    cache_mb: float
    get_batch_ms: float
    step_s: float
    waiting: float


def measure(source: Source, processes: int, filters: int, device: str, seconds: float, cache_dir: Path) -> Result:
    """Measure both starts and the steps of ``seconds``."""

    def read(part: Sequence[Mapping[str, Any]], name: str) -> SliceDataset:
        transform = source.grid.preprocessing(("image", "label"), source.num_classes)
        return SliceDataset(
            part, transform, source.base_dir, device, cache_dir=cache_dir, name=name, processes=processes
        )

    def start() -> tuple[float, UnpairedBatches]:
        began = perf_counter()
        labeled, unlabeled = read(source.labeled, "labelled images"), read(source.unlabeled, "unlabelled images")
        read(source.validation, "validation images")
        batches = UnpairedBatches(labeled, unlabeled, BATCH_SIZE)
        batches.batch(0)
        return perf_counter() - began, batches

    cold, _ = start()
    warm, batches = start()
    stopwatch = Stopwatch(device, seconds=seconds)
    _train(batches, source, filters, device, stopwatch)
    size = sum(path.stat().st_size for path in cache_dir.iterdir()) / 2**20
    return Result(
        images=len(source.labeled) + len(source.unlabeled) + len(source.validation),
        processes=processes,
        cold_start_s=cold,
        warm_start_s=warm,
        cache_mb=size,
        get_batch_ms=1000 * stopwatch.waited / stopwatch.timed,
        step_s=stopwatch.total / stopwatch.timed,
        waiting=stopwatch.waited / stopwatch.total,
    )


def acdc(dataset_dir: Path) -> Source:
    """All patients below ``dataset_dir``, a tenth labelled."""
    data = data_list(dataset_dir, labeled_fraction=0.1)
    return Source(data["labeled"], data["unlabeled"], data["validation"], dataset_dir, SliceGrid(), 4, 1)


def photographs(folder: Path, count: int) -> Source:
    """``count`` photographs, written into ``folder``, a tenth labelled."""
    items = write_photographs(folder, count)
    unlabeled = [{"image": item["image"]} for item in items[count // 10 :]]
    return Source(items[: count // 10], unlabeled, [], folder, ImageGrid((200, 200), 3), VOC_CLASSES, 3)


def write_photographs(folder: Path, count: int) -> list[dict[str, str]]:
    """Write textured pictures with palette masks; data items, paths relative to ``folder``."""
    folder.mkdir(parents=True)
    drawn = [_draw(np.random.default_rng(number)) for number in range(min(DIFFERENT, count))]
    items = []
    for number in range(count):
        item = {"image": f"{number:05d}.jpg", "label": f"{number:05d}.png"}
        for name, content in zip(item.values(), drawn[number % len(drawn)], strict=True):
            (folder / name).write_bytes(content)
        items.append(item)
    return items


def _draw(random: np.random.Generator) -> tuple[bytes, bytes]:
    """A JPEG of coloured patches with grain, as large as photographs are, and its mask."""
    coarse = random.integers(0, VOC_CLASSES, (6, 8)).astype(np.uint8)
    mask = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    mask.putpalette([part for index in range(VOC_CLASSES) for part in class_color(index)])
    grain = random.normal(0, 12, (HEIGHT, WIDTH, 3))
    picture = Image.fromarray((np.asarray(mask.convert("RGB")) / 2 + 60 + grain).clip(0, 255).astype(np.uint8))
    files = BytesIO(), BytesIO()
    picture.save(files[0], format="JPEG", quality=90)
    mask.save(files[1], format="PNG")
    return files[0].getvalue(), files[1].getvalue()


def _train(batches: UnpairedBatches, source: Source, filters: int, device: str, stopwatch: Stopwatch) -> None:
    objective = CycleGANObjective(
        segmentor=ResNetGenerator(source.channels, source.num_classes, filters),
        image_generator=ResNetGenerator(source.num_classes, source.channels, filters, activation="tanh"),
        mask_discriminator=PixelDiscriminator(source.num_classes),
        image_discriminator=PixelDiscriminator(source.channels),
        num_classes=source.num_classes,
    )
    generators, discriminators = objective.generators.to(device), objective.discriminators.to(device)
    trainer = AlternatingTrainer(
        objective,
        torch.optim.Adam(generators.parameters(), 2e-4),
        torch.optim.Adam(discriminators.parameters(), 2e-4),
        max_epochs=10**6,
        device=device,
        train_data_loader=batches,
    )
    time_steps(trainer, stopwatch)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_dir", type=Path, help="of ACDC; default: generated photographs")
    parser.add_argument("--images", type=int, default=10_000, help="photographs")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that read")
    parser.add_argument("--filters", type=int, default=8, help="of the generators")
    parser.add_argument("--seconds", type=float, default=30.0, help="of timed steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    options = parser.parse_args(arguments)
    if options.images < 2 * BATCH_SIZE:
        parser.error(f"--images must be at least {2 * BATCH_SIZE}, got {options.images}")
    here = machine(options.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = acdc(options.dataset_dir) if options.dataset_dir else photographs(folder / "data", options.images)
        result = measure(source, options.processes, options.filters, options.device, options.seconds, folder / "cache")
    if options.json:
        write_json(options.json, {"machine": here, "result": asdict(result)})
    rows = [
        ("volumes or photographs", str(result.images)),
        ("cold start: decode, resample, cache", f"{result.cold_start_s:.1f} s, {result.processes} processes"),
        ("warm start: map the cache, first batch", f"{result.warm_start_s:.2f} s"),
        ("cache on disk", f"{result.cache_mb:.0f} MB"),
        ("getting a batch", f"{result.get_batch_ms:.2f} ms"),
        ("a step", f"{result.step_s:.3f} s"),
        ("share of a step spent waiting", f"{result.waiting:.2%}"),
    ]
    print(f"\n{__doc__}\n{markdown_table(('', 'measured'), rows)}")


if __name__ == "__main__":
    main()
