"""The clinical benchmark: all parts of the time are there, as a table and as JSON."""

import json
from pathlib import Path

import pytest

from scripts.benchmarks.clinical import PARTS, main


def test_time_and_memory_of_a_report(
    dicom_phantom: Path, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(finished_run / "models" / "model.pt")
    main(["--study", str(dicom_phantom), "--model", model, "--device", "cpu", "--json", str(tmp_path / "result.json")])
    result = json.loads((tmp_path / "result.json").read_text())["result"]
    assert (result["slices"], result["phases"]) == (5, 8)
    assert set(result["seconds"]) == set(PARTS)
    assert all(seconds > 0 for seconds in result["seconds"].values())
    assert result["peak_memory_mb"] > 100
    last = capsys.readouterr().out.splitlines()[-1]
    assert "5 slices x 8 phases" in last
    assert "100%" in last
