"""How long a run waits for its data: at the first start, at a later one, and in a step.

Generated photographs of the size of PASCAL VOC's (500 x 375, JPEG, with palette PNG masks) are read as
configs/data_voc.json reads them. The cold start decodes, resizes and caches them; the warm start maps the cache into
memory and draws a first batch. Waiting is the share of a training step in which nothing but getting its batch is done; the
step is the paper's method on 200 x 200 images, with networks of few filters, whose step is short.
"""

import argparse
import os
import tempfile
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from scripts.benchmarks.measurement import Stopwatch, machine, markdown_table, time_steps
from scripts.data.image_grid import ImageGrid
from scripts.data.slices import SliceDataset
from scripts.data.unpaired import UnpairedBatches
from scripts.data.voc import class_color
from scripts.files import write_json
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.training.trainer import AlternatingTrainer

HEIGHT, WIDTH, NUM_CLASSES, BATCH_SIZE = 375, 500, 21, 5
GRID = ImageGrid((200, 200), 3)
DIFFERENT = 40
"""Pictures that are drawn; the others are copies, which have to be decoded all the same."""


@dataclass(frozen=True)
class Result:
    images: int
    threads: int
    cold_start_s: float
    warm_start_s: float
    cache_mb: float
    get_batch_ms: float
    step_s: float
    waiting: float


def measure(images: int, threads: int, filters: int, device: str, seconds: float, folder: Path) -> Result:
    """Write ``images`` photographs into ``folder`` and measure both starts and the steps of ``seconds``."""
    items = write_photographs(folder / "data", images)
    labeled = items[: images // 10]
    unlabeled = [{"image": item["image"]} for item in items[images // 10 :]]

    def read(part: list[dict[str, str]], name: str) -> SliceDataset:
        transform = GRID.preprocessing(("image", "label"), NUM_CLASSES)
        return SliceDataset(part, transform, folder / "data", cache_dir=folder / "cache", name=name, threads=threads)

    def start() -> tuple[float, UnpairedBatches]:
        began = perf_counter()
        batches = UnpairedBatches(read(labeled, "labelled images"), read(unlabeled, "unlabelled images"), BATCH_SIZE)
        batches.batch(0)
        return perf_counter() - began, batches

    cold, _ = start()
    warm, batches = start()
    stopwatch = Stopwatch(device, seconds=seconds)
    _train(batches, filters, device, stopwatch)
    size = sum(path.stat().st_size for path in (folder / "cache").iterdir()) / 2**20
    return Result(
        images=images,
        threads=threads,
        cold_start_s=cold,
        warm_start_s=warm,
        cache_mb=size,
        get_batch_ms=1000 * stopwatch.waited / stopwatch.timed,
        step_s=stopwatch.total / stopwatch.timed,
        waiting=stopwatch.waited / stopwatch.total,
    )


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
    coarse = random.integers(0, NUM_CLASSES, (6, 8)).astype(np.uint8)
    mask = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    mask.putpalette([part for index in range(NUM_CLASSES) for part in class_color(index)])
    grain = random.normal(0, 12, (HEIGHT, WIDTH, 3))
    picture = Image.fromarray((np.asarray(mask.convert("RGB")) / 2 + 60 + grain).clip(0, 255).astype(np.uint8))
    files = BytesIO(), BytesIO()
    picture.save(files[0], format="JPEG", quality=90)
    mask.save(files[1], format="PNG")
    return files[0].getvalue(), files[1].getvalue()


def _train(batches: UnpairedBatches, filters: int, device: str, stopwatch: Stopwatch) -> None:
    objective = CycleGANObjective(
        segmentor=ResNetGenerator(3, NUM_CLASSES, filters),
        image_generator=ResNetGenerator(NUM_CLASSES, 3, filters, activation="tanh"),
        mask_discriminator=PixelDiscriminator(NUM_CLASSES),
        image_discriminator=PixelDiscriminator(3),
        num_classes=NUM_CLASSES,
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
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="that decode")
    parser.add_argument("--filters", type=int, default=8, help="of the generators")
    parser.add_argument("--seconds", type=float, default=30.0, help="of timed steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    options = parser.parse_args(arguments)
    if options.images < 2 * BATCH_SIZE:
        parser.error(f"--images must be at least {2 * BATCH_SIZE}, got {options.images}")
    here = machine(options.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    with tempfile.TemporaryDirectory() as folder:
        result = measure(
            options.images, options.threads, options.filters, options.device, options.seconds, Path(folder)
        )
    if options.json:
        write_json(options.json, {"machine": here, "result": asdict(result)})
    rows = [
        ("images", str(result.images)),
        ("cold start: decode, resize, cache", f"{result.cold_start_s:.1f} s, {result.threads} threads"),
        ("warm start: map the cache, first batch", f"{result.warm_start_s:.2f} s"),
        ("cache on disk", f"{result.cache_mb:.0f} MB"),
        ("getting a batch", f"{result.get_batch_ms:.2f} ms"),
        ("a step", f"{result.step_s:.3f} s"),
        ("share of a step spent waiting", f"{result.waiting:.2%}"),
    ]
    print(f"\n{__doc__}\n{markdown_table(('', 'measured'), rows)}")


if __name__ == "__main__":
    main()
