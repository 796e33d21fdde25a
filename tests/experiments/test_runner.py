"""Running grids: each cell once, whoever is killed, and a cell that fails stops nobody."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_grid import FAKE_CELL, jobs_in
from running import ROOT, command_environment

from scripts.errors import InputError
from scripts.experiments.cells import read_cells
from scripts.experiments.paper import main
from scripts.experiments.runner import Runner
from scripts.experiments.tables import Results, paper_tables


@pytest.fixture
def fake_cell(tmp_path: Path) -> list[str]:
    script = tmp_path / "fake_cell.py"
    script.write_text(FAKE_CELL, encoding="utf-8")
    return [sys.executable, str(script)]


def started(folder: Path) -> list[str]:
    """Names of the cells that were started, with repetitions."""
    path = folder / "started.txt"
    return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.is_file() else []


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_all_cells_run_and_finished_ones_are_skipped(tmp_path: Path, fake_cell: list[str]) -> None:
    jobs = jobs_in(tmp_path)
    said: list[str] = []
    outcome = Runner(jobs, [{}], say=said.append, command=fake_cell).run()
    assert sorted(outcome.finished) == sorted(job.spec.name for job in jobs)
    assert any("started (3 to go)" in line for line in said)
    again = Runner(jobs, [{}], say=said.append, command=fake_cell).run()
    assert (len(again.skipped), again.finished) == (4, [])
    assert sorted(started(tmp_path)) == sorted(job.spec.name for job in jobs)


def test_a_failing_cell_is_reported_and_the_others_run(
    tmp_path: Path, fake_cell: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "Full,Hung et al.")
    said: list[str] = []
    outcome = Runner(jobs_in(tmp_path), [{}], say=said.append, command=fake_cell).run()
    assert sorted(outcome.failed) == ["acdc-full-100-seed0", "acdc-hung_et_al-10-seed0"]
    assert "this arm fails" in outcome.failed["acdc-full-100-seed0"]
    assert len(outcome.finished) == 2
    assert any("FAILED with exit code 1" in line for line in said)
    monkeypatch.delenv("FAIL")
    assert len(Runner(jobs_in(tmp_path), [{}], command=fake_cell).run().finished) == 2, "they are tried again"


def test_each_slot_has_its_gpu(tmp_path: Path, fake_cell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORK", "1")
    Runner(jobs_in(tmp_path), [{"CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in (3, 5)], command=fake_cell).run()
    gpus = [line.rpartition(" ")[2] for line in (tmp_path / "started.txt").read_text().splitlines()]
    assert set(gpus) == {"3", "5"}


def test_a_cell_of_other_settings_is_refused(tmp_path: Path, fake_cell: list[str]) -> None:
    Runner(jobs_in(tmp_path), [{}], command=fake_cell).run()
    with pytest.raises(InputError, match=r"run with other settings \(settings: .*give the grid another"):
        Runner(jobs_in(tmp_path, filters=8), [{}], command=fake_cell)


RUN = """
import pathlib, sys
sys.path[:0] = [{tests!r}, {root!r}]
from fake_grid import jobs_in
from scripts.experiments.runner import Runner
folder = pathlib.Path({folder!r})
outcome = Runner(jobs_in(folder), [{{}}], wait={wait}, command=[sys.executable, str(folder / "fake_cell.py")]).run()
print("ended:", len(outcome.finished), len(outcome.skipped), len(outcome.elsewhere), flush=True)
"""


def runner_process(folder: Path, wait: bool = True, **environment: str) -> subprocess.Popen:
    places = {"tests": str(ROOT / "tests"), "root": str(ROOT), "folder": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUN.format(wait=wait, **places)],
        env=command_environment(**environment),
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_runners_share_the_cells(tmp_path: Path, fake_cell: list[str]) -> None:
    runners = [runner_process(tmp_path, WORK="0.5") for _ in range(2)]
    for runner in runners:
        assert runner.wait(120) == 0
    assert sorted(started(tmp_path)) == sorted(job.spec.name for job in jobs_in(tmp_path)), "each cell exactly once"


def test_a_runner_killed_leaves_its_cell_to_end_and_the_next_does_not_start_it_again(
    tmp_path: Path, fake_cell: list[str]
) -> None:
    killed = runner_process(tmp_path, HOLD="1")
    wait_for(lambda: started(tmp_path))
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    first = started(tmp_path)[0]
    assert not (tmp_path / "cells" / f"{first}.json").exists(), "it is still at work"

    impatient = runner_process(tmp_path, wait=False)
    output, _ = impatient.communicate(timeout=60)
    assert "ended: 3 0 1" in output, "the orphan's cell is left to it"
    (tmp_path / "go").touch()
    patient = runner_process(tmp_path)
    output, _ = patient.communicate(timeout=60)
    assert "ended: 0 4 0" in output
    assert sorted(started(tmp_path)) == sorted(job.spec.name for job in jobs_in(tmp_path)), "each cell exactly once"


def test_a_cell_killed_is_run_again(tmp_path: Path, fake_cell: list[str]) -> None:
    killed = runner_process(tmp_path, HOLD="1")
    wait_for(lambda: started(tmp_path))
    wait_for(lambda: children(killed.pid))
    for pid in (killed.pid, *children(killed.pid)):
        os.kill(pid, signal.SIGKILL)
    killed.wait()
    outcome = Runner(jobs_in(tmp_path), [{}], command=fake_cell).run()
    assert len(outcome.finished) == 4
    assert len(started(tmp_path)) == 5


def test_told_to_stop_it_tells_its_cells(tmp_path: Path, fake_cell: list[str]) -> None:
    runner = runner_process(tmp_path, HOLD="1")
    wait_for(lambda: started(tmp_path))
    cells = children(runner.pid)
    runner.terminate()
    assert runner.wait(30) == 143
    assert cells
    for pid in cells:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_grid_killed_in_the_middle_ends_with_the_same_tables(tmp_path: Path, phantom_dir: Path) -> None:
    grid = {
        "name": "tiny",
        "blocks": [{"data": ["ACDC"], "arms": ["Partial", "Ours"], "fractions": [0.4], "seeds": [0]}],
        "settings": {
            "spacing": [6, 6],
            "size": [32, 32],
            "filters": 2,
            "discriminator_filters": 4,
            "max_epochs": 4,
            "blocks": 1,
            "device": "$torch.device('cpu')",
        },
    }
    (tmp_path / "tiny.json").write_text(json.dumps(grid), encoding="utf-8")

    def run(folder: Path) -> list[str]:
        places = ["--grid", str(tmp_path / "tiny.json"), "--dataset_dir", str(phantom_dir), "--output_dir", str(folder)]
        return ["run", "--no_mlflow", *places]

    def tables(folder: Path) -> list[str]:
        return [table.markdown() for table in paper_tables(Results(read_cells(folder / "cells")))]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(run(whole)) == 0

    command = [sys.executable, "-W", "ignore", "-m", "scripts.experiments.paper", *run(broken)]
    runner = subprocess.Popen(command, cwd=ROOT, env=command_environment())
    state = broken / "tiny" / "acdc-partial-40-seed0" / "models" / "training_state.pt"
    wait_for(state.is_file, 120)
    for pid in (runner.pid, *children(runner.pid)):
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    interrupted = not (broken / "cells" / "tiny" / "acdc-partial-40-seed0.json").is_file()
    assert interrupted
    assert main(run(broken)) == 0

    expected = tables(whole)
    assert expected
    assert tables(broken) == expected
    for name in ("acdc-partial-40-seed0", "acdc-ours-40-seed0"):
        one, other = (
            json.loads((folder / "cells" / "tiny" / f"{name}.json").read_text()) for folder in (whole, broken)
        )
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_at_the_deadline_finished_cells_are_not_called_unfinished(tmp_path: Path, fake_cell: list[str]) -> None:
    jobs = jobs_in(tmp_path)
    Runner(jobs[1:2], [{}], command=fake_cell, say=str).run()
    outcome = Runner(jobs, [{}], command=fake_cell, say=str, deadline=0).run()
    assert outcome.skipped == [jobs[1].spec.name]
    assert outcome.unfinished == [job.spec.name for job in jobs if job is not jobs[1]]
