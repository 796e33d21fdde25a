"""How fast a training step is: against a plain one, against its convolutions alone, and with one thing changed at a time.

All take turns, so that a busy machine slows all of them: the step of configs/train.json; the plain step of
scripts.benchmarks.plain_step, the yardstick; the convolutions of the bundle's step alone, forward and backward at the same
shapes; and the bundle's step with one optimisation taken out or put in. A step is a batch of 5 labelled and 5 unlabelled
images of noise on the device. Times are medians over the rounds, ratios the medians of the rounds' ratios. The ceiling is the
faster of a large matrix product and a large 3 x 3 convolution, in the step's precision. Memory is measured in a process of its
own for each step.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.benchmarks.bundle_step import Job, Step, bundle_step, plain_step
from scripts.benchmarks.convolutions import ConvolutionsAlone, convolution_ceiling, matrix_ceiling, recorded, timed
from scripts.benchmarks.measurement import in_own_process, machine, markdown_table, peak_memory_mb
from scripts.files import write_json
from scripts.training.precision import DTYPES, Precision

EPOCHS, SLICES = 400, 1400
"""Of the paper's run on ACDC, about."""

VARIANTS: dict[str, dict[str, Any]] = {
    "passes": {"merged": False},
    "norm": {"own_norm": False},
    "linear": {"linear": False},
    "channels_last": {"channels_last": True},
    "adam": {"fused": False},
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "compile": {"compile": True},
    "compile+channels_last": {"compile": True, "channels_last": True},
}
"""What is changed in the bundle's step."""
WORDS = {
    "passes": "each pass by itself",
    "norm": "PyTorch's instance norm",
    "linear": "1x1 convolutions, not linear layers",
    "channels_last": "channels last",
    "adam": "Adam not fused",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "compile": "compiled",
    "compile+channels_last": "compiled, channels last",
}
USUAL = {"cpu": ("passes", "norm", "linear", "channels_last"), "cuda": tuple(VARIANTS)}
"""On a CPU compiling takes minutes, bfloat16 is emulated on most, and a fused Adam is not the default."""


@dataclass(frozen=True)
class Result:
    """Medians over ``rounds``; ``ratio``: speed over the plain step's; ``variants``: speed of the bundle's step over that of the
    step with one thing changed, by name; FLOPs of one step; ceilings in FLOP/s."""

    rounds: int
    bundle_s: float
    plain_s: float
    convolutions_s: float
    ratio: float
    share_of_convolutions: float
    variants_s: Mapping[str, float]
    variants: Mapping[str, float]
    bundle_flop: float
    plain_flop: float
    matrix_flop_s: float
    convolution_flop_s: float
    share_of_ceiling: float
    bundle_memory_mb: float | None
    plain_memory_mb: float | None


def measure(job: Job, variants: Sequence[str] = ()) -> Result:
    """Time all in turns for at least ``job.seconds`` and one round, then the memory of both."""
    device, precision = torch.device(job.device), Precision(job.precision, job.device)
    bundle, plain = bundle_step(replace(job, compile=False)), plain_step(job)
    with recorded(bundle.networks) as calls, FlopCounterMode(display=False) as bundle_flop:
        bundle()
    with FlopCounterMode(display=False) as plain_flop:
        plain()
    alone = ConvolutionsAlone(calls, device)

    def convolutions() -> None:
        with precision.autocast():
            alone()

    step = bundle_step(job) if job.compile else bundle  # a compiled function calls no hooks
    changed = {name: bundle_step(replace(job, **VARIANTS[name])) for name in variants}
    work: dict[str, Callable[[], object]] = {"bundle": step, "plain": plain, "convolutions": convolutions}
    seconds = _in_turns(work | changed, device, job.seconds)
    dtype = DTYPES[precision.name] or torch.float32
    ceilings = matrix_ceiling(device, dtype), convolution_ceiling(device, dtype)
    flop = bundle_flop.get_total_flops()
    return Result(
        rounds=len(seconds["bundle"]),
        bundle_s=median(seconds["bundle"]),
        plain_s=median(seconds["plain"]),
        convolutions_s=median(seconds["convolutions"]),
        ratio=_median_ratio(seconds["plain"], seconds["bundle"]),
        share_of_convolutions=_median_ratio(seconds["convolutions"], seconds["bundle"]),
        variants_s={name: median(seconds[name]) for name in variants},
        variants={name: _median_ratio(seconds[name], seconds["bundle"]) for name in variants},
        bundle_flop=flop,
        plain_flop=plain_flop.get_total_flops(),
        matrix_flop_s=ceilings[0],
        convolution_flop_s=ceilings[1],
        share_of_ceiling=flop / median(seconds["bundle"]) / max(ceilings),
        bundle_memory_mb=in_own_process(_memory_of_bundle, job),
        plain_memory_mb=in_own_process(_memory_of_plain, job),
    )


