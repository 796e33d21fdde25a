"""A small PACS on the loopback, as tests need it: healthy, or with one thing wrong."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pydicom

BOUNDARY = b"border-of-a-part"
NOISE = "Plantedsurname PLANTED-ID-4711 planted-token"
"""What a careless server may say in its errors."""


@dataclass
class Pacs:
    """What it holds and how it behaves.

    Args:
        files: by SOPInstanceUID. fault: one of those below, or "". times: how many answers the fault spoils.
        login: the Authorization header that it wants.
        stored: what STOW-RS brought. requests: how many came.
    """

    files: dict[str, Path] = field(default_factory=dict)
    fault: str = ""
    times: int = 10**6
    login: str = ""
    slow_s: float = 1.0
    stored: list[pydicom.Dataset] = field(default_factory=list)
    requests: int = 0
    url: str = ""

    def strikes(self, *faults: str) -> bool:
        if self.fault not in faults or self.times <= 0:
            return False
        self.times -= 1
        return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    pacs: Pacs

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        if not self._may_enter():
            return
        path = urlsplit(self.path).path.rstrip("/")
        if path.endswith("/series"):
            self._json([_answer(modality, uid, "") for uid, modality in self._series().items()])
        elif path.endswith("/instances"):
            series = path.split("/")[-2]
            headers = map(_header, self.pacs.files.values())
            self._json([_answer("MR", series, h.SOPInstanceUID) for h in headers if h.SeriesInstanceUID == series])
        else:
            self._object(self.pacs.files[path.rpartition("/")[2]].read_bytes())

    def do_POST(self) -> None:
        body = self._body()
        if not self._may_enter():
            return
        begin, end = body.index(b"\r\n\r\n") + 4, body.rindex(b"\r\n--")
        dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(body[begin:end]))
        reference = {"00081155": {"vr": "UI", "Value": [dataset.SOPInstanceUID]}}
        if self.pacs.strikes("refuses"):
            reason = {"00081197": {"vr": "US", "Value": [0x0122]}}
            self._json({"00081198": {"vr": "SQ", "Value": [reference | reason]}}, 202)
        elif self.pacs.strikes("says nothing"):
            self._json({})
        else:
            self.pacs.stored.append(dataset)
            self._json({"00081199": {"vr": "SQ", "Value": [reference]}})

    def _may_enter(self) -> bool:
        self.pacs.requests += 1
        if self.pacs.login and self.headers.get("Authorization") != self.pacs.login:
            self._send(401, NOISE.encode(), "text/plain")
        elif self.pacs.strikes("unavailable"):
            self._send(503, NOISE.encode(), "text/plain")
        elif self.pacs.strikes("error"):
            self._send(400, NOISE.encode(), "text/plain")
        elif self.pacs.strikes("slow"):
            time.sleep(self.pacs.slow_s)
            self.close_connection = True
        elif self.pacs.strikes("hangs up"):
            self.close_connection = True
        elif self.pacs.strikes("no DICOMweb"):
            self._send(200, b"<html>" + NOISE.encode(), "text/html")
        else:
            return True
        return False

    def _object(self, content: bytes) -> None:
        body = (
            b"--"
            + BOUNDARY
            + b"\r\nContent-Type: application/dicom\r\n\r\n"
            + content
            + b"\r\n--"
            + BOUNDARY
            + b"--\r\n"
        )
        kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY.decode()}"'
        if self.pacs.strikes("cut"):
            self._send(200, body[: len(body) // 2], kind, len(body))
        elif self.pacs.strikes("cut without length"):
            self._send(200, body[: len(body) // 2], kind, None)
        elif self.pacs.strikes("trickle"):
            self._head(200, kind, len(body))
            with suppress(OSError):
                for byte in body[:100]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            self.close_connection = True
        elif self.pacs.strikes("another object"):
            self._send(200, body.replace(content, next(iter(self.pacs.files.values())).read_bytes()), kind)
        else:
            self._send(200, body, kind)

    def _series(self) -> dict[str, str]:
        return {header.SeriesInstanceUID: header.Modality for header in map(_header, self.pacs.files.values())}

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, content: Any, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), "application/dicom+json")

    def _head(self, status: int, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, status: int, body: bytes, kind: str, length: int | None = -1) -> None:
        self._head(status, kind, len(body) if length == -1 else length)
        self.wfile.write(body)
        self.close_connection = self.close_connection or length != -1


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""


@contextmanager
def running(pacs: Pacs, context: Any = None) -> Iterator[Pacs]:
    """Serve ``pacs`` on a free port of the loopback; with a TLS context, by https."""
    handler = type("OneHandler", (Handler,), {"pacs": pacs})
    server = Server(("127.0.0.1", 0), handler)
    scheme = "http"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    pacs.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/dicom-web"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield pacs
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def files_of(study: Path) -> dict[str, Path]:
    return {str(_header(path).SOPInstanceUID): path for path in sorted(study.rglob("*")) if path.is_file()}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _header(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True)


def _answer(modality: str, series: str, sop: str) -> dict[str, Any]:
    values = {"00080060": ("CS", modality), "0020000E": ("UI", series), "00080018": ("UI", sop)}
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}
