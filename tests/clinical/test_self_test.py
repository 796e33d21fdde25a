"""The self test: it passes where all works, and fails where something does not."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.clinical import self_test
from scripts.clinical.__main__ import main as clinical
from scripts.data.dicom_phantom import dicom_phantom_truth

GEOMETRY = "volumes against the phantom's geometry"


def truthful(arguments: Sequence[str]) -> int:
    """A clinical command whose model knows the truth."""
    out = Path(arguments[arguments.index("--output_dir") + 1])
    out.mkdir()
    labels, affine = dicom_phantom_truth(smallest=True)
    nib.save(nib.Nifti1Image(np.moveaxis(labels, 0, -1), affine), out / "segmentation.nii.gz")
    return 0


def test_all_passes_but_for_what_coarse_voxels_cannot_show(tmp_path: Path) -> None:
    found = {name: (ok, told) for name, ok, told in self_test.checks(tmp_path, Path(), truthful, smallest=True)}
    assert [name for name, (ok, _) in found.items() if not ok] in ([], [GEOMETRY])
    assert len(found) == 13
    assert found["numbers (report.json, DICOM SR) read back"][1] == "10 numbers"
    assert found["model, from study to report"][1].count("1.000") == 3


def failing(name: str) -> object:
    def broken(*arguments: object, **options: object) -> None:
        raise OSError("no such decoder")

    return broken


@pytest.mark.parametrize(
    ("part", "fails"),
    [("read_labels", "masks (DICOM SEG) read back"), ("_written", "every output written")],
)
def test_what_is_broken_is_named(part: str, fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, part, failing(part))
    failed = {name: told for name, ok, told in self_test.checks(tmp_path, Path(), truthful, smallest=True) if not ok}
    assert failed[fails] == "OSError: no such decoder"


def test_the_command_says_so_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(self_test, "checks", lambda *_: iter([("a part", True, "fine"), ("another", False, "broken")]))
    assert clinical(["--self_test"]) == 1
    told = capsys.readouterr().out
    assert "FAILED" in told
    assert "must not be used" in told
    monkeypatch.setattr(self_test, "checks", lambda *_: iter([("a part", True, "fine")]))
    assert clinical(["--self_test"]) == 0


def test_a_model_that_ends_without_a_report_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(code: int) -> tuple[bool, str]:
        shutil.rmtree(tmp_path, ignore_errors=True)
        last = [*self_test.checks(tmp_path, Path(), lambda _: code, smallest=True)][-1]
        return last[1], last[2]

    assert found(1) == (False, "ValueError: ended with code 1, expected 0 (numbers) or 2 (a hard check failed)")
