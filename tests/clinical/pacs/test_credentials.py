"""Credentials come from the environment or a private file, fit together, and are never told."""

import json
from pathlib import Path

import pytest

from scripts.clinical.pacs.credentials import Credentials, read_credentials
from scripts.errors import InputError


def write(path: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    path.write_text(text)
    path.chmod(mode)
    return {"CLINICAL_PACS_CREDENTIALS": str(path)}


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    environment = write(tmp_path / "c.json", json.dumps({"user": "a", "password": "planted"}))
    got = read_credentials(environment | {"CLINICAL_PACS_PASSWORD": "b", "PATH": "x"})
    assert (got.user, got.password, got.secret) == ("a", "b", True)
    assert not read_credentials({}).secret


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ('{"token": "planted"}', 0o644, "may be read by others .mode 644"),
        ('{"token": "planted"', 0o600, "is not understood"),
        ('["planted"]', 0o600, "is not understood"),
        ('{"planted": "planted"}', 0o600, r"holds 1 unknown name\(s\)"),
        ('{"token": "planted", "user": "u", "password": "planted"}', 0o600, "a token and a password"),
        ('{"user": "planted"}', 0o600, "only one of user and password"),
        ('{"token": "planted\\nX: y"}', 0o600, "no HTTP header can carry"),
        ('{"key": "planted"}', 0o600, "a key without its certificate"),
        ('{"certificate": "planted"}', 0o600, "named by 'certificate' of the credentials does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_quoted(text: str, mode: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_credentials(write(tmp_path / "c.json", text, mode))
    assert "planted" not in str(raised.value)


def test_an_absent_file_and_a_certificate_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be found"):
        read_credentials({"CLINICAL_PACS_CREDENTIALS": str(tmp_path / "none")})
    write(tmp_path / "c.pem", "planted")
    with pytest.raises(InputError, match="expected PEM files"):
        Credentials(certificate=str(tmp_path / "c.pem")).tls()
