"""How fast one step of training and of inference is: ``python -m scripts.benchmarks.step``.

Training is the paper's method as ``configs/train.json`` builds it, on random slices in memory: one step is one batch
of labelled and as many unlabelled images. Inference reads and preprocesses a volume of ten slices from a NIfTI file and
predicts its class probabilities: one step is one volume. Each is measured in a process of its own, for the peak memory.
"""

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Events
from torch import Tensor

from scripts.data.preprocessing import SliceGrid
from scripts.data.unpaired import UnpairedBatches
from scripts.files import write_json
from scripts.networks.padding import PadToMultiple
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.prediction import StackInferer
from scripts.training.precision import Precision
from scripts.training.trainer import AlternatingTrainer

NUM_CLASSES, BATCH_SIZE, SLICES = 4, 5, 10
FIELD_OF_VIEW = 288.0
"""Of the grid in mm, whatever its size in pixels."""


@dataclass(frozen=True)
class Job:
    """What is measured: ``task`` ("training" or "inference") at a size, after ``warm_up`` steps that do not count, until
    ``steps`` steps, or without them until ``seconds`` are over, at least one step."""

    task: str
    size: str
    pixels: int
    filters: int
    device: str
    precision: str = "auto"
    steps: int | None = None
    seconds: float = 30.0
    warm_up: int = 2


SIZES = {"small": (96, 16), "paper": (192, 64)}
"""Pixels and filters."""


@dataclass(frozen=True)
class Result:
    """``images`` in a step; times are means over ``timed`` steps; ``waiting`` is the share of the time in which nothing
    but the next data was done; ``peak_memory_mb`` is the device's on CUDA, else the process's."""

    task: str
    size: str
    pixels: int
    filters: int
    precision: str
    images: int
    warm_up: int
    timed: int
    seconds_per_step: float
    steps_per_second: float
    images_per_second: float
    waiting: float
    peak_memory_mb: float | None


class Stopwatch:
    """Times steps in two parts, waiting for data and work; on CUDA all that was asked for is done at each look."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.count, self.waited, self.total = -job.warm_up, 0.0, 0.0

    def wait(self) -> None:
        self._started = self._now()

    def work(self) -> None:
        self._got_data = self._now()

    def done(self) -> bool:
        """End a step; whether it was the last."""
        end = self._now()
        self.count += 1
        if self.count > 0:
            self.waited += self._got_data - self._started
            self.total += end - self._started
        enough = self.total >= self.job.seconds if self.job.steps is None else self.count >= self.job.steps
        return enough and self.count > 0

    def result(self, images: int) -> Result:
        step = self.total / self.count
        job = {name: getattr(self.job, name) for name in ("task", "size", "pixels", "filters", "warm_up")}
        return Result(
            **job,
            precision=Precision(self.job.precision, self.job.device).name,
            images=images,
            timed=self.count,
            seconds_per_step=step,
            steps_per_second=1 / step,
            images_per_second=images / step,
            waiting=self.waited / self.total,
            peak_memory_mb=_peak_memory_mb(self.job.device),
        )

    def _now(self) -> float:
        if torch.device(self.job.device).type == "cuda":
            torch.cuda.synchronize(self.job.device)
        return perf_counter()


class RandomSlices:
    """Slices in memory, as ``scripts.data.slices.SliceDataset`` keeps them, of noise."""

    def __init__(self, count: int, pixels: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.images = torch.rand(count, 1, pixels, pixels, generator=random) - 0.5
        self.labels: Tensor | None = torch.randint(NUM_CLASSES, (count, pixels, pixels), generator=random).byte()

    def __len__(self) -> int:
        return len(self.images)

    def names(self, indices: Iterable[int]) -> list[str]:
        return [f"slice {int(index)}" for index in indices]


def train(job: Job) -> Result:
    """Time steps of the engine that ``configs/train.json`` runs."""
    device = torch.device(job.device)
    objective = CycleGANObjective(
        segmentor=ResNetGenerator(1, NUM_CLASSES, job.filters),
        image_generator=ResNetGenerator(NUM_CLASSES, 1, job.filters, activation="tanh"),
        mask_discriminator=PixelDiscriminator(NUM_CLASSES),
        image_discriminator=PixelDiscriminator(1),
        num_classes=NUM_CLASSES,
    )
    generators, discriminators = objective.generators.to(device), objective.discriminators.to(device)
    stopwatch = Stopwatch(job)
    trainer = AlternatingTrainer(
        objective,
        torch.optim.Adam(generators.parameters(), 2e-4, betas=(0.5, 0.999)),
        torch.optim.Adam(discriminators.parameters(), 2e-4, betas=(0.5, 0.999)),
        precision=job.precision,
        max_epochs=10**6,
        device=device,
        train_data_loader=UnpairedBatches(
            RandomSlices(50, job.pixels, 0), RandomSlices(150, job.pixels, 1), BATCH_SIZE
        ),
    )
    trainer.add_event_handler(Events.GET_BATCH_STARTED, stopwatch.wait)
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, stopwatch.work)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: stopwatch.done() and trainer.terminate())
    trainer.run()
    return stopwatch.result(2 * BATCH_SIZE)


def infer(job: Job) -> Result:
    """Time the way of a volume from its file to class probabilities on the networks' grid."""
    network = PadToMultiple(ResNetGenerator(1, NUM_CLASSES, job.filters)).to(job.device).eval()
    inferer, stopwatch = StackInferer(precision=job.precision), Stopwatch(job)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        volumes = _volumes(Path(folder), job.pixels)
        finished = False
        while not finished:
            stopwatch.wait()
            volume = next(volumes)
            stopwatch.work()
            inferer(volume.to(job.device), network)
            finished = stopwatch.done()
    return stopwatch.result(SLICES)


