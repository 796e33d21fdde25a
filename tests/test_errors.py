"""Errors that a user can act on: found among their wrappings, and shown without the stack."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.errors import InputError, input_error_in, root_cause

ROOT = Path(__file__).parents[1]


def wrapped(how: str) -> Exception:
    """An ``InputError`` as MONAI raises it on: within errors of its own."""
    try:
        try:
            raise InputError("give a folder")
        except InputError as error:
            if how == "cause":
                raise RuntimeError("applying transform") from error
            raise RuntimeError("applying transform")  # noqa: B904
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("how", ["cause", "context"])
def test_an_input_error_is_found_among_the_causes(how: str) -> None:
    found = input_error_in(wrapped(how))
    assert isinstance(found, InputError)
    assert str(found) == "give a folder"


def test_where_there_is_none_none_is_found() -> None:
    assert input_error_in(None) is None
    assert input_error_in(ValueError("other")) is None


def test_a_ring_of_causes_ends() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert input_error_in(one) is None
    assert root_cause(one) == "two"


def test_the_root_cause_is_the_first_on_one_short_line() -> None:
    assert root_cause(wrapped("cause")) == "give a folder"
    assert root_cause(OSError("the disk\n  said no. ")) == "the disk said no"
    assert root_cause(EOFError()) == "EOFError"
    assert len(root_cause(ValueError("x" * 999))) == 300


@pytest.mark.parametrize(
    ("error", "shown", "hidden"),
    [("InputError('give a folder')", "\nError: give a folder\n", "Traceback"), ("KeyError('bug')", "Traceback", "Error: give")],
)  # fmt: skip
def test_a_command_ends_with_the_paragraph_and_with_the_stack_for_other_errors(
    error: str, shown: str, hidden: str
) -> None:
    program = (
        "from scripts.errors import InputError, print_input_errors_plainly\n"
        "print_input_errors_plainly()\n"
        f"try: raise {error}\n"
        "except Exception as e: raise RuntimeError('applying transform') from e\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert shown in done.stderr
    assert hidden not in done.stderr
