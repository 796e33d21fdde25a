"""A study from the PACS, its report, and the results back: with nothing left behind but the report."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from scripts.clinical.pacs.dicomweb import DicomWeb
from scripts.errors import InputError

logger = logging.getLogger(__name__)
OBJECTS = "dicom/*.dcm"
"""What of a report goes to the PACS."""
UNSTORED_EXIT_CODE = 3
"""Of a report that is there and is not, or not wholly, in the PACS."""


class Store(Protocol):
    """Where a result goes to: ``DicomWeb`` or ``DicomStore``."""

    def store(self, path: Path) -> None: ...


class UnstoredError(InputError):
    """The report is whole and in its folder; objects of it are not in the PACS."""


def report_of_uid(study_uid: str, source: DicomWeb, report: Callable[[Path], int]) -> int:
    """Fetch a study into a temporary folder for ``report``, whose exit code is returned; the folder is removed.

    Raises:
        InputError: the study could not be fetched, then ``report`` is not called; or what ``report`` raises.
    """
    with tempfile.TemporaryDirectory(prefix="clinical-") as folder:  # for the owner's eyes only
        count = source.fetch_study(study_uid, Path(folder))
        print(f"{count} objects fetched.")
        return report(Path(folder))


def store_report(report: Path, store: Store) -> int:
    """Store the DICOM objects of a report's folder; how many. None in a report without numbers is no error.

    Raises:
        InputError: there is no report.
        UnstoredError: at the first object that fails, with the reason, how many are stored and what to do.
    """
    if not (report / "report.json").is_file():
        raise InputError("there is no report.json in the folder given: give the --output_dir of a finished report.")
    objects = sorted(report.glob(OBJECTS))
    for number, path in enumerate(objects):
        try:
            store.store(path)
        except InputError as error:
            raise UnstoredError(
                f"{number} of {len(objects)} results stored; {error} The report is whole and stays where it is. Store it "
                "again, which does no harm to what is stored, with: python -m scripts.clinical --store_report REPORT "
                "(its folder), with the same --store options."
            ) from None
    print(f"{len(objects)} DICOM objects stored." if objects else "Nothing to store: the report has no DICOM objects.")
    return len(objects)
