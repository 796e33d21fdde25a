"""The one part of a multipart answer, on the disk: dicomweb-client keeps whole objects in memory and does not miss an end."""

import shutil
from email.message import Message
from pathlib import Path

from scripts.clinical.pacs.retries import PassingError
from scripts.errors import InputError

HEAD, TAIL = 2**14, 2**10
"""Bytes at the begin and the end within which the headers and the last boundary stand."""


def extract_part(raw: Path, content_type: str, target: Path) -> None:
    """Write the only part of a multipart body to ``target``; a body that is DICOM itself is moved there.

    Args:
        raw: the body of the answer; maybe gone afterwards.
        content_type: of the answer.
        target: appears when it is whole.

    Raises:
        PassingError: the body has no end.
        InputError: it is not what a PACS should send.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == "application/dicom":
        raw.replace(target)
        return
    boundary = header.get_boundary()
    if kind != "multipart/related" or not boundary:
        raise InputError("the PACS sent something else than DICOM: correct --dicomweb, or ask its administrator.")
    begin, end = _limits(raw, boundary.encode("ascii", "replace"))
    partial = target.with_suffix(".whole")
    with raw.open("r+b") as source, partial.open("wb") as file:
        source.truncate(end)
        source.seek(begin)
        shutil.copyfileobj(source, file)
    partial.replace(target)


def _limits(raw: Path, boundary: bytes) -> tuple[int, int]:
    """Byte offsets at which the part begins, and behind its last byte."""
    size = raw.stat().st_size
    with raw.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    first = head.find(b"--" + boundary)
    begin = head.find(b"\r\n\r\n", first)
    last = tail.rfind(b"\r\n--" + boundary + b"--")
    if first < 0 or begin < 0 or last < 0:
        raise PassingError("the transfer stopped half-way")
    return begin + 4, size - len(tail) + last