def measure(job: Job) -> Result:
    """Measure ``job`` here. On a CPU a step at the paper's size takes minutes, so a small one warms up for it."""
    torch.manual_seed(0)
    task = {"training": train, "inference": infer}[job.task]
    if job.device == "cpu" and job.size == "paper":
        job = replace(job, warm_up=0)
        task(replace(job, pixels=32, filters=4, steps=1))
    return task(job)


def table(results: Iterable[Result]) -> str:
    """Markdown."""
    rows = [["size", "task", "images/step", "timed steps", "s/step", "steps/s", "images/s", "waiting", "peak MB"]]
    for r in results:
        memory = "unknown" if r.peak_memory_mb is None else f"{r.peak_memory_mb:.0f}"
        numbers = [f"{r.seconds_per_step:.3g}", f"{r.steps_per_second:.3g}", f"{r.images_per_second:.3g}"]
        size = f"{r.size}: {r.pixels} x {r.pixels}, {r.filters} filters, {r.precision}"
        rows.append([size, r.task, str(r.images), str(r.timed), *numbers, f"{r.waiting:.2%}", memory])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows)


def machine(device: str) -> dict[str, str]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "CPU"
    versions = {"torch": torch.__version__, "Python": platform.python_version()}
    return {"device": name, "CPU": cpu, "threads": str(torch.get_num_threads())} | versions


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", choices=[*SIZES, "all"], default="all", help="small: 96 x 96, 16 filters; paper: 192 x 192, 64"
    )
    parser.add_argument("--steps", type=int, help="timed steps each; default: as many as --seconds hold")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="time for each measurement, which has at least one step"
    )
    parser.add_argument("--precision", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
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
        for task in ("training", "inference"):
            print(f"Measuring {task}, {size} ...", flush=True)
            job = Job(task, size, pixels, filters, options.device, options.precision, options.steps, options.seconds)
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                results.append(process.submit(measure, job).result())
    if options.json:
        write_json(options.json, {"machine": here, "results": [asdict(result) for result in results]})
    print(
        "A training step is a batch, labelled and unlabelled images counted; an inference step is a volume of "
        f"{SLICES} slices, from its file. The first {' or '.join(sorted({str(r.warm_up) for r in results}))} steps are "
        "not timed; at the paper's size on a CPU, one small step before."
    )
    print(f"\n{table(results)}")


def _volumes(folder: Path, pixels: int) -> Iterator[Tensor]:
    """The same volume, read and preprocessed again and again: (1, 1, H, W, slices)."""
    path = folder / "volume.nii.gz"
    noise = np.random.default_rng(0).integers(0, 1000, (216, 256, SLICES)).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, np.diag([-1.4, -1.4, 10.0, 1.0])), path)
    spacing = FIELD_OF_VIEW / pixels
    preprocess = SliceGrid((spacing, spacing), (pixels, pixels)).preprocessing()
    while True:
        yield preprocess({"image": str(path)})["image"].as_tensor().unsqueeze(0)


def _peak_memory_mb(device: str) -> float | None:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    main()
