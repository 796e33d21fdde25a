"""How fast one step of training and of inference is.

Training is the paper's method as configs/train.json builds it, on random slices in memory; a step is one batch, its
labelled and unlabelled images counted. Inference reads and preprocesses a NIfTI volume of ten slices and predicts its
class probabilities on the networks' grid; a step is one volume. Two steps before each measurement are not timed; at the
paper's size on a CPU, where a step takes a minute or more, one small step warms up instead.
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from scripts.benchmarks.measurement import (
    Stopwatch,
    in_own_process,
    machine,
    markdown_table,
    peak_memory_mb,
    time_steps,
)
from scripts.data.preprocessing import SliceGrid
from scripts.data.unpaired import UnpairedBatches
from scripts.files import write_json
from scripts.networks.padding import PadToMultiple
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.prediction import StackInferer
from scripts.training.precision import DTYPES, Precision
from scripts.training.trainer import AlternatingTrainer

SIZES = {"small": (96, 16), "paper": (192, 64)}
"""Pixels and filters."""
NUM_CLASSES, BATCH_SIZE, SLICES = 4, 5, 10
FIELD_OF_VIEW = 288.0
"""Of the grid in mm, whatever its size in pixels."""


@dataclass(frozen=True)
class Job:
    """What is measured: ``task`` "training" or "inference"; see ``Stopwatch`` for ``steps`` and ``seconds``."""

    task: str
    size: str
    pixels: int
    filters: int
    device: str
    precision: str
    steps: int | None
    seconds: float


@dataclass(frozen=True)
class Result:
    """Means over ``timed_steps`` steps of ``images`` images; ``waiting`` is the share of the time in which nothing but
    getting the next data was done."""

    task: str
    size: str
    pixels: int
    filters: int
    precision: str
    images: int
    timed_steps: int
    seconds_per_step: float
    steps_per_second: float
    images_per_second: float
    waiting: float
    peak_memory_mb: float | None


class RandomSlices:
    """Noise, kept as ``scripts.data.slices.SliceDataset`` keeps slices."""

    def __init__(self, count: int, pixels: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.images = torch.rand(count, 1, pixels, pixels, generator=random) - 0.5
        self.labels = torch.randint(NUM_CLASSES, (count, pixels, pixels), generator=random)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {"image": self.images[indices], "label": self.labels[indices]}

    def names(self, indices: Iterable[int]) -> list[str]:
        return [f"slice {int(index)}" for index in indices]


def measure(job: Job) -> Result:
    """Warm up, measure, and put the numbers together."""
    torch.manual_seed(0)
    run = {"training": train, "inference": infer}[job.task]
    slow = torch.device(job.device).type == "cpu" and job.size == "paper"
    if slow:
        run(32, 4, job.precision, Stopwatch(job.device, warm_up=0, steps=1))
    stopwatch = Stopwatch(job.device, 0 if slow else 2, job.steps, job.seconds)
    images = run(job.pixels, job.filters, job.precision, stopwatch)
    step = stopwatch.total / stopwatch.timed
    return Result(
        task=job.task,
        size=job.size,
        pixels=job.pixels,
        filters=job.filters,
        precision=Precision(job.precision, job.device).name,
        images=images,
        timed_steps=stopwatch.timed,
        seconds_per_step=step,
        steps_per_second=1 / step,
        images_per_second=images / step,
        waiting=stopwatch.waited / stopwatch.total,
        peak_memory_mb=peak_memory_mb(job.device),
    )


def train(pixels: int, filters: int, precision: str, stopwatch: Stopwatch) -> int:
    """Steps of the engine on ``pixels`` x ``pixels`` images until ``stopwatch`` says enough; images in a step."""
    objective = CycleGANObjective(
        segmentor=ResNetGenerator(1, NUM_CLASSES, filters),
        image_generator=ResNetGenerator(NUM_CLASSES, 1, filters, activation="tanh"),
        mask_discriminator=PixelDiscriminator(NUM_CLASSES),
        image_discriminator=PixelDiscriminator(1),
        num_classes=NUM_CLASSES,
    )
    generators = objective.generators.to(stopwatch.device)
    discriminators = objective.discriminators.to(stopwatch.device)
    trainer = AlternatingTrainer(
        objective,
        torch.optim.Adam(generators.parameters(), 2e-4, betas=(0.5, 0.999)),
        torch.optim.Adam(discriminators.parameters(), 2e-4, betas=(0.5, 0.999)),
        precision=precision,
        max_epochs=10**6,
        device=stopwatch.device,
        train_data_loader=UnpairedBatches(RandomSlices(50, pixels, 0), RandomSlices(150, pixels, 1), BATCH_SIZE),
    )
    time_steps(trainer, stopwatch)
    return 2 * BATCH_SIZE


def infer(pixels: int, filters: int, precision: str, stopwatch: Stopwatch) -> int:
    """Volumes from their file to class probabilities until ``stopwatch`` says enough; images in a step."""
    network = PadToMultiple(ResNetGenerator(1, NUM_CLASSES, filters)).to(stopwatch.device).eval()
    inferer = StackInferer(precision=precision)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        volumes, last = _volumes(Path(folder), pixels), False
        while not last:
            stopwatch.wait()
            volume = next(volumes)
            stopwatch.work()
            inferer(volume.to(stopwatch.device), network)
            last = stopwatch.done()
    return SLICES


def _volumes(folder: Path, pixels: int) -> Iterator[Tensor]:
    """The same volume of noise, read and preprocessed again and again: (1, 1, H, W, slices)."""
    path = folder / "volume.nii.gz"
    noise = np.random.default_rng(0).integers(0, 1000, (216, 256, SLICES)).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, np.diag([-1.4, -1.4, 10.0, 1.0])), path)
    spacing = FIELD_OF_VIEW / pixels
    preprocess = SliceGrid((spacing, spacing), (pixels, pixels)).preprocessing()
    while True:
        yield preprocess({"image": str(path)})["image"].as_tensor().unsqueeze(0)


def table(results: Iterable[Result]) -> str:
    header = ("size", "task", "images/step", "timed steps", "s/step", "steps/s", "images/s", "waiting", "peak MB")
    rows = []
    for r in results:
        size = f"{r.size}: {r.pixels} x {r.pixels}, {r.filters} filters, {r.precision}"
        speeds = [f"{value:.3g}" for value in (r.seconds_per_step, r.steps_per_second, r.images_per_second)]
        memory = "unknown" if r.peak_memory_mb is None else f"{r.peak_memory_mb:.0f}"
        rows.append((size, r.task, str(r.images), str(r.timed_steps), *speeds, f"{r.waiting:.2%}", memory))
    return markdown_table(header, rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", choices=[*SIZES, "all"], default="all", help="small: 96 x 96, 16 filters; paper: 192 x 192, 64"
    )
    parser.add_argument("--task", choices=["training", "inference", "all"], default="all")
    parser.add_argument("--steps", type=int, help="timed steps each; default: as many as --seconds hold")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each measurement, of at least one step")
    parser.add_argument("--precision", choices=["auto", *DTYPES], default="auto")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the results to this file, too")
    parser.add_argument("--pixels", type=int, help="other than the size's")
    parser.add_argument("--filters", type=int, help="other than the size's")
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")

    here = machine(options.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    results = []
    for size in SIZES if options.size == "all" else [options.size]:
        pixels, filters = options.pixels or SIZES[size][0], options.filters or SIZES[size][1]
        for task in ["training", "inference"] if options.task == "all" else [options.task]:
            print(f"Measuring {task}, {size} ...", flush=True)
            job = Job(task, size, pixels, filters, options.device, options.precision, options.steps, options.seconds)
            results.append(in_own_process(measure, job))
    if options.json:
        write_json(options.json, {"machine": here, "results": [asdict(result) for result in results]})
    print(f"\n{__doc__}\n{table(results)}")


if __name__ == "__main__":
    main()
