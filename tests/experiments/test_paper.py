"""The command line of the paper's comparison."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest

from scripts.experiments.grid import read_grid
from scripts.experiments.paper import main, parser, slots
from scripts.experiments.parent_run import default_tracking_uri, parent_run_id
from scripts.files import write_json

SETTINGS = {"spacing": [6, 6], "size": [32, 32], "filters": 2, "discriminator_filters": 4, "max_epochs": 1, "blocks": 1}


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    block = {"data": ["ACDC"], "arms": ["Partial", "Ours"], "fractions": [0.4], "seeds": [0]}
    return write_json(tmp_path / "tiny.json", {"blocks": [block], "settings": SETTINGS})


def run(grid: Path, folder: Path, *options: str) -> int:
    return main(["run", "--grid", str(grid), "--output_dir", str(folder), *options])


def test_a_dry_run_says_what_would_run_and_how_long(
    grid: Path, tmp_path: Path, phantom_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(grid, tmp_path / "out", "--dataset_dir", str(phantom_dir), "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("acdc-partial-40-seed0: 16 updates of 0.")
    assert lines[1].startswith("acdc-ours-40-seed0: 16 updates of ")
    assert lines[2].startswith("2 cells, 0 finished; about 0.0")
    assert not (tmp_path / "out" / "tiny").exists(), "nothing was run"


def test_a_cell_is_a_child_of_the_grids_run_and_settings_reach_it(
    grid: Path, tmp_path: Path, phantom_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--arms", "Partial", "--set", "filters=3", "val_interval=1", "--dataset_dir", f"ACDC={phantom_dir}"]
    assert run(grid, tmp_path / "out", *options) == 0
    assert "1 cells finished, 0 were, 0 failed." in capsys.readouterr().out
    (cell,) = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").rglob("*.json")]
    assert cell["settings"]["filters"] == 3
    assert cell["updates"] == 16
    assert [row["epoch"] for row in cell["curve"]] == [1]
    assert set(cell["scores"]) == {"native", "training_size"}

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "experiments"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    child = runs.pop("tiny/acdc-partial-40-seed0")
    (parent,) = runs.values()
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")


def test_a_data_set_that_is_not_there_fails_its_cells_alone(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--arms", "Partial", "--no_mlflow", "--dataset_dir", str(tmp_path / "nothing")]
    assert run(grid, tmp_path / "out", *options) == 1
    out = capsys.readouterr().out
    assert "0 cells finished, 0 were, 1 failed." in out
    assert "is not a folder" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset_dir", "VOC=a"], "--dataset_dir does not say where ACDC is: expected ACDC=DIR"),
        (["--dataset_dir", "a", "b"], "--dataset_dir does not say where ACDC is"),
        (["--dataset_dir", "a", "--set", "filters"], "--set takes KEY=VALUE, got 'filters'"),
        (["--dataset_dir", "a", "--data", "MNIST"], "no data set 'MNIST'"),
        (["--dataset_dir", "a", "--workers", "0", "--no_mlflow"], "--workers must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_run_is_said_plainly(
    options: list[str], message: str, grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(grid, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err


def test_a_report_of_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cells").mkdir()
    assert main(["report", "--output_dir", str(tmp_path)]) == 2
    assert "holds no finished cell" in capsys.readouterr().err


def test_gpus_are_those_that_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    options = parser().parse_args(["run", "--dataset_dir", "a", "--workers", "3"])
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(options)] == ["2", "3", "2"]
    options = parser().parse_args(["run", "--dataset_dir", "a", "--gpus", "1"])
    assert slots(options) == [{"CUDA_VISIBLE_DEVICES": "1"}]


def test_runners_that_start_together_have_one_parent_run(tmp_path: Path) -> None:
    uri = default_tracking_uri(tmp_path)
    grid = read_grid("acdc_small")
    with ThreadPoolExecutor(2) as pool:
        ids = list(pool.map(lambda _: parent_run_id(grid, tmp_path, uri), range(2)))
    assert ids[0] == ids[1] == parent_run_id(grid, tmp_path, uri)
    record = tmp_path / grid.name / "parent_run.json"
    for content in ("{", "[]", json.dumps({"run_id": "0" * 32, "tracking_uri": uri})):
        record.write_text(content, encoding="utf-8")
        assert parent_run_id(grid, tmp_path, uri) not in (ids[0], "0" * 32), "a record of nothing begins anew"


def test_a_runs_folder_of_other_settings_is_not_taken_for_the_cell(
    grid: Path, tmp_path: Path, phantom_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--arms", "Partial", "--no_mlflow", "--dataset_dir", str(phantom_dir)]
    assert run(grid, tmp_path / "out", *options) == 0
    (cell,) = (tmp_path / "out" / "cells").rglob("*.json")
    content = json.loads(cell.read_text())
    assert content["trained_on"] == "phantom"
    assert len(content["validation_sha256"]) == 64
    cell.unlink()
    capsys.readouterr()
    assert run(grid, tmp_path / "out", *options, "--set", "max_epochs=2") == 1
    assert "holds a run with other settings" in capsys.readouterr().out
    assert not cell.exists()

    cell.write_text("{")
    assert run(grid, tmp_path / "out", *options) == 2
    assert "cannot be read" in capsys.readouterr().err
