"""How the bundle's training step stands against a plain one, and against its convolutions alone.

Three things take turns, so that a busy machine slows all of them: the step of configs/train.json; the plain step of
scripts.benchmarks.plain_step, the yardstick; and the convolutions of the bundle's step alone, forward and backward at the same
shapes. A step is a batch of 5 labelled and 5 unlabelled images of noise in memory. Times are medians over the rounds, the ratio
is the median of the rounds' ratios. The ceiling is the faster of a large matrix product and a large 3 x 3 convolution, in the
step's precision. Memory is measured in a process of its own for each step.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from ignite.engine import Events
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from scripts.benchmarks.convolutions import ConvolutionsAlone, convolution_ceiling, matrix_ceiling, recorded, timed
from scripts.benchmarks.measurement import in_own_process, machine, markdown_table, peak_memory_mb
from scripts.benchmarks.plain_step import PlainStep
from scripts.files import write_json
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.training.precision import DTYPES, Precision
from scripts.training.trainer import AlternatingTrainer

NUM_CLASSES, BATCH_SIZE = 4, 5
Step = Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Job:
    pixels: int
    filters: int
    device: str
    precision: str
    seconds: float
    blocks: int = 9


@dataclass(frozen=True)
class Result:
    """Medians over ``rounds``; FLOPs of one step; ceilings in FLOP/s."""

    rounds: int
    bundle_s: float
    plain_s: float
    convolutions_s: float
    ratio: float
    share_of_convolutions: float
    bundle_flop: float
    plain_flop: float
    matrix_flop_s: float
    convolution_flop_s: float
    share_of_ceiling: float
    bundle_memory_mb: float | None
    plain_memory_mb: float | None


def measure(job: Job) -> Result:
    """Time all in turns for at least ``job.seconds`` and one round, then the memory of both."""
    device, precision = torch.device(job.device), Precision(job.precision, job.device)
    bundle, plain = bundle_step(job), plain_step(job)
    with recorded(bundle.networks) as calls, FlopCounterMode(display=False) as bundle_flop:
        bundle()
    with FlopCounterMode(display=False) as plain_flop:
        plain()
    alone = ConvolutionsAlone(calls, device)

    def convolutions() -> None:
        with precision.autocast():
            alone()

    work: dict[str, Callable[[], object]] = {"bundle": bundle, "plain": plain, "convolutions": convolutions}
    for run in work.values():  # not timed
        run()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    began = perf_counter()
    while not seconds["bundle"] or perf_counter() - began < job.seconds:
        for name, run in work.items():
            seconds[name].append(timed(run, device))
    dtype = DTYPES[precision.name] or torch.float32
    ceilings = matrix_ceiling(device, dtype), convolution_ceiling(device, dtype)
    step = median(seconds["bundle"])
    return Result(
        rounds=len(seconds["bundle"]),
        bundle_s=step,
        plain_s=median(seconds["plain"]),
        convolutions_s=median(seconds["convolutions"]),
        ratio=_median_ratio(seconds["plain"], seconds["bundle"]),
        share_of_convolutions=_median_ratio(seconds["convolutions"], seconds["bundle"]),
        bundle_flop=bundle_flop.get_total_flops(),
        plain_flop=plain_flop.get_total_flops(),
        matrix_flop_s=ceilings[0],
        convolution_flop_s=ceilings[1],
        share_of_ceiling=bundle_flop.get_total_flops() / step / max(ceilings),
        bundle_memory_mb=in_own_process(_memory_of_bundle, job),
        plain_memory_mb=in_own_process(_memory_of_plain, job),
    )


class BundleStep:
    """``AlternatingTrainer``'s step on one batch a call, without the loop around it."""

    def __init__(self, trainer: AlternatingTrainer, batch: Mapping[str, Tensor]) -> None:
        self.trainer = trainer
        self.batch = batch
        self.networks = torch.nn.ModuleList([trainer.objective.generators, trainer.objective.discriminators])
        trainer.fire_event(Events.EPOCH_STARTED)

    def __call__(self) -> dict[str, Tensor]:
        """One update of all four networks; every term, a detached scalar."""
        self.trainer.state.iteration += 1
        output = self.trainer._iteration(self.trainer, self.batch)
        return {name: value for name, value in output.items() if value.ndim == 0 and name != "loss"}


