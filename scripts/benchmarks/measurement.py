"""What benchmarks share: a stopwatch that tells waiting from work, peak memory, the machine, a table."""

import platform
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import torch
from ignite.engine import Engine, Events

from scripts.training.run_record import cpu_name

Job = TypeVar("Job")
Result = TypeVar("Result")


class Stopwatch:
    """Times steps in two parts, waiting for data and work; on CUDA, what was asked for is done at each look.

    Args:
        device: where the work is done.
        warm_up: steps at the start that do not count.
        steps: how many to time; None: as many as ``seconds`` hold, at least one.
        seconds: of timed steps.

    Attributes:
        timed: steps so far. total, waited: seconds of them, in all and for data.
    """

    def __init__(self, device: str, warm_up: int = 2, steps: int | None = None, seconds: float = 30.0) -> None:
        self.device = torch.device(device)
        self.warm_up = warm_up
        self.steps = steps
        self.seconds = seconds
        self.timed, self.total, self.waited = 0, 0.0, 0.0

    def wait(self) -> None:
        """A step begins, with waiting for its data."""
        self._began = self._now()

    def work(self) -> None:
        """Its data are there."""
        self._got_data = self._now()

    def done(self) -> bool:
        """It is done; whether it was the last."""
        ended = self._now()
        if self.warm_up > 0:
            self.warm_up -= 1
            return False
        self.timed += 1
        self.total += ended - self._began
        self.waited += self._got_data - self._began
        return self.total >= self.seconds if self.steps is None else self.timed >= self.steps

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()


def time_steps(trainer: Engine, stopwatch: Stopwatch) -> None:
    """Run ``trainer`` until ``stopwatch`` has timed enough of its steps."""

    def stop_if_done() -> None:
        if stopwatch.done():
            trainer.terminate()

    trainer.add_event_handler(Events.GET_BATCH_STARTED, stopwatch.wait)
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, stopwatch.work)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, stop_if_done)
    trainer.run()


def in_own_process(measure: Callable[[Job], Result], job: Job) -> Result:
    """``measure(job)``, in a new process, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(measure, job).result()


def peak_memory_mb(device: str) -> float | None:
    """Most memory that tensors took on a CUDA device, else that this process took; None where nobody tells (Windows)."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return None
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; what getrusage tells there is at least what the parent took when this process began
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes


def machine(device: str) -> dict[str, str]:
    """What the numbers hold for."""
    return {
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "CPU",
        "CPU": cpu_name(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, aligned for reading as it is."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)
