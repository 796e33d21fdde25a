"""What a PACS wants to see before it lets someone in: from environment variables or a file, never from arguments."""

import json
import os
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from scripts.errors import InputError

PREFIX = "CLINICAL_PACS_"
FILE = PREFIX + "CREDENTIALS"
"""The environment variable that names a JSON file with the fields of ``Credentials``."""


@dataclass(frozen=True)
class Credentials:
    """Nothing of it is in ``repr``.

    Args:
        token: bearer token (DICOMweb).
        user, password: basic authentication (DICOMweb).
        certificate, key: PEM files of the client's certificate and its private key (DICOMweb and C-STORE).
        authorities: PEM file of those who may sign the PACS's certificate; None means those of the system.
    """

    token: str | None = field(default=None, repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    authorities: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token and (self.user or self.password):
            raise InputError("credentials hold a token and a password; expected one of the two: take one out.")
        if bool(self.user) != bool(self.password):
            raise InputError("credentials hold only one of user and password; expected both or neither.")
        for secret in (self.token, self.user, self.password):
            if secret and not (secret.isprintable() and secret.isascii()):
                raise InputError("a token, user or password holds a character that no HTTP header can carry.")
        if self.key and not self.certificate:
            raise InputError("credentials hold a key without its certificate: give both.")
        for name in ("certificate", "key", "authorities"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise InputError(f"the file named by '{name}' of the credentials does not exist: correct its path.")
        if self.key:
            _check_private(Path(self.key), "the private key")

    @property
    def secret(self) -> bool:
        """Whether they must not travel unencrypted."""
        return bool(self.token or self.password)

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context that checks the PACS's certificate and host name.

        Raises:
            InputError: a file that is no certificate, or a key that does not fit.
        """
        try:
            context = ssl.create_default_context(cafile=self.authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate:
                # An empty password instead of a question at the terminal, which a service has not.
                context.load_cert_chain(self.certificate, self.key, password="")
        except (OSError, ValueError):
            raise InputError(
                "a certificate, key or authorities file cannot be used: expected PEM files, a key that belongs to the "
                "certificate and no passphrase on it."
            ) from None
        return context


def read_credentials(environment: Mapping[str, str] = os.environ) -> Credentials:
    """From ``CLINICAL_PACS_TOKEN``, ``_USER``, ``_PASSWORD``, ``_CERTIFICATE``, ``_KEY`` and ``_AUTHORITIES``, or the file
    that ``CLINICAL_PACS_CREDENTIALS`` names; a variable wins over the file.

    Raises:
        InputError: a file that is absent, open to others or not understood; values that do not go together.
    """
    known = {one.name for one in fields(Credentials)}
    content = _read_file(Path(environment[FILE])) if environment.get(FILE) else {}
    if not set(content) <= known:
        raise InputError(
            f"the credentials file holds {len(set(content) - known)} unknown name(s); expected only {sorted(known)}."
        )
    given = {name: environment[PREFIX + name.upper()] for name in known if environment.get(PREFIX + name.upper())}
    return Credentials(**(content | given))


def _read_file(path: Path) -> dict[str, str]:
    _check_private(path, f"the file that {FILE} names")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the error would quote the file
        content = None
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f'the file that {FILE} names is not understood; expected JSON such as {{"token": "..."}}.')
    return content


def _check_private(path: Path, what: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        raise InputError(f"{what} cannot be found: correct the path.") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"{what} may be read by others (mode {mode & 0o777:o}); expected the owner alone: chmod 600.")