def bundle_step(job: Job) -> BundleStep:
    """The engine as configs/train.json builds it."""
    objective, generators, discriminators = _networks(job)
    trainer = AlternatingTrainer(
        objective,
        generators,
        discriminators,
        precision=job.precision,
        max_epochs=1,
        epoch_length=10**9,
        device=torch.device(job.device),
        train_data_loader=[],
    )
    return BundleStep(trainer, _batch(job.pixels))


def plain_step(job: Job) -> Step:
    """The yardstick, from the same weights and on the same batch."""
    step, batch = PlainStep(*_networks(job), job.device), _batch(job.pixels)
    return lambda: step(batch)


def _networks(job: Job) -> tuple[CycleGANObjective, torch.optim.Optimizer, torch.optim.Optimizer]:
    torch.manual_seed(0)
    objective = CycleGANObjective(
        segmentor=ResNetGenerator(1, NUM_CLASSES, job.filters, job.blocks).to(job.device),
        image_generator=ResNetGenerator(NUM_CLASSES, 1, job.filters, job.blocks, activation="tanh").to(job.device),
        mask_discriminator=PixelDiscriminator(NUM_CLASSES).to(job.device),
        image_discriminator=PixelDiscriminator(1).to(job.device),
        num_classes=NUM_CLASSES,
    )
    sides = objective.generators, objective.discriminators
    generators, discriminators = (torch.optim.Adam(side.parameters(), 2e-4, betas=(0.5, 0.999)) for side in sides)
    return objective, generators, discriminators


def _batch(pixels: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    images = {
        n: torch.rand(BATCH_SIZE, 1, pixels, pixels, generator=random) - 0.5 for n in ("image", "unlabeled_image")
    }
    return images | {"label": torch.randint(NUM_CLASSES, (BATCH_SIZE, pixels, pixels), generator=random)}


def _median_ratio(over: list[float], under: list[float]) -> float:
    return median(a / b for a, b in zip(over, under, strict=True))


def _memory_of_bundle(job: Job) -> float | None:
    return _memory(bundle_step(job), job.device)


def _memory_of_plain(job: Job) -> float | None:
    return _memory(plain_step(job), job.device)


def _memory(step: Step, device: str) -> float | None:
    for _ in range(2):
        step()
    return peak_memory_mb(device)


def table(job: Job, result: Result) -> str:
    r, images = result, 2 * BATCH_SIZE
    memory = ["unknown" if mb is None else f"{mb:.0f}" for mb in (r.bundle_memory_mb, r.plain_memory_mb)]
    rows = [
        ("bundle's step", f"{r.bundle_s:.3g}", f"{images / r.bundle_s:.3g}", f"{r.bundle_flop / 1e12:.3g}", memory[0]),
        ("plain step", f"{r.plain_s:.3g}", f"{images / r.plain_s:.3g}", f"{r.plain_flop / 1e12:.3g}", memory[1]),
        ("convolutions alone", f"{r.convolutions_s:.3g}", f"{images / r.convolutions_s:.3g}", "", ""),
    ]
    size = f"{job.pixels} x {job.pixels}, {job.filters} filters, {Precision(job.precision, job.device).name}"
    said = [
        f"{size}, {r.rounds} rounds: {r.ratio:.2f} times the plain step's speed,",
        f"{r.share_of_convolutions:.0%} of the convolutions' own throughput,",
        f"{r.share_of_ceiling:.0%} of the ceiling (matrix product {r.matrix_flop_s / 1e12:.3g} TFLOP/s,",
        f"3 x 3 convolution {r.convolution_flop_s / 1e12:.3g} TFLOP/s).",
    ]
    return f"{' '.join(said)}\n\n" + markdown_table(("", "s", "images/s", "TFLOP", "peak MB"), rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=96)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=30.0, help="of rounds, at least one")
    parser.add_argument("--precision", choices=["auto", *DTYPES], default="auto", help="of the bundle's step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    options = parser.parse_args(arguments)
    job = Job(options.pixels, options.filters, options.device, options.precision, options.seconds)
    here = machine(job.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    result = measure(job)
    if options.json:
        write_json(options.json, {"machine": here, "job": asdict(job), "result": asdict(result)})
    print(f"\n{__doc__}\n{table(job, result)}")


if __name__ == "__main__":
    main()
