"""Make a data list, check every file that it names, and show some of them.

    python -m scripts.data.prepare acdc --dataset_dir ACDC --labeled_fraction 0.1 --output_dir OUT
    python -m scripts.data.prepare voc --dataset_dir VOCdevkit --split official --output_dir OUT
    python -m scripts.data.prepare folder --dataset_dir MINE --data_list FILE --output_dir OUT
    python -m scripts.data.prepare --from_dicom STUDIES --output_dir OUT        (see from_dicom.py)

Writes ``data_list.json`` (for ``--split`` of a training), ``report.md``, ``report.json`` and ``samples.png``. Ends with 0,
with 1 if an error was found (then only the reports are written), with 2 if no list could be made.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.configuration import flag
from scripts.data import acdc, cityscapes, folder, voc
from scripts.data.image_split import read_data_list
from scripts.data.prepare.checks import check_data_list
from scripts.data.prepare.report import write_report
from scripts.data.prepare.sheet import draw_sheet
from scripts.errors import InputError, exit_code_of
from scripts.files import write_json

DATA_LIST, SHEET = "data_list.json", "samples.png"
FOUND_ERRORS, UNUSABLE = 1, 2

CHOICES: dict[str, dict[str, Any]] = {
    "labeled_images": {"type": int, "metavar": "N", "help": "how many training images are labelled"},
    "labeled_patients": {"type": int, "metavar": "N", "help": "how many training patients are labelled"},
    "validation_fraction": {"type": float, "metavar": "F", "help": "share of a drawn split that is for validation"},
    "unlabeled_cine": {"metavar": "true|false", "help": "every phase of unlabelled patients, not ED and ES only"},
    "num_classes": {"type": int, "metavar": "K", "help": "number of classes, otherwise found"},
    "image_channels": {"type": int, "choices": (1, 3), "help": "1 grey or 3 RGB, otherwise found"},
    "void_values": {"type": int, "nargs": "+", "metavar": "V", "help": "values of label files that belong to no class"},
    "background": {"metavar": "true|false", "help": "whether class 0 is background (default true)"},
    "size": {"type": int, "nargs": 2, "metavar": ("H", "W"), "help": "training size in pixels, otherwise found"},
    "spacing": {"type": float, "nargs": 2, "metavar": ("X", "Y"), "help": "grid of volumes in mm, otherwise found"},
}
"""Options of single data sets, named as the arguments of their ``data_list``."""
FLAGS = ("unlabeled_cine", "background")


@dataclass(frozen=True)
class DataSet:
    """What a data set's subcommand is made of: its function, which options it has, a line of help."""

    data_list: Callable[..., dict]
    options: tuple[str, ...]
    help: str


DATA_SETS = {
    "acdc": DataSet(
        acdc.data_list,
        ("labeled_patients", "validation_fraction", "unlabeled_cine"),
        "ACDC, or the phantom: cardiac cine MR",
    ),
    "voc": DataSet(
        voc.data_list, ("labeled_images",), "PASCAL VOC 2012 with augmented masks; --split paper or official"
    ),
    "cityscapes": DataSet(cityscapes.data_list, ("labeled_images",), "Cityscapes; --split paper or official"),
    "folder": DataSet(
        folder.data_list,
        (
            "labeled_images",
            "validation_fraction",
            "num_classes",
            "image_channels",
            "void_values",
            "background",
            "size",
            "spacing",
        ),
        "own images and volumes in the folders images and labels",
    ),
}


def parser() -> argparse.ArgumentParser:
    """One command line for all: common arguments and a subcommand a data set."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dataset_dir", type=Path, required=True, metavar="DIR", help="folder of the data set")
    common.add_argument("--output_dir", type=Path, required=True, metavar="OUT", help="folder to write to")
    common.add_argument("--split", metavar="NAME|FILE", help="a split that the data set knows, or a split's file")
    common.add_argument("--labeled_fraction", type=float, metavar="F", help="share of the training items labelled")
    common.add_argument("--seed", type=int, metavar="S", help="of what is drawn (default 0)")
    common.add_argument("--data_list", type=Path, metavar="FILE", help="check this list as it is, make none")
    common.add_argument("--samples", type=int, default=8, metavar="N", help="pictures on the sheet (default 8)")
    common.add_argument("--no_pictures", action="store_true", help=f"write no {SHEET}")
    common.add_argument("--workers", type=int, metavar="N", help="threads that read (default: one a processor)")
    whole = argparse.ArgumentParser(
        prog="python -m scripts.data.prepare", description="Make and check a data list; or --from_dicom."
    )
    sets = whole.add_subparsers(dest="data_set", required=True, metavar="{" + ",".join(DATA_SETS) + "}")
    for name, data_set in DATA_SETS.items():
        one = sets.add_parser(name, parents=[common], help=data_set.help, description=data_set.help)
        for option in data_set.options:
            one.add_argument(f"--{option}", **CHOICES[option])
    return whole


def make_data_list(options: argparse.Namespace) -> dict:
    """The data list that the command line asks for: made by the data set's function, or read as it is.

    Raises:
        InputError: whatever that function finds; a list to be checked that comes with choices, or without class names.
    """
    data_set = DATA_SETS[options.data_set]
    names = ("split", "labeled_fraction", "seed", *data_set.options)
    chosen = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    chosen |= {name: flag(chosen[name], name) for name in FLAGS if name in chosen}
    if options.data_list is None:
        return data_set.data_list(options.dataset_dir, **chosen)
    if chosen:
        raise InputError(
            f"--data_list {options.data_list} is checked as it is, so --{' and --'.join(chosen)} would change nothing: "
            f"leave one out; to cut a list anew give it as --split {options.data_list}."
        )
    data_list = read_data_list(options.data_list)
    if "labels" not in data_list:
        raise InputError(
            f"data list {options.data_list} does not name its classes ('labels'), so label values cannot be checked: add "
            '"labels": {"0": "background", ...}, or give it as --split to the data set folder, which finds them.'
        )
    return data_list


def run(options: argparse.Namespace) -> int:
    """Make, check, report, write; the exit code.

    Raises:
        InputError: as ``make_data_list``; numbers out of range; ``output_dir`` cannot be written.
    """
    for name in ("workers", "samples"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be a whole number of at least 1, got {value}.")
    data_list = make_data_list(options)
    findings = check_data_list(data_list, options.dataset_dir, options.workers)
    write_report(options.output_dir, data_list, findings)
    if findings.errors:
        old = " (that in it is of an earlier run)" if (options.output_dir / DATA_LIST).exists() else ""
        print(f"Written to {options.output_dir}: report.md, report.json. No {DATA_LIST}{old}: remove the errors first.")
        return FOUND_ERRORS
    write_json(options.output_dir / DATA_LIST, data_list)
    written = [DATA_LIST, "report.md", "report.json"]
    if not options.no_pictures:
        draw_sheet(options.output_dir / SHEET, data_list, options.dataset_dir, findings, options.samples)
        written.append(SHEET)
    print(f"Written to {options.output_dir}: {', '.join(written)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of :func:`run`; ``arguments`` without the program's name."""
    given = sys.argv[1:] if arguments is None else list(arguments)

    def prepare() -> int:
        if not any(argument.startswith("--from_dicom") for argument in given):
            return run(parser().parse_args(given))
        from scripts.data.prepare import from_dicom  # with its decoders, which the others need not

        return run(parser().parse_args(from_dicom.prepare(from_dicom.parser().parse_args(given))))

    return exit_code_of(prepare, UNUSABLE)


if __name__ == "__main__":
    sys.exit(main())
