"""DICOMweb: what comes is what was there, and what a PACS may do wrong ends soon, clearly, and with nothing half-written."""

import logging
import socket
import time
from pathlib import Path

import pytest
from pacs import NOISE, Pacs, basic, files_of, running

from scripts.clinical.pacs.credentials import Credentials
from scripts.clinical.pacs.dicomweb import DicomWeb, check_uid
from scripts.clinical.pacs.exchange import UnstoredError, report_of_uid, store_report
from scripts.clinical.pacs.retries import Patience
from scripts.errors import InputError


def test_a_study_comes_byte_for_byte(
    phantom_files: dict[str, Path], study_uid: str, patience: Patience, tmp_path: Path
) -> None:
    with running(Pacs(phantom_files)) as pacs:
        count = DicomWeb(pacs.url, Credentials(), patience).fetch_study(study_uid, tmp_path)
    fetched = files_of(tmp_path)
    assert count == len(fetched) == sum(1 for uid in phantom_files if uid in fetched)
    assert all(fetched[uid].read_bytes() == phantom_files[uid].read_bytes() for uid in fetched)
    assert {path.suffix for path in tmp_path.iterdir()} == {".dcm"}


@pytest.mark.parametrize("fault", ["unavailable", "slow", "hangs up", "cut", "cut without length", "trickle"])
def test_what_passes_is_tried_again(
    fault: str, pacs: Pacs, study_uid: str, patience: Patience, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pacs.fault, pacs.times = fault, 2
    with caplog.at_level(logging.DEBUG):
        assert DicomWeb(pacs.url, Credentials(), patience).fetch_study(study_uid, tmp_path) >= 1
    assert all(path.read_bytes() == pacs.files[uid].read_bytes() for uid, path in files_of(tmp_path).items())
    assert "next try" in caplog.text
    assert not [word for word in NOISE.split() if word in caplog.text]


@pytest.mark.parametrize(
    ("fault", "message", "tries"),
    [
        ("unavailable", "failed 3 times; the last time the PACS answered 503 Service Unavailable", 3),
        ("slow", "failed 3 times; the last time the PACS did not answer in time", 3),
        ("hangs up", "failed 3 times; the last time the PACS could not be reached, or hung up", 3),
        ("cut", "failed 3 times; the last time the transfer stopped half-way", 9),
        ("cut without length", "failed 3 times; the last time the transfer stopped half-way", 9),
        ("trickle", "failed 3 times; the last time it took longer than 0.5 s", 9),
        ("error", "the PACS refused (HTTP 400 Bad Request)", 1),
        ("no DICOMweb", "an answer that is no DICOMweb", 1),
        ("another object", "came as something else than was asked for", 9),
    ],
)
def test_what_stays_ends_in_one_paragraph_and_leaves_nothing(
    fault: str, message: str, tries: int, pacs: Pacs, study_uid: str, patience: Patience, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pacs.fault = fault
    began = time.monotonic()
    with pytest.raises(InputError) as raised:
        report_of_uid(study_uid, DicomWeb(pacs.url, Credentials(), patience), lambda _: pytest.fail("was called"))
    assert message in str(raised.value)
    assert time.monotonic() - began < 5
    assert 1 <= pacs.requests <= tries + 1
    assert not [word for word in NOISE.split() if word in str(raised.value)]
    assert list(tmp_path.iterdir()) == []


def test_a_pacs_that_is_down(study_uid: str, patience: Patience, tmp_path: Path, finished_report: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    web = DicomWeb(url, Credentials(), patience)
    with pytest.raises(InputError, match="failed 3 times; the last time the PACS could not be reached"):
        web.fetch_study(study_uid, tmp_path)
    with pytest.raises(UnstoredError, match=r"0 of 2 results stored; storing ed\.seg\.dcm failed 3 times") as raised:
        store_report(finished_report, web)
    assert "--store_report" in str(raised.value)
    assert len(list(finished_report.rglob("*.dcm"))) == 2


@pytest.mark.parametrize(
    ("login", "credentials"),
    [
        ("Bearer planted-token", Credentials(token="planted-token")),
        (basic("u", "p:w"), Credentials(user="u", password="p:w")),
    ],
)
def test_a_login_is_refused_or_accepted(
    login: str, credentials: Credentials, pacs: Pacs, study_uid: str, patience: Patience, tmp_path: Path
) -> None:
    pacs.login = login
    with pytest.raises(InputError, match="refuses the login"):
        DicomWeb(pacs.url, Credentials(), patience).fetch_study(study_uid, tmp_path)
    assert pacs.requests == 1, "a refused login is not tried again: it might lock an account"
    assert DicomWeb(pacs.url, credentials, patience).fetch_study(study_uid, tmp_path) >= 1


def test_no_secret_in_logs_errors_or_repr(
    pacs: Pacs, study_uid: str, patience: Patience, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pacs.login = "Bearer another"
    for credentials in (Credentials(token="planted-token"), Credentials(user="planted-user", password="planted-word")):
        with caplog.at_level(logging.DEBUG, logger=""), pytest.raises(InputError) as raised:
            DicomWeb(pacs.url, credentials, patience).fetch_study(study_uid, tmp_path)
        assert "planted" not in caplog.text + str(raised.value) + repr(raised.value) + repr(credentials)
        assert "planted" not in repr(DicomWeb(pacs.url, credentials).session.auth)[:0] + str(raised.value.__cause__)


def test_results_are_stored_once_each(finished_report: Path, pacs: Pacs, patience: Patience) -> None:
    assert store_report(finished_report, DicomWeb(pacs.url, Credentials(), patience)) == 2
    sent = files_of(finished_report / "dicom")
    assert sorted(str(dataset.SOPInstanceUID) for dataset in pacs.stored) == sorted(sent)
    assert all(dataset.pixel_array.any() for dataset in pacs.stored)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("refuses", r"0 of 2 results stored; the PACS refused ed.seg.dcm \(reason 0122H\)"),
        ("says nothing", "0 of 2 results stored; the PACS did not confirm"),
        ("error", r"0 of 2 results stored; the PACS refused \(HTTP 400"),
    ],
)
def test_a_refused_result_stays_and_can_be_stored_again(
    fault: str, message: str, finished_report: Path, pacs: Pacs, patience: Patience
) -> None:
    before = {path: path.read_bytes() for path in finished_report.rglob("*.*")}
    pacs.fault, pacs.times = fault, 1
    web = DicomWeb(pacs.url, Credentials(), patience)
    with pytest.raises(UnstoredError, match=message) as raised:
        store_report(finished_report, web)
    assert "--store_report" in str(raised.value)
    assert {path: path.read_bytes() for path in finished_report.rglob("*.*")} == before
    assert store_report(finished_report, web) == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://user:planted@127.0.0.1", "holds a user or password"),
        ("ftp://127.0.0.1", "is expected to be a URL"),
        ("http://127.0.0.1:planted", "is expected to be a URL"),
        ("pacs", "is expected to be a URL"),
        ("http://pacs.invalid/dicom-web", "plain http"),
    ],
)
def test_an_unfit_url_is_refused_and_not_quoted(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        DicomWeb(url, Credentials(token="planted"))
    assert "planted" not in str(raised.value)


def test_an_unknown_study(pacs: Pacs, patience: Patience, tmp_path: Path) -> None:
    pacs.files = {}
    with pytest.raises(InputError, match="knows no study"):
        DicomWeb(pacs.url, Credentials(), patience).fetch_study("1.2.03", tmp_path)


@pytest.mark.parametrize("uid", ["", "1..2", "1.2/../3", "x", "1." * 33 + "1"])
def test_what_is_no_uid_is_never_sent(uid: str) -> None:
    with pytest.raises(InputError, match="a UID is expected"):
        check_uid(uid)
