"""A cine study in, a checked cardiac report out: the command line of configs/clinical.json.

    python -m scripts.clinical STUDY --model models/model.pt --output_dir OUT

STUDY is a folder of DICOM files, a 4-D NIfTI file or an ACDC patient's folder; in its place a study can be fetched from a
PACS, or a folder be watched. The exit code is 0; 2 if a hard check failed, so that the report has no numbers; 1 if there is
no report, with the reason in one paragraph; 3 if there is one that could not be stored in the PACS. ``--self_test`` tries
the installation on a phantom.
"""

import argparse
import logging.config
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from scripts.clinical.pacs.command import OPTIONS, add_options, add_sources, run
from scripts.clinical.workflow import FAILED_EXIT_CODE
from scripts.errors import InputError, input_error_in
from scripts.export import BACKENDS, PYTORCH

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "model.pt"


def parser() -> argparse.ArgumentParser:
    known = argparse.ArgumentParser(
        prog="python -m scripts.clinical", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = known.add_mutually_exclusive_group(required=True)
    source.add_argument("study", metavar="STUDY", nargs="?")
    add_sources(source)
    known.add_argument("--model", default=str(MODEL), help="with its model.json beside it")
    known.add_argument("--output_dir", help="the folder to make")
    known.add_argument("--series", type=int, help="number of the DICOM series, where several could be meant")
    known.add_argument("--ed_phase", type=int, help="end-diastole, counted from 1; default: largest LV volume")
    known.add_argument("--es_phase", type=int, help="end-systole, counted from 1; default: smallest LV volume")
    known.add_argument("--flips", action="store_true", help="average over mirror images; four times the time")
    known.add_argument("--pdf", action="store_true", help="print the report with a browser (Chromium)")
    known.add_argument(
        "--dicom",
        action=argparse.BooleanOptionalAction,
        help="masks and numbers as DICOM SEG and SR, too; default: where the study is DICOM",
    )
    known.add_argument("--include_phi", action="store_true", help="say in the report who the patient is")
    known.add_argument("--overwrite", action="store_true", help="replace a former report")
    known.add_argument("--precision", default="auto")
    known.add_argument("--backend", choices=BACKENDS, default=PYTORCH, help="what computes the network")
    known.add_argument("--batch_size", type=int, default=16, help="slices in one pass")
    add_options(known)
    return known


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--self_test" in arguments:
        from scripts.clinical.self_test import main as test  # with its phantom, which a report needs not

        return test(arguments, MODEL, main)
    options = parser().parse_args(arguments)
    settings = {name: value for name, value in vars(options).items() if name not in OPTIONS and value is not None}
    logging.config.fileConfig(ROOT / "configs" / "logging.conf", disable_existing_loggers=False)
    try:
        return run(options, partial(report, settings))
    except InputError as error:
        print(f"\nError: {error}", file=sys.stderr)
        return 1


def report(settings: Mapping[str, Any], study: Path, output_dir: Path) -> int:
    """Run the workflow on one study; the exit code.

    Raises:
        InputError: there is no report, and why.
    """
    # Absolute, so that no path looks like a reference or an expression of a config.
    paths = {"study": study, "output_dir": output_dir, "model": settings["model"]}
    try:
        workflow = ConfigWorkflow(
            str(ROOT / "configs" / "clinical.json"),
            workflow_type="infer",
            logging_file=str(ROOT / "configs" / "logging.conf"),
            bundle_root=str(ROOT),
            **{**settings, **{name: os.path.abspath(path) for name, path in paths.items()}},
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except SystemExit as end:
        if end.code == FAILED_EXIT_CODE:
            return FAILED_EXIT_CODE
        raise
    except Exception as error:
        known = input_error_in(error)
        if known is None:
            raise
        raise known from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
