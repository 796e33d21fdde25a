"""The options of ``python -m scripts.clinical`` that have to do with a PACS or a watched folder, and what they do."""

import argparse
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

from scripts.clinical.pacs.credentials import Credentials, read_credentials
from scripts.clinical.pacs.dicom_store import DicomNode, DicomStore
from scripts.clinical.pacs.dicomweb import DicomWeb
from scripts.clinical.pacs.exchange import UNSTORED_EXIT_CODE, Store, UnstoredError, report_of_uid, store_report
from scripts.clinical.pacs.watch import Watch
from scripts.clinical.study import read_study
from scripts.errors import InputError


class Source(Protocol):
    """Where options that exclude each other are added: argparse's group of them."""

    def add_argument(self, *names: str, metavar: str, help: str) -> object: ...


OPTIONS = (
    *("study", "output_dir", "study_uid", "watch", "store_report", "quiet_s", "give_up_s", "until_empty"),
    *("dicomweb", "store", "dicom_node", "dicom_tls", "called_ae", "calling_ae"),
)
"""What is handled here; all others are the workflow's."""
Report = Callable[[Path, Path], int]
"""Of a study, into a folder: the exit code."""


def add_sources(group: Source) -> None:
    """What may stand in place of STUDY."""
    group.add_argument("--study_uid", metavar="UID", help="fetch the study with this StudyInstanceUID from --dicomweb")
    group.add_argument("--watch", metavar="DIR", help="report every study that is dropped into DIR")
    group.add_argument("--store_report", metavar="REPORT", help="store the results of a finished report again")


def add_options(known: argparse.ArgumentParser) -> None:
    group = known.add_argument_group("PACS", "Credentials come from the environment or a file: see docs/deploy.md.")
    group.add_argument("--dicomweb", metavar="URL", help="root of the PACS's DICOMweb service")
    group.add_argument("--store", choices=["dicomweb", "dicom"], help="store the results: by STOW-RS or by C-STORE")
    group.add_argument("--dicom_node", metavar="HOST:PORT", help="where C-STORE goes to")
    group.add_argument("--dicom_tls", action="store_true", help="C-STORE over TLS")
    group.add_argument("--called_ae", default="ANY-SCP", help="AE title of the PACS")
    group.add_argument("--calling_ae", default="CLINICAL", help="AE title of this command")
    group = known.add_argument_group("watching")
    group.add_argument("--quiet_s", type=float, default=30.0, help="a study is looked at when unchanged so long")
    group.add_argument(
        "--give_up_s", type=float, default=300.0, help="and has failed when still incomplete after so long"
    )
    group.add_argument("--until_empty", action="store_true", help="end when no study is left, with 1 if any failed")


def run(options: argparse.Namespace, report: Report) -> int:
    """Do what ``options`` ask for, around ``report``; the exit code.

    Raises:
        InputError: before anything is fetched or computed, options that do not go together; later, what failed.
    """
    credentials = read_credentials() if options.dicomweb or options.dicom_node else Credentials()
    web = DicomWeb(options.dicomweb, credentials) if options.dicomweb else None
    store = _store(options, credentials, web)
    if options.store_report:
        if store is None:
            raise InputError("--store_report needs --store: say how to store, by dicomweb or dicom.")
        store_report(Path(options.store_report), store)
        return 0
    if not options.output_dir:
        raise InputError("--output_dir is missing: give the folder to make.")
    before = signal.signal(signal.SIGTERM, _end)
    try:
        return _report(options, Path(options.output_dir).absolute(), report, web, store)
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(
    options: argparse.Namespace, output_dir: Path, report: Report, web: DicomWeb | None, store: Store | None
) -> int:
    if options.watch:
        return _watch(options, output_dir, report, store)
    if not options.study_uid:
        return _then_store(report(Path(options.study).absolute(), output_dir), output_dir, store)
    if web is None:
        raise InputError("--study_uid needs --dicomweb: give the URL of the PACS's DICOMweb service.")
    code = report_of_uid(options.study_uid, web, lambda study: report(study, output_dir))
    return _then_store(code, output_dir, store)


def _store(options: argparse.Namespace, credentials: Credentials, web: DicomWeb | None) -> Store | None:
    if options.store == "dicomweb" and web is None:
        raise InputError("--store dicomweb needs --dicomweb: give the URL of the PACS's DICOMweb service.")
    if options.store == "dicom":
        if not options.dicom_node:
            raise InputError("--store dicom needs --dicom_node HOST:PORT: give the address of the PACS.")
        node = DicomNode.from_address(options.dicom_node, options.called_ae, options.calling_ae, options.dicom_tls)
        return DicomStore(node, credentials)
    return web if options.store else None


def _then_store(code: int, output_dir: Path, store: Store | None) -> int:
    if store is None:
        return code
    try:
        store_report(output_dir, store)
    except UnstoredError as error:
        print(f"\nError: {error}", file=sys.stderr)
        return UNSTORED_EXIT_CODE
    return code


def _watch(options: argparse.Namespace, output_dir: Path, report: Report, store: Store | None) -> int:
    if not 0 <= options.quiet_s <= options.give_up_s:
        raise InputError("--quiet_s must be at least 0 and at most --give_up_s.")
    watch = Watch(
        Path(options.watch).absolute(),
        output_dir,
        report,
        partial(store_report, store=store) if store else None,
        partial(read_study, series_number=options.series),
        options.quiet_s,
        options.give_up_s,
    )
    return int(watch.run(options.until_empty) > 0)


def _end(number: int, frame: FrameType | None) -> None:
    """End as after an error, so that temporary folders are removed."""
    raise SystemExit(128 + number)
