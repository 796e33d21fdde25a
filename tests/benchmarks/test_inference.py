"""Engines of inference, measured on a small volume."""

import json
from pathlib import Path

import pytest

from scripts.benchmarks import inference
from scripts.errors import InputError


def test_engines_are_measured_and_agree(
    monkeypatch: pytest.MonkeyPatch, phantom_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inference, "in_own_process", lambda measure, job: measure(job))
    volume = next(phantom_dir.rglob("*_frame01.nii.gz"))
    path = tmp_path / "inference.json"
    engines = ["pytorch", "pytorch, channels last", "onnxruntime", "openvino"]
    settings = f"--network resnet --pixels 32 --rounds 2 --device cpu --volume {volume} --json {path} --engines"
    inference.main([*settings.split(), *engines])
    found = json.loads(path.read_text())
    assert [result["engine"] for result in found["results"]] == engines
    assert found["left_out"] == {}
    for result in found["results"]:
        assert result["volumes_per_second"] == pytest.approx(1 / (result["read_s"] + result["label_s"]))
        assert result["start_s"] > result["read_s"] + result["label_s"] > 0
        assert result["agreement"] > 0.999
    assert capsys.readouterr().out.splitlines()[-1].startswith("| openvino")


def test_an_engine_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(measure: object, job: inference.Job) -> None:
        raise InputError(f"{job.engine} is not installed: pip install {job.engine}.")

    monkeypatch.setattr(inference, "in_own_process", absent)
    job = inference.Job("openvino", "unet", "none", 32, 1, "cpu")
    assert inference.measure_all([job]) == ([], {"openvino": "openvino is not installed: pip install openvino."})
