"""Runs the cells of a grid, each as a process of its own; several runners may share one folder.

A cell is claimed by a lock on its file (``flock``), which the cell's process inherits and alone keeps: the claim lasts
exactly as long as that process, whatever becomes of the runner, and the kernel takes it back from a process that dies.
Machines that share a folder need a file system with locks (NFS has them, Lustre if mounted with ``flock``).
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from scripts.errors import InputError
from scripts.experiments.grid import CellSpec
from scripts.experiments.job import ROOT, CellJob
from scripts.files import write_json

try:
    import fcntl
except ImportError as error:
    raise InputError("grids of experiments need file locks (flock), so Linux or macOS: run them there.") from error

CELL = (sys.executable, "-m", "scripts.experiments.cell")
POLL_SECONDS = 0.5
LOG_LINES = 12
"""Of a failed cell, shown at the end."""


@dataclass
class Outcome:
    """Names of cells by what became of them."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    """When the time was over."""


@dataclass
class _Running:
    job: CellJob
    process: subprocess.Popen
    slot: Mapping[str, str]
    began: float


class Runner:
    """Starts cells on free slots until all are done.

    Args:
        jobs: in the order in which they are to be run.
        slots: environment variables of each place where a cell can run, such as the GPU that it sees.
        wait: for cells that other runners have claimed; otherwise they are left to them.
        say: gets a line for each event; None prints it.
        command: runs a cell, given the path of its ``CellJob``.
        deadline: by ``time.monotonic()``, when cells are told to stop and no more are started; None for never.

    Raises:
        InputError: a finished cell was run with other settings.
    """

    def __init__(
        self,
        jobs: Sequence[CellJob],
        slots: Sequence[Mapping[str, str]],
        wait: bool = True,
        say: Callable[[str], object] | None = None,
        command: Sequence[str] = CELL,
        deadline: float | None = None,
    ) -> None:
        for job in jobs:
            is_finished(job)
        self.jobs = jobs
        self.command = command
        self.free = deque(slots)
        self.wait = wait
        self.deadline = deadline
        self.say = say or partial(print, flush=True)
        self.running: list[_Running] = []
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run all cells. A cell that fails is reported and does not stop the others; at the deadline, on SIGTERM or Ctrl-C the
        cells are told to stop, which they do after saving their state, and so does the runner."""
        waiting = deque(self.jobs)
        previous = signal.signal(signal.SIGTERM, _exit)
        try:
            while waiting or self.running:
                self._collect()
                if self.deadline is not None and time.monotonic() >= self.deadline:
                    self._end(waiting)
                    break
                claimed = self._start(waiting) if waiting and self.free else False
                if not claimed:
                    if waiting and not self.running and not self.wait:
                        self.outcome.elsewhere = [job.spec.name for job in waiting]
                        break
                    time.sleep(POLL_SECONDS)
        finally:
            signal.signal(signal.SIGTERM, previous)
            self._stop()
        return self.outcome

    def _start(self, waiting: deque[CellJob]) -> bool:
        """Start or settle the first waiting cell that nobody else has claimed; whether there was one."""
        for job in list(waiting):
            if is_finished(job):
                waiting.remove(job)
                self.outcome.skipped.append(job.spec.name)
                self.say(f"{job.spec.name}: finished already")
                return True
            claim = _claim(job)
            if claim is None:
                continue
            waiting.remove(job)
            slot = self.free.popleft()
            try:
                self.running.append(_Running(job, _launch(self.command, job, slot, claim), slot, time.monotonic()))
            finally:
                os.close(claim)  # the cell's process keeps it
            self.say(f"{job.spec.name}: started ({len(waiting)} to go)")
            return True
        return False

    def _collect(self) -> None:
        """Look which cells have ended."""
        for running in [r for r in self.running if r.process.poll() is not None]:
            self.running.remove(running)
            self.free.append(running.slot)
            name, minutes = running.job.spec.name, (time.monotonic() - running.began) / 60
            if is_finished(running.job):
                self.outcome.finished.append(name)
                self.say(f"{name}: finished after {minutes:.1f} min")
            else:
                log = _log(running.job)
                self.outcome.failed[name] = "\n".join(log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:])
                self.say(
                    f"{name}: FAILED with exit code {running.process.returncode} after {minutes:.1f} min, see {log}"
                )

    def _end(self, waiting: Iterable[CellJob]) -> None:
        """Stop at the deadline, and settle what ran and what is ``waiting``, some of which may be finished."""
        self._stop()
        running = [running.job for running in self.running]
        self.outcome.finished += [job.spec.name for job in running if is_finished(job)]
        self.outcome.skipped += [job.spec.name for job in waiting if is_finished(job)]
        self.outcome.unfinished = [job.spec.name for job in (*running, *waiting) if not is_finished(job)]

    def _stop(self) -> None:
        """Tell what still runs to save its state and stop."""
        for running in self.running:
            running.process.terminate()
        for running in self.running:
            running.process.wait()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _log(job: CellJob) -> Path:
    return Path(job.output_dir) / job.spec.grid / f"{job.spec.name}.log"


def _claim(job: CellJob) -> int | None:
    """The open, locked file of a cell; None if another process has it."""
    path = _log(job).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    claim = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(claim)
        return None
    if is_finished(job):  # between a look and the claim
        os.close(claim)
        return None
    return claim


def _launch(command: Sequence[str], job: CellJob, slot: Mapping[str, str], claim: int) -> subprocess.Popen:
    path = write_json(_log(job).with_suffix(".job.json"), {**asdict(job), "spec": job.spec.identity})
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | dict(slot)
    with _log(job).open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            [*command, str(path)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            pass_fds=(claim,),
            start_new_session=True,  # Ctrl-C reaches it through the runner, once
        )


def is_finished(job: CellJob) -> bool:
    """Whether the cell's JSON is there, of the same settings.

    Raises:
        InputError: it is of other settings.
    """
    try:
        found = json.loads(Path(job.result).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise InputError(f"{job.result} cannot be read ({error}): move it away to run the cell anew.") from error
    check_same(job.spec, found if isinstance(found, dict) else {}, job.result)
    return True


def check_same(spec: CellSpec, found: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a finished cell that was run otherwise than ``spec`` says.

    Raises:
        InputError: with the first differences.
    """
    wanted = spec.identity
    wanted["cell"] = wanted.pop("name")
    different = [key for key in wanted if found.get(key) != wanted[key]]
    if different:
        shown = "; ".join(f"{key}: {found.get(key)} there, {wanted[key]} wanted" for key in different[:3])
        raise InputError(
            f"{path} is of a run with other settings ({shown}). Move it and the folder of the run away to run the cell anew, or "
            "give the grid another name."
        )
