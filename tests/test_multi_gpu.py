"""``configs/multi_gpu_train.json`` under torchrun, two processes on the CPU: as users start it, and when a process dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import ROOT, command_environment, training_arguments

CONFIGS = "['configs/train.json','configs/multi_gpu_train.json']"


def torchrun(folder: Path, dataset_dir: Path, *options: str, **settings: object) -> subprocess.Popen:
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [*options, "-m", "monai.bundle", "run", "training", "--config_file", CONFIGS]
    arguments = training_arguments(folder, dataset_dir, batch_size=2, **settings)
    with (folder.parent / "log.txt").open("w") as log:
        return subprocess.Popen(
            command + arguments,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=command_environment(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1"),
        )


def workers_of(process: subprocess.Popen) -> dict[int, int]:
    """Process numbers by rank."""
    found = {}
    for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        variables = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
        ranks = [variable for variable in variables if variable.startswith(b"RANK=")]
        if ranks:
            found[int(ranks[0].removeprefix(b"RANK="))] = int(number)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_process_that_dies_ends_the_others_and_the_job_starts_again_from_the_last_state(
    tmp_path: Path, phantom_dir: Path
) -> None:
    folder = tmp_path / "run"
    job = torchrun(folder, phantom_dir, "--max-restarts", "1", max_epochs=8, mlflow=False)
    state, killed = folder / "models" / "training_state.pt", False
    deadline = time.monotonic() + 200
    while job.poll() is None and time.monotonic() < deadline:
        if not killed and state.is_file() and len(workers := workers_of(job)) == 2:
            os.kill(workers[1], signal.SIGKILL)
            killed = True
        time.sleep(0.2)
    log = (tmp_path / "log.txt").read_text(encoding="utf-8", errors="replace")
    assert job.wait(1) == 0, log
    assert killed
    assert "failed (exitcode: -9) local_rank: 1" in log, "torchrun says who died"
    assert log.count("Resumed from") == 2, "in both processes"
    history = json.loads((folder / "history.json").read_text())
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert log.count("Best model:") == 1, "one process says so, and one writes"
    assert not list(folder.rglob("*.partial"))


def test_an_error_ends_the_job_with_its_message(tmp_path: Path, phantom_dir: Path) -> None:
    job = torchrun(tmp_path / "run", phantom_dir, labeled_patients=99, labeled_fraction=None)
    assert job.wait(120) != 0
    log = (tmp_path / "log.txt").read_text(encoding="utf-8", errors="replace")
    assert "Error: labeled_patients must be a whole number in 1 to 8" in log
    assert not [line for line in log.splitlines() if line.startswith("[rank") and "Traceback" in line], (
        "no more than that"
    )
