"""Studies that the tests of the clinical room read."""

import shutil
from pathlib import Path

import pytest

from scripts.data.dicom_phantom import write_dicom_phantom


@pytest.fixture(scope="session")
def dicom_phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom_phantom(tmp_path_factory.mktemp("dicom") / "study", smallest=True)


@pytest.fixture
def dicom_study(dicom_phantom: Path, tmp_path: Path) -> Path:
    """A copy of the phantom's study, to change."""
    return Path(shutil.copytree(dicom_phantom, tmp_path / "study"))
