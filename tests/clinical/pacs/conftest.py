"""A small PACS that holds the phantom, and results to store."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from cinestudies import short_axis_files
from pacs import Pacs, files_of, running
from pydicom.uid import generate_uid

from scripts.clinical.pacs.retries import Patience

HASTY = Patience(attempts=3, wait_s=0.01, connect_s=2.0, silence_s=0.3, object_s=0.5)
"""Bounded as in service, and quick."""


@pytest.fixture(scope="session")
def patience() -> Patience:
    return HASTY


@pytest.fixture(scope="session")
def phantom_files(dicom_phantom: Path) -> dict[str, Path]:
    return files_of(dicom_phantom)


@pytest.fixture
def pacs(phantom_files: dict[str, Path]) -> Iterator[Pacs]:
    with running(Pacs(dict(list(phantom_files.items())[:6]))) as server:
        yield server


@pytest.fixture(scope="session")
def study_uid(dicom_phantom: Path) -> str:
    return str(next(short_axis_files(dicom_phantom))[1].StudyInstanceUID)


@pytest.fixture
def finished_report(dicom_phantom: Path, tmp_path: Path) -> Path:
    """A report's folder with two DICOM objects: images under new UIDs stand for results."""
    folder = tmp_path / "report"
    (folder / "dicom").mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    for name, (_, dataset) in zip(("ed.seg", "report.sr"), short_axis_files(dicom_phantom), strict=False):
        write_result(dataset, folder / "dicom" / f"{name}.dcm")
    return folder


def write_result(dataset: pydicom.Dataset, path: Path) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.save_as(path)
