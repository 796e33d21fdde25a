"""Waiting for data, measured on the phantom and on generated photographs."""

import json
from pathlib import Path

import pytest

from scripts.benchmarks import data
from scripts.data.image_grid import ImageGrid
from scripts.data.preprocessing import SliceGrid


@pytest.mark.parametrize("kind", ["volumes", "photographs"])
def test_both_starts_and_a_step_are_measured(
    monkeypatch: pytest.MonkeyPatch, phantom_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.setattr(data, "SliceGrid", lambda: SliceGrid((9, 9), (32, 32)))
    monkeypatch.setattr(data, "ImageGrid", lambda size, channels: ImageGrid((32, 32), channels))
    source = ["--dataset_dir", str(phantom_dir)] if kind == "volumes" else ["--images", "10"]
    path = tmp_path / "data.json"
    data.main([*source, *f"--filters 1 --seconds 0 --processes 2 --device cpu --json {path}".split()])
    result = json.loads(path.read_text())["result"]
    assert result["images"] == (20 if kind == "volumes" else 10)
    assert result["cold_start_s"] > result["warm_start_s"] > 0
    assert result["cache_mb"] > 0
    assert 0 < result["waiting"] < 1
    assert result["get_batch_ms"] < 1000 * result["step_s"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("| share of a step spent waiting")


def test_too_few_photographs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        data.main(["--images", "3"])
    assert "--images must be at least 10, got 3" in capsys.readouterr().err
