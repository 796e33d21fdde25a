"""The fast step trains as the plain one does: a few steps on the phantom."""

import json
from pathlib import Path

import pytest

from scripts.benchmarks import curve


def test_both_runs_stay_together(phantom_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "curve.json"
    settings = "--pixels 32 --filters 2 --blocks 1 --steps 6 --stretches 3 --twin --device cpu --precision float32"
    curve.main([*settings.split(), "--dataset_dir", str(phantom_dir), "--json", str(path)])
    curves = json.loads(path.read_text())["curves"]
    assert set(curves) == {curve.BUNDLE, curve.PLAIN, curve.TWIN}
    bundle, plain, twin = (curves[name] for name in (curve.BUNDLE, curve.PLAIN, curve.TWIN))
    assert len(plain["terms"]) == 8
    for term, values in plain["terms"].items():
        assert len(values) == 3
        assert bundle["terms"][term] == pytest.approx(values, rel=1e-3)
        assert twin["terms"][term] == pytest.approx(values, rel=1e-2)
    assert any(twin["terms"][term] != plain["terms"][term] for term in plain["terms"])
    assert 0 <= plain["dice"] < 1
    assert "| Dice on validation" in capsys.readouterr().out.splitlines()[-1]


def test_more_stretches_than_steps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        curve.main(["--dataset_dir", "none", "--steps", "3", "--stretches", "5"])
    assert "from 1 to --steps, 3, got 5" in capsys.readouterr().err
