"""Errors that a user can act on."""

import sys
from types import TracebackType


class InputError(ValueError):
    """Something given to the bundle cannot be used. The message is one paragraph: what was expected, what came, what
    to do."""


def input_error_in(error: BaseException | None) -> InputError | None:
    """The ``InputError`` among ``error`` and its causes, since MONAI wraps what a config's components raise."""
    while error is not None:
        if isinstance(error, InputError):
            return error
        error = error.__cause__ or error.__context__
    return None


def print_input_errors_plainly() -> None:
    """On a command line, end with the paragraph of an ``InputError`` instead of the stack that led to it."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = input_error_in(error)
        if known is None:
            sys.__excepthook__(kind, error, trace)
        else:
            print(f"\nError: {known}", file=sys.stderr)

    sys.excepthook = hook
