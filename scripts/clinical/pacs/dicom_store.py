"""Results by C-STORE, for a PACS without DICOMweb; with TLS where credentials name certificates."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from scripts.clinical.pacs.credentials import Credentials
from scripts.clinical.pacs.retries import PassingError, Patience
from scripts.data.dicom.files import quiet_pydicom
from scripts.errors import InputError

REMEDY = "It was not stored."
TRANSIENT = 0x02
"""Result of a rejected association that a later try may cure."""


@dataclass(frozen=True)
class DicomNode:
    """Where C-STORE goes to.

    Args:
        host, port: of the PACS.
        called, calling: AE titles of the PACS and of this bundle, 1 to 16 printable characters.
        tls: DICOM TLS, with the authorities and the client certificate of the credentials.
    """

    host: str
    port: int
    called: str = "ANY-SCP"
    calling: str = "CLINICAL"
    tls: bool = False

    def __post_init__(self) -> None:
        for title in (self.called, self.calling):
            if not (title.strip() and len(title) <= 16 and title.isascii() and title.isprintable()):
                raise InputError("an AE title is expected to have 1 to 16 ASCII characters; correct it.")

    @classmethod
    def from_address(cls, address: str, called: str, calling: str, tls: bool) -> "DicomNode":
        """Of ``HOST:PORT``.

        Raises:
            InputError: not of that form.
        """
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16 or "@" in host:
            raise InputError("--dicom_node is expected to be HOST:PORT, such as pacs.hospital:104; correct it.")
        return cls(host.strip("[]"), int(port), called, calling, tls)


class DicomStore:
    """C-STORE to one node, an association for each object.

    Args:
        node: where to. credentials: certificates for TLS. patience: how long it is waited for.
    """

    def __init__(self, node: DicomNode, credentials: Credentials, patience: Patience | None = None) -> None:
        self.node = node
        self.patience = patience or Patience()
        self.context = credentials.tls() if node.tls else None

    def store(self, path: Path) -> None:
        """Store one DICOM file; to store it twice does no harm, since its UID stays.

        Raises:
            InputError: the PACS refused it, or failed for good.
        """
        with quiet_pydicom(), _quiet_pynetdicom():
            dataset = dcmread(path)
            self.patience.keep_trying(f"storing {path.name}", lambda: self._store(dataset, path.name), REMEDY)

    def _store(self, dataset: Dataset, name: str) -> None:
        with self._association(dataset) as association:
            # Silence is bounded by pynetdicom, all in all by this: a PACS that trickles is cut off.
            limit = threading.Timer(self.patience.object_s, association.abort)
            limit.daemon = True
            limit.start()
            try:
                answer = association.send_c_store(dataset)
            except (ValueError, AttributeError, RuntimeError):  # their text may quote the object
                if not association.is_established:
                    raise PassingError("the PACS hung up") from None
                raise InputError(f"{name} cannot be sent: the PACS does not accept its kind or encoding.") from None
            finally:
                limit.cancel()
        status: int | None = answer.Status if "Status" in answer else None
        if status is None:
            raise PassingError("the PACS did not confirm in time, or hung up")
        if status & 0xFF00 == 0xA700:
            raise PassingError(f"the PACS is out of resources (status {status:04X}H)")
        if status != 0 and status & 0xF000 != 0xB000:  # Bxxx: stored, with a warning
            raise InputError(f"the PACS refused {name} (status {status:04X}H): ask its administrator what it accepts.")

    @contextmanager
    def _association(self, dataset: Dataset) -> Iterator[Association]:
        node, patience = self.node, self.patience
        entity = AE(node.calling)
        entity.connection_timeout = patience.connect_s
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = patience.silence_s
        contexts: list[Any] = [build_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)]
        tls: Any = {"tls_args": (self.context, node.host)} if self.context else {}
        association = entity.associate(node.host, node.port, contexts, ae_title=node.called, **tls)
        try:
            if not association.is_established:
                _explain(association)
            yield association
        finally:
            if association.is_established:
                association.release()
            entity.shutdown()


def _explain(association: Association) -> None:
    """Why there is no association.

    Raises:
        PassingError: it may be gone at the next try.
        InputError: it will not.
    """
    answer: Any = association.acceptor.primitive
    if association.is_rejected:
        if answer is not None and answer.result == TRANSIENT:
            raise PassingError("the PACS is busy and rejected the association for now")
        raise InputError(
            "the PACS rejected the association for good: it must know the AE titles (--called_ae, --calling_ae) and this "
            "machine; correct them, or ask its administrator."
        )
    if answer is not None and answer.result == 0:
        raise InputError("the PACS accepts no object of this kind or encoding: ask its administrator to permit it.")
    raise PassingError("the PACS could not be reached, hung up, or did not agree on TLS")


@contextmanager
def _quiet_pynetdicom() -> Iterator[None]:
    """Its messages may quote objects; what matters comes as an error of ours."""
    logger = logging.getLogger("pynetdicom")
    before, logger.disabled = logger.level, False
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
