"""The command line around a PACS: exit codes, what is refused before anything happens, and that nobody is named."""

from pathlib import Path

import pytest
from pacs import Pacs, running

from scripts.clinical.__main__ import main, parser
from scripts.clinical.pacs.command import run
from scripts.data.dicom_phantom import PLANTED
from scripts.errors import InputError


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "USER", "PASSWORD", "CERTIFICATE", "KEY", "AUTHORITIES", "CREDENTIALS"):
        monkeypatch.delenv(f"CLINICAL_PACS_{name}", raising=False)


def planted_in(text: str) -> list[str]:
    return [word for word in (*PLANTED, "planted-token") if word in text]


def test_a_study_by_uid_with_the_command(
    phantom_files: dict[str, Path],
    study_uid: str,
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a poor model: a report without numbers, exit code 2, nothing to store, no temporary folder left."""
    monkeypatch.setenv("CLINICAL_PACS_TOKEN", "planted-token")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    out = tmp_path / "out"
    with running(Pacs(phantom_files, login="Bearer planted-token")) as pacs:
        arguments = ["--study_uid", study_uid, "--dicomweb", pacs.url, "--store", "dicomweb", "--output_dir", str(out)]
        assert main([*arguments, "--model", str(finished_run / "models" / "model.pt")]) == 2
    assert not pacs.stored
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    told = capsys.readouterr()
    assert "Nothing to store" in told.out
    text = told.out + told.err + "".join(path.read_text("utf-8", "ignore") for path in out.glob("*.[hj]*"))
    assert not planted_in(text + " ".join(path.name for path in out.rglob("*")))


@pytest.mark.usefixtures("no_credentials")
def test_a_report_that_is_refused_ends_with_3_and_can_be_stored_again(
    finished_report: Path, pacs: Pacs, capsys: pytest.CaptureFixture[str]
) -> None:
    pacs.fault, pacs.times = "refuses", 1
    target = ["--store", "dicomweb", "--dicomweb", pacs.url]
    options = parser().parse_args(["study", "--output_dir", str(finished_report), *target])
    assert run(options, lambda study, out: 0) == 3
    assert "--store_report" in capsys.readouterr().err
    assert main(["--store_report", str(finished_report), *target]) == 0
    assert len(pacs.stored) == 2
    assert not planted_in("".join(capsys.readouterr()))


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study"], "--output_dir is missing"),
        (["--study_uid", "1.2", "--output_dir", "o"], "--study_uid needs --dicomweb"),
        (["study", "--store", "dicomweb", "--output_dir", "o"], "--store dicomweb needs --dicomweb"),
        (["study", "--store", "dicom", "--output_dir", "o"], "--store dicom needs --dicom_node"),
        (["--store_report", "r"], "--store_report needs --store"),
        (["--store_report", "none", "--store", "dicom", "--dicom_node", "127.0.0.1:1"], "there is no report.json"),
        (["--watch", "w", "--output_dir", "o", "--quiet_s", "9", "--give_up_s", "1"], "--quiet_s must be"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(parser().parse_args(arguments), lambda study, out: pytest.fail("was called"))


def test_one_source_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["study", "--watch", "w"], ["--study_uid", "1", "--watch", "w"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert "not allowed with" in capsys.readouterr().err
