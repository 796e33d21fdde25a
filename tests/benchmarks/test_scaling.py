"""How a step grows: one process and two on the smallest step."""

import json
from pathlib import Path

import pytest

from scripts.benchmarks import scaling


@pytest.fixture(autouse=True)
def _forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is forked has imported everything."""
    monkeypatch.setattr(scaling, "START", "fork")


def test_sizes_filters_and_processes_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scaling.json"
    scaling.main(f"--pixels 16 --filters 1 --processes 1 2 --seconds 0 --device cpu --json {path}".split())
    one, two = json.loads(path.read_text())["results"]
    assert (one["count"], two["count"]) == (1, 2)
    for result in (one, two):
        assert result["images_per_second"] == pytest.approx(10 * result["count"] / result["step_s"])
        assert result["memory_mb"] > 50
    assert one["exchange_mb"] == two["exchange_mb"] > 0
    assert two["exchange_s"] > one["exchange_s"], "one process exchanges nothing"
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 16     | 1       | 2 ")


def test_each_of_sizes_filters_and_processes_varies_by_itself() -> None:
    class Options:
        pixels, filters, processes = (64, 96), (16, 32), (1, 2)
        device, precision, seconds = "cpu", "float32", 0.0

    measured = [(job.pixels, job.filters, count) for job, count in scaling.jobs(Options())]  # type: ignore[arg-type]
    assert measured == [(64, 16, 1), (96, 16, 1), (64, 32, 1), (64, 16, 2)]


def test_a_process_that_fails_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="a process of 1 failed at 18 pixels"):
        scaling.main(["--pixels", "18", "--filters", "1", "--processes", "1", "--seconds", "0", "--device", "cpu"])