def _in_turns(
    work: Mapping[str, Callable[[], object]], device: torch.device, at_least: float
) -> dict[str, list[float]]:
    """Seconds of each in every round, after two that do not count: the first may compile, the second records graphs."""
    for run in (*work.values(), *work.values()):
        run()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    began = perf_counter()
    while not seconds["bundle"] or perf_counter() - began < at_least:
        for name, run in work.items():
            seconds[name].append(timed(run, device))
    return seconds


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
    r, images = result, 2 * job.batch_size
    memory = ["unknown" if mb is None else f"{mb:.0f}" for mb in (r.bundle_memory_mb, r.plain_memory_mb)]

    def row(name: str, seconds: float, ratio: float, flop: str = "", mb: str = "") -> tuple[str, ...]:
        return name, f"{seconds:.3g}", f"{images / seconds:.3g}", f"{ratio:.2f}", flop, mb

    rows = [
        row("bundle's step", r.bundle_s, 1.0, f"{r.bundle_flop / 1e12:.3g}", memory[0]),
        row("plain step", r.plain_s, 1 / r.ratio, f"{r.plain_flop / 1e12:.3g}", memory[1]),
        row("convolutions alone", r.convolutions_s, 1 / r.share_of_convolutions),
        *(row(f"bundle's, {WORDS[name]}", r.variants_s[name], 1 / r.variants[name]) for name in r.variants),
    ]
    size = f"{job.pixels} x {job.pixels}, {job.filters} filters, {Precision(job.precision, job.device).name}"
    hours = EPOCHS * SLICES / job.batch_size * r.bundle_s / 3600
    said = [
        f"{size}, {r.rounds} rounds: {r.ratio:.2f} times the plain step's speed,",
        f"{r.share_of_convolutions:.0%} of the convolutions' own throughput,",
        f"{r.share_of_ceiling:.0%} of the ceiling (matrix product {r.matrix_flop_s / 1e12:.3g} TFLOP/s,",
        f"3 x 3 convolution {r.convolution_flop_s / 1e12:.3g} TFLOP/s). At this speed {EPOCHS} epochs of {SLICES} slices take",
        f"{hours:.2g} h of steps.",
    ]
    return f"{' '.join(said)}\n\n" + markdown_table(("", "s", "images/s", "speed", "TFLOP", "peak MB"), rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=96)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0, help="of rounds, at least one")
    parser.add_argument("--precision", choices=["auto", *DTYPES], default="auto", help="of the bundle's step")
    parser.add_argument("--compile", action="store_true", help="the bundle's step")
    parser.add_argument("--channels_last", action="store_true", help="in the bundle's step")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, help="default: those that are usual on the device")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    options = parser.parse_args(arguments)
    job = Job(
        options.pixels,
        options.filters,
        options.device,
        options.precision,
        options.seconds,
        compile=options.compile,
        channels_last=options.channels_last,
    )
    variants = USUAL[torch.device(job.device).type] if options.variants is None else options.variants
    here = machine(job.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    result = measure(job, variants)
    if options.json:
        write_json(options.json, {"machine": here, "job": asdict(job), "result": asdict(result)})
    print(f"\n{__doc__}\n{table(job, result)}")


if __name__ == "__main__":
    main()
