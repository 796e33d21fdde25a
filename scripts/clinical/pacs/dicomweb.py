"""A study by DICOMweb: found by QIDO-RS, fetched by WADO-RS onto the disk, results stored by STOW-RS."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread
from requests.auth import AuthBase

from scripts.clinical.pacs.credentials import Credentials
from scripts.clinical.pacs.multipart import extract_part
from scripts.clinical.pacs.retries import PassingError, Patience
from scripts.data.dicom.files import quiet_pydicom
from scripts.errors import InputError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
PIECE = 2**16
"""Bytes that are held of an answer."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP states that a second try may cure."""
STUDY_REMEDY = "Nothing was kept of the study. Look whether the PACS runs and answers at --dicomweb, then start again."
MODALITY, SERIES_UID, SOP_UID = "00080060", "0020000E", "00080018"


@dataclass(frozen=True)
class BearerToken(AuthBase):
    """Adds the token to a request, and drops what a .netrc might have said."""

    credentials: Credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.credentials.token}"
        return request


class DicomWeb:
    """A DICOMweb service.

    Args:
        url: its root, such as ``https://pacs.hospital/dicom-web``.
        credentials: sent with each request; secret ones only to https or this machine.
        patience: how long it is waited for.

    Raises:
        InputError: a URL that is none, or one that holds a password; secret credentials to plain http.
    """

    def __init__(self, url: str, credentials: Credentials, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        _check_url(url, credentials)
        self.url = url.rstrip("/")
        session = self.session = requests.Session()
        session.trust_env = False  # no proxy, no .netrc: credentials come from where the documentation says
        session.headers["Accept"] = "application/dicom+json"
        if credentials.token:
            session.auth = BearerToken(credentials)
        elif credentials.user and credentials.password:
            session.auth = (credentials.user, credentials.password)
        if credentials.certificate:
            session.cert = (credentials.certificate, credentials.key) if credentials.key else credentials.certificate
        if credentials.authorities:
            session.verify = credentials.authorities
        timeout = (self.patience.connect_s, self.patience.silence_s)
        # UIDs with leading zeros are invalid and exist: they are passed on as they are.
        self.client = DICOMwebClient(self.url, session, timeout=timeout, permissive_uid=True)
        self.client.set_http_retry_params(retry=False)
        self.timeout = timeout

    def fetch_study(self, study_uid: str, folder: Path) -> int:
        """Write the MR objects of a study into ``folder``, named by number; how many.

        Raises:
            InputError: no such study, no MR images in it, or the PACS failed for good.
        """
        check_uid(study_uid)
        instances = self._instances(study_uid)
        logger.info("fetching %d MR objects", len(instances))
        for number, (series_uid, sop_uid) in enumerate(instances, 1):
            path = folder / f"{number:06d}.dcm"
            address = f"{self.url}/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
            self._try(f"fetching object {number} of {len(instances)}", partial(self._fetch, address, path))
            _check_is(path, sop_uid, number)
        return len(instances)

    def _instances(self, study_uid: str) -> list[tuple[str, str]]:
        """(SeriesInstanceUID, SOPInstanceUID) of every MR object, each once."""
        series = self._search("asking for the study", SERIES_UID, self.client.search_for_series, study_uid)
        if not series:
            raise InputError("the PACS knows no study of the --study_uid given: correct it, or ask another PACS.")
        wanted = [check_uid(uid) for uid, one in series.items() if _value(one, MODALITY) == "MR"]
        found = []
        for uid in wanted:
            objects = self._search("asking for a series", SOP_UID, self.client.search_for_instances, study_uid, uid)
            found += [(uid, check_uid(sop_uid)) for sop_uid in objects]
        if not found:
            raise InputError(f"the study holds no MR image ({len(series)} series of other kinds): give another one.")
        return found

    def _search(self, what: str, tag: str, search: Callable[..., Any], *uids: str) -> dict[str, dict[str, Any]]:
        """All answers of a search by the UID in ``tag``, page by page: until one brings nothing new, since there are servers
        that give all at once and ignore the offset."""
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = self._try(what, partial(search, *uids, offset=len(found))) or []
            new = {_value(item, tag): item for item in page if _value(item, tag) not in found}
            if not new:
                return found
            found |= new

    def _fetch(self, address: str, path: Path) -> None:
        """Stream one object to ``path``; memory does not grow with its size."""
        raw = path.with_suffix(".part")
        until = time.monotonic() + self.patience.object_s
        headers = {
            "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',
            "Accept-Encoding": "identity",
        }
        try:
            with self.session.get(address, headers=headers, stream=True, timeout=self.timeout) as response:
                response.raise_for_status()
                with raw.open("wb") as file:
                    while piece := response.raw.read1(PIECE):
                        file.write(piece)
                        if time.monotonic() > until:
                            raise PassingError(f"it took longer than {self.patience.object_s:g} s")
                kind = response.headers.get("Content-Type", "")
            extract_part(raw, kind, path)
        finally:
            raw.unlink(missing_ok=True)

    def store(self, path: Path) -> None:
        """Store one DICOM file; to store it twice does no harm, since its UID stays.

        Raises:
            InputError: the PACS refused it, or failed for good.
        """
        with quiet_pydicom():
            dataset = dcmread(path)
            answer = self._try(f"storing {path.name}", lambda: self.client.store_instances([dataset]))
        refused = answer.get("FailedSOPSequence")
        if refused:
            reason = refused[0].get("FailureReason")
            code = f" (reason {int(reason):04X}H)" if reason is not None else ""
            raise InputError(f"the PACS refused {path.name}{code}: ask its administrator what it accepts.")
        stored = [item.get("ReferencedSOPInstanceUID") for item in answer.get("ReferencedSOPSequence", [])]
        if dataset.SOPInstanceUID not in stored:
            raise InputError(f"the PACS did not confirm that it stored {path.name}: look there, or store it again.")

    def _try(self, what: str, action: Callable[[], Result]) -> Result:
        def once() -> Result:
            with _in_our_words():
                return action()

        return self.patience.keep_trying(what, once, STUDY_REMEDY if "storing" not in what else "It was not stored.")


NOT_IN_TIME = (requests.Timeout, urllib3.exceptions.TimeoutError)
CUT_SHORT = (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError)
NO_DICOMWEB = (requests.exceptions.RequestException, ValueError, TypeError, KeyError, AttributeError, IndexError)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn what requests, urllib3 and dicomweb-client raise into errors of ours, which quote neither server nor request."""
    try:
        yield
    except (InputError, PassingError):
        raise
    except requests.HTTPError as error:
        _raise_for(error.response.status_code if error.response is not None else 0)
    except requests.exceptions.SSLError:
        raise InputError(
            "the PACS and this machine did not agree on TLS: expected a certificate that 'authorities' of the credentials "
            "signs, for this host name, and the client certificate that the PACS asks for."
        ) from None
    except NOT_IN_TIME:
        raise PassingError("the PACS did not answer in time") from None
    except CUT_SHORT:
        raise PassingError("the transfer stopped half-way") from None
    except requests.ConnectionError:
        raise PassingError("the PACS could not be reached, or hung up") from None
    except NO_DICOMWEB:
        raise InputError("the PACS gave an answer that is no DICOMweb: correct --dicomweb.") from None
    except OSError as error:
        raise InputError(f"the study could not be written to the disk: {error.strerror}. Free some space.") from None


def _raise_for(status: int) -> None:
    phrase = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
    if status in PASSING:
        raise PassingError(f"the PACS answered {phrase}") from None
    remedies = {
        401: f"the PACS refuses the login: correct the credentials, see {_DOCUMENT}",
        403: f"the PACS knows who asks and forbids it: ask for the right, see {_DOCUMENT}",
        404: "the PACS has nothing there: correct --dicomweb or --study_uid",
    }
    raise InputError(f"{remedies.get(status, 'the PACS refused')} (HTTP {phrase}).") from None


_DOCUMENT = "docs/deploy.md"


def check_uid(uid: str) -> str:
    """``uid`` itself.

    Raises:
        InputError: not of digits and dots, at most 64. Leading zeros, which are invalid and exist, pass.
    """
    if not 0 < len(uid) <= 64 or not uid.isascii() or not all(part.isdigit() for part in uid.split(".")):
        raise InputError("a UID is expected to be at most 64 digits and dots, such as 1.2.840.1; correct --study_uid.")
    return uid


def _check_url(url: str, credentials: Credentials) -> None:
    """Messages do not quote the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise InputError("--dicomweb is expected to be a URL such as https://pacs.hospital/dicom-web.")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"--dicomweb holds a user or password, which others can see: see {_DOCUMENT} for where they go."
        )
    if parts.scheme == "http" and credentials.secret and not _is_this_machine(host):
        raise InputError("--dicomweb is plain http, which would show the token or password to all: give https.")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _value(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _check_is(path: Path, sop_uid: str, number: int) -> None:
    header = Dataset()
    try:
        with quiet_pydicom():
            header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    except Exception:  # pydicom raises whatever reading something else leads to
        logger.debug("object %d is not DICOM", number)
    if str(header.get("SOPInstanceUID", "")) != sop_uid:
        raise InputError(f"object {number} of the study came as something else than was asked for. {STUDY_REMEDY}")
