"""How the paper's training step grows: with the size of the images, with the filters, and with the number of processes.

One process and several take the same steps on noise; each has a batch of 5 labelled and 5 unlabelled images of its own, and the
gradients are averaged between them as under torchrun. On a CPU all share the cores, whose threads are divided, so several
processes show what the exchange costs, not what further machines would give. On CUDA each process has a GPU. The exchange is
measured by itself too: the averages of the gradients of both sides, in seconds and bytes.
"""

import argparse
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from scripts.benchmarks.bundle_step import Job, bundle_step
from scripts.benchmarks.convolutions import timed
from scripts.benchmarks.measurement import machine, markdown_table, peak_memory_mb
from scripts.files import write_json
from scripts.training import processes
from scripts.training.precision import DTYPES

START = "spawn"
"""How processes begin: CUDA bears no fork."""


@dataclass(frozen=True)
class Result:
    """Of ``count`` processes: medians over ``steps`` of the slowest of them, ``exchange_s`` of both averages in ``step_s``."""

    pixels: int
    filters: int
    count: int
    steps: int
    step_s: float
    images_per_second: float
    exchange_s: float
    exchange_mb: float
    memory_mb: float | None


def measure(job: Job, count: int) -> Result:
    """Steps of ``job`` in ``count`` processes for ``job.seconds``."""
    context: Any = get_context(START)
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        children = [
            context.Process(target=_measure_rank, args=(job, rank, count, folder, results)) for rank in range(count)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
    if any(child.exitcode for child in children):
        raise RuntimeError(f"a process of {count} failed at {job.pixels} pixels and {job.filters} filters; see above.")
    of_ranks = [results.get() for _ in children]
    slowest = max(of_ranks, key=lambda result: result.step_s)
    known = [result.memory_mb for result in of_ranks if result.memory_mb is not None]
    return replace(slowest, memory_mb=max(known) if known else None)


def _measure_rank(job: Job, rank: int, count: int, folder: str, results: Any) -> None:
    device = torch.device(job.device, rank) if job.device == "cuda" else torch.device(job.device)
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    else:
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/group", rank=rank, world_size=count)
    try:
        results.put(_steps(replace(job, device=str(device)), device, count))
    finally:
        processes.stop()


def _steps(job: Job, device: torch.device, count: int) -> Result:
    step = bundle_step(job)
    step(), step()
    seconds: list[float] = []
    began = perf_counter()
    go_on = True
    while go_on:
        seconds.append(timed(step, device))
        go_on = bool(processes.largest(int(perf_counter() - began < job.seconds)))  # all take as many
    exchange, size = _exchange(step.networks, device)
    return Result(
        pixels=job.pixels,
        filters=job.filters,
        count=count,
        steps=len(seconds),
        step_s=median(seconds),
        images_per_second=2 * job.batch_size * count / median(seconds),
        exchange_s=exchange,
        exchange_mb=size,
        memory_mb=peak_memory_mb(job.device),
    )


def _exchange(networks: nn.Module, device: torch.device) -> tuple[float, float]:
    """Seconds of averaging gradients of all networks, and their MB."""
    parameters = list(networks.parameters())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    seconds = median([timed(lambda: processes.average_gradients(parameters), device) for _ in range(5)])
    return seconds, sum(parameter.nbytes for parameter in parameters) / 2**20


def table(results: Iterable[Result]) -> str:
    header = (
        "pixels",
        "filters",
        "processes",
        "s/step",
        "images/s",
        "images/s a process",
        "Mpixels/s",
        "exchange s",
        "exchange MB",
        "peak MB",
    )
    rows = []
    for r in results:
        pixels = r.images_per_second * r.pixels**2 / 1e6
        memory = "unknown" if r.memory_mb is None else f"{r.memory_mb:.0f}"
        numbers = (r.step_s, r.images_per_second, r.images_per_second / r.count, pixels, r.exchange_s, r.exchange_mb)
        rows.append((str(r.pixels), str(r.filters), str(r.count), *(f"{n:.3g}" for n in numbers), memory))
    return markdown_table(header, rows)


def jobs(options: argparse.Namespace) -> list[tuple[Job, int]]:
    """Every size at the first number of filters, every number of filters at the first size, and processes at the first of both."""
    job = Job(options.pixels[0], options.filters[0], options.device, options.precision, options.seconds)
    sizes = [(replace(job, pixels=pixels), 1) for pixels in options.pixels]
    widths = [(replace(job, filters=filters), 1) for filters in options.filters[1:]]
    return [*sizes, *widths, *((job, count) for count in options.processes if count > 1)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, nargs="+", default=[64, 96, 128, 192, 256])
    parser.add_argument("--filters", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=10.0, help="of steps each, at least one")
    parser.add_argument("--precision", choices=["auto", *DTYPES], default="auto")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the results to this file, too")
    options = parser.parse_args(arguments)
    here = machine(options.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    results = []
    for job, count in jobs(options):
        print(f"Measuring {job.pixels} pixels, {job.filters} filters, {count} process(es) ...", flush=True)
        results.append(measure(job, count))
    if options.json:
        write_json(options.json, {"machine": here, "results": [asdict(result) for result in results]})
    print(f"\n{__doc__}\n{table(results)}")


if __name__ == "__main__":
    main()
