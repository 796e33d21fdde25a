"""C-STORE: to a server that accepts, refuses, is full, hangs up, is silent, knows nobody or speaks TLS."""

import logging
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pacs import Pacs, running
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, SegmentationStorage

from scripts.clinical.pacs.credentials import Credentials
from scripts.clinical.pacs.dicom_store import DicomNode, DicomStore
from scripts.clinical.pacs.dicomweb import DicomWeb
from scripts.clinical.pacs.exchange import UnstoredError, store_report
from scripts.clinical.pacs.retries import Patience
from scripts.errors import InputError


@contextmanager
def server(answer: Callable[[Any], int], context: ssl.SSLContext | None = None, **traits: Any) -> Iterator[int]:
    """A C-STORE server on the loopback; its port."""
    entity = AE("PACS")
    entity.network_timeout = 5
    entity.add_supported_context(traits.pop("kind", MRImageStorage))
    for name, value in traits.items():
        setattr(entity, name, value)
    running = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)], ssl_context=context
    )
    try:
        yield running.server_address[1]
    finally:
        running.shutdown()


def store_to(port: int, patience: Patience, credentials: Credentials | None = None, **options: Any) -> DicomStore:
    return DicomStore(DicomNode("127.0.0.1", port, "PACS", **options), credentials or Credentials(), patience)


def test_results_arrive_as_they_are(finished_report: Path, patience: Patience) -> None:
    arrived: list[pydicom.Dataset] = []
    with server(lambda event: arrived.append(event.dataset) or 0) as port:
        assert store_report(finished_report, store_to(port, patience)) == 2
    sent = [pydicom.dcmread(path) for path in sorted(finished_report.rglob("*.dcm"))]
    assert arrived == sent


def hang_up(event: Any) -> int:
    event.assoc.abort()
    return 0


def sleep(event: Any) -> int:
    time.sleep(0.6)
    return 0


@pytest.mark.parametrize(
    ("answer", "traits", "message"),
    [
        (lambda event: 0x0122, {}, r"the PACS refused ed.seg.dcm \(status 0122H\)"),
        (lambda event: 0xA700, {}, r"failed 3 times; the last time the PACS is out of resources \(status A700H\)"),
        (hang_up, {}, "failed 3 times; the last time the PACS did not confirm in time, or hung up"),
        (sleep, {}, "failed 3 times; the last time the PACS did not confirm in time, or hung up"),
        (lambda event: 0, {"require_called_aet": True, "ae_title": "OTHER"}, "rejected the association for good"),
        (lambda event: 0, {"require_calling_aet": ["OTHER"]}, "rejected the association for good"),
        (lambda event: 0, {"kind": SegmentationStorage}, "accepts no object of this kind"),
    ],
)
def test_what_a_pacs_may_do_wrong(
    answer: Callable[[Any], int],
    traits: dict[str, Any],
    message: str,
    finished_report: Path,
    patience: Patience,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = {path: path.read_bytes() for path in finished_report.rglob("*.*")}
    with (
        caplog.at_level(logging.DEBUG),
        server(answer, **traits) as port,
        pytest.raises(UnstoredError, match=message) as raised,
    ):
        store_report(finished_report, store_to(port, patience))
    assert "0 of 2 results stored" in str(raised.value)
    assert {path: path.read_bytes() for path in finished_report.rglob("*.*")} == before
    assert "planted" not in (caplog.text + str(raised.value)).lower()


def test_a_pacs_that_is_down(finished_report: Path, patience: Patience) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnstoredError, match="failed 3 times; the last time the PACS could not be reached"):
        store_report(finished_report, store_to(port, patience))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """One self-signed certificate of 127.0.0.1, which both sides use and trust."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)
    return Credentials(certificate=str(certificate), key=str(key), authorities=str(certificate))


@pytest.fixture(scope="module")
def strict(certificate: Credentials) -> ssl.SSLContext:
    """A server's side that wants a client certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate.authorities)
    context.load_cert_chain(str(certificate.certificate), certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_dicom_tls_with_a_client_certificate(
    certificate: Credentials, strict: ssl.SSLContext, finished_report: Path, patience: Patience
) -> None:
    with server(lambda event: 0, strict) as port:
        assert store_report(finished_report, store_to(port, patience, certificate, tls=True)) == 2
        with pytest.raises(UnstoredError, match="did not agree on TLS"):
            store_report(finished_report, store_to(port, patience, Credentials(), tls=True))


def test_https_with_a_client_certificate(
    certificate: Credentials, strict: ssl.SSLContext, phantom_files, study_uid: str, patience: Patience, tmp_path: Path
) -> None:
    with running(Pacs(dict(list(phantom_files.items())[:3])), strict) as pacs:
        assert DicomWeb(pacs.url, certificate, patience).fetch_study(study_uid, tmp_path)
        with pytest.raises(InputError, match="did not agree on TLS"):
            DicomWeb(pacs.url, Credentials(), patience).fetch_study(study_uid, tmp_path)


@pytest.mark.parametrize("address", ["pacs", "pacs:0", "pacs:x", ":104", "u:p@pacs:104"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        DicomNode.from_address(address, "A", "B", False)


@pytest.mark.parametrize("title", ["", "  ", "x" * 17, "tab\t"])
def test_a_title_that_is_none(title: str) -> None:
    with pytest.raises(InputError, match="AE title"):
        DicomNode("127.0.0.1", 104, title)
