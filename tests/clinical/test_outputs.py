"""The files of a report: whole or not at all, the same every time, and without the patient's identity."""

import csv
import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from jsonschema import Draft202012Validator
from phantom_report import HARD, WARNING, phantom_findings, phantom_labels, phantom_study
from running import ROOT

from scripts.clinical import outputs, page_print
from scripts.clinical.outputs import FILES, PRINT, check_output_dir, write_outputs
from scripts.data.cine import CineStudy, SourceInstance
from scripts.errors import InputError

PHI = {
    "PatientName": "Zøttl^Qendrim",
    "PatientID": "PID-7746012",
    "PatientBirthDate": "19470213",
    "AccessionNumber": "ACC5519907",
    "StudyInstanceUID": "1.2.826.0.1.99887766",
}
NUMBERS = {"ed.nii.gz", "es.nii.gz", "measurements.csv", "volumes.csv"}


def write(folder: Path, study: CineStudy | None = None, options: dict[str, Any] | None = None, **changes: Any) -> Path:
    found = phantom_findings(study, **changes)
    return write_outputs(
        folder,
        found.study,
        found.labels,
        found.confidence,
        found.analysis,
        found.flags,
        found.wall,
        found.about,
        **(options or {}),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A browser alone on PATH that prints its own arguments and the page."""
    folder = tmp_path / "path"
    folder.mkdir()
    program = folder / "chromium"
    lines = [
        "#!/bin/sh",
        'for a in "$@"; do case "$a" in --print-to-pdf=*) pdf="${a#*=}";; file://*) page="${a#file://}";; esac; done',
        'exec > "$pdf"; printf \'%%PDF-1.4\\n%s\\n\' "$*"; PATH=/usr/bin:/bin; cat "$page"',
    ]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return program


def test_the_files_are_those_that_are_promised(tmp_path: Path, browser: Path) -> None:
    assert names(write(tmp_path / "measured")) == set(FILES) - {PRINT}
    assert names(write(tmp_path / "printed", options={"pdf": True})) == set(FILES)
    assert names(write(tmp_path / "failed", flags=(HARD,))) == set(FILES) - {PRINT} - NUMBERS
    assert names(tmp_path) == {"measured", "printed", "failed", "path"}


def test_masks_are_the_labels_on_the_grid_of_the_study(tmp_path: Path) -> None:
    study, labels = phantom_study(), phantom_labels()
    folder = write(tmp_path / "report")
    cine, ed, es = (nib.load(folder / name) for name in ("segmentation.nii.gz", "ed.nii.gz", "es.nii.gz"))
    for volume in (cine, ed, es):
        assert volume.get_data_dtype() == np.uint8
        assert volume.affine.tobytes() == study.affine.astype(np.float32).astype(np.float64).tobytes()
        assert np.allclose(volume.get_qform(), study.affine, atol=1e-4)
        assert (volume.header["sform_code"], volume.header["qform_code"]) == (1, 1)
    assert np.array_equal(np.moveaxis(np.asarray(cine.dataobj), -1, 0), labels)
    assert np.array_equal(np.asarray(ed.dataobj), labels[0])
    assert np.array_equal(np.asarray(es.dataobj), labels[2])
    assert cine.header.get_zooms()[3] == pytest.approx(120.0)
    assert cine.header.get_xyzt_units() == ("mm", "msec")


def test_another_reader_finds_the_same_places(tmp_path: Path) -> None:
    study = phantom_study(times_ms=None)
    image = SimpleITK.ReadImage(str(write(tmp_path / "report", study) / "ed.nii.gz"))
    for index in ((0, 0, 0), (10, 20, 4)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        assert np.allclose(lps * (-1, -1, 1), (study.affine @ (*index, 1))[:3], atol=1e-3)
    assert SimpleITK.ReadImage(str(tmp_path / "report" / "segmentation.nii.gz")).GetSize()[3] == 7


def test_a_sheared_grid_is_kept(tmp_path: Path) -> None:
    affine = phantom_study().affine.copy()
    affine[:3, 2] += 3 * affine[:3, 0]
    written = nib.load(write(tmp_path / "report", phantom_study(affine=affine)) / "ed.nii.gz")
    assert np.array_equal(written.affine, affine.astype(np.float32))


def test_the_report_keeps_to_its_schema_and_knows_its_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "report")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    Draft202012Validator(json.loads((ROOT / "docs" / "report_schema.json").read_text(encoding="utf-8"))).validate(
        report
    )
    assert set(report["files"]) == {"segmentation.nii.gz", *NUMBERS}
    for name, digest in report["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_tables_say_what_the_report_says(tmp_path: Path) -> None:
    folder = write(tmp_path / "report", phantom_study(heart_rate=None))
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    tables = {}
    for name in ("measurements", "volumes"):
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    for row, measured in zip(tables["measurements"], report["measurements"], strict=True):
        assert (row["key"], row["name"], row["unit"]) == (measured["key"], measured["name"], measured["unit"])
        assert row["value"] == ("" if measured["value"] is None else str(measured["value"]))
        reference = measured["reference"] or {"low": "", "high": "", "source": ""}
        assert row["reference_low"] == str(reference["low"])
        assert row["reference_high"] == str(reference["high"])
        assert row["source"] == reference["source"]
    assert {row["key"] for row in tables["measurements"] if not row["value"]} == {
        "heart_rate_per_min",
        "cardiac_output_l_min",
        "cardiac_output_l_min_m2",
    }
    assert tables["volumes"] == [{key: str(value) for key, value in row.items()} for row in report["volumes"]]


def test_the_same_study_gives_the_same_bytes(tmp_path: Path) -> None:
    assert contents(write(tmp_path / "a")) == contents(write(tmp_path / "b"))


def test_after_a_hard_flag_no_file_depends_on_what_was_measured(tmp_path: Path) -> None:
    measured = write(tmp_path / "measured", flags=(HARD, WARNING))
    nothing = write(tmp_path / "none", flags=(HARD, WARNING), analysis=None, wall=None, confidence=None)
    assert contents(measured) == contents(nothing)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("flags", [(WARNING,), (HARD,)])
def test_the_patient_is_in_no_file_but_those_that_were_asked_to_say_it(
    tmp_path: Path, browser: Path, flags: tuple, asked: bool
) -> None:
    source = SourceInstance(tmp_path / PHI["PatientName"] / "1.dcm", PHI["StudyInstanceUID"] + ".5", "1.2.840")
    study = phantom_study(phi=PHI, instances=((source,) * 5,) * 7)
    folder = write(tmp_path / "report", study, {"include_phi": asked, "pdf": True}, flags=flags)
    naming = set()
    for name, content in contents(folder).items():
        content = gzip.decompress(content) if name.endswith(".gz") else content
        known = [value for value in PHI.values() if value.encode() in content or value in name]
        if known:
            naming.add(name)
            assert sorted(known) == sorted(PHI.values())
    assert naming == ({"report.html", "report.json", "report.pdf"} if asked else set())


@pytest.mark.parametrize("former", [False, True])
@pytest.mark.parametrize("failing", FILES)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("a bug")])
def test_a_failure_at_any_file_leaves_nothing_behind(
    tmp_path: Path, browser: Path, monkeypatch: pytest.MonkeyPatch, failing: str, former: bool, error: Exception
) -> None:
    folder = tmp_path / "report"
    if former:
        folder.mkdir()
        (folder / "report.json").write_text('{"schema": "cardiac-report-1"}', encoding="utf-8")
    before = names(tmp_path)

    def fail_at(name: str) -> None:
        write_file = getattr(outputs, name)

        def failing_write(*arguments: Any, **options: Any) -> Any:
            paths = [a.name for a in arguments if isinstance(a, Path)]
            result = write_file(*arguments, **options)
            if paths[-1:] == [failing]:
                raise error
            return result

        monkeypatch.setattr(outputs, name, failing_write)

    for name in ("_write_nifti", "_write_text", "print_page"):
        fail_at(name)
    monkeypatch.setattr(outputs, "html", lambda content, findings: "<!doctype html>")
    expected = InputError if isinstance(error, OSError) else RuntimeError
    with pytest.raises(expected) as raised:
        write(folder, options={"pdf": True, "overwrite": True})
    assert isinstance(error, RuntimeError) or "No space left on device" in str(raised.value)
    assert names(tmp_path) == before
    assert not former or names(folder) == {"report.json"}


@pytest.mark.parametrize("broken", ["html", "report_content", "_move_into_place", "_sha256"])
def test_a_failure_in_between_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs, broken, fail)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "report")
    assert names(tmp_path) == set()


def test_a_former_report_comes_back_if_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = contents(write(tmp_path / "report", flags=(HARD,)))
    rename = Path.rename

    def failing_rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(InputError, match="Permission denied"):
        write(tmp_path / "report", options={"overwrite": True})
    assert contents(tmp_path / "report") == former
    assert names(tmp_path) == {"report"}


def test_a_former_report_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "report")
    with pytest.raises(InputError, match="--overwrite true"):
        write(folder, flags=(HARD,))
    assert names(folder) >= NUMBERS
    write(folder, flags=(HARD,), options={"overwrite": True})
    assert not NUMBERS & names(folder), "no number of the former report stays"
    assert names(tmp_path) == {"report"}


@pytest.mark.parametrize("holds", ["file", "other", "other report", "report and notes"])
def test_what_is_not_a_report_is_never_replaced(tmp_path: Path, holds: str) -> None:
    folder = tmp_path / "report"
    if holds == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        schema = "cardiac-report-1" if "notes" in holds else "another"
        (folder / ("notes.txt" if holds == "other" else "report.json")).write_text(json.dumps({"schema": schema}))
    if "notes" in holds:
        (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        check_output_dir(folder, overwrite=True)
    with pytest.raises(InputError, match="holds something else"):
        write(folder, options={"overwrite": True})


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert "report.json" in names(write(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert "report.json" in names(write(tmp_path / "new" / "Ünit √ ..x" / "report"))


def test_a_pdf_is_printed_without_network_or_a_path_in_its_margins(tmp_path: Path, browser: Path) -> None:
    first, arguments, *page = (
        (write(tmp_path / "a report", options={"pdf": True}) / PRINT).read_text(encoding="utf-8").split("\n")
    )
    assert first == "%PDF-1.4"
    assert "--headless" in arguments
    assert "--no-pdf-header-footer" in arguments
    assert ("--no-sandbox" in arguments) == (os.geteuid() == 0)
    assert page == (tmp_path / "a report" / "report.html").read_text(encoding="utf-8").split("\n")


def test_without_a_browser_a_pdf_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"chromium.*was found on PATH"):
        write(tmp_path / "report", options={"pdf": True})
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo secret >&2; exit 3", "ended with code 3"),
        ("exit 0", "ended with code 0"),
        ("exec /bin/sleep 30", "did not end within"),
    ],
)
def test_a_browser_that_fails_is_an_error(
    tmp_path: Path, browser: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(page_print, "TIMEOUT_S", 1)
    browser.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(InputError, match=said) as raised:
        write(tmp_path / "report", options={"pdf": True})
    assert "secret" not in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
    assert names(tmp_path) == {"path"}
