"""Errors that a user can act on."""

import sys
from collections.abc import Callable, Iterator
from types import TracebackType


class InputError(ValueError):
    """Something given to the bundle cannot be used. The message is one paragraph: what was expected, what came, what
    to do."""


def input_error_in(error: BaseException | None) -> InputError | None:
    """The ``InputError`` among ``error`` and its causes, since MONAI wraps what a config's components raise."""
    return next((e for e in _chain(error) if isinstance(e, InputError)), None)


def root_cause(error: BaseException) -> str:
    """What the first of a chain of errors says, on one line of at most 300 characters."""
    *_, first = _chain(error)
    return " ".join(str(first).split())[:300].rstrip(" .") or type(first).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """``error``, what caused it, what caused that, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def exit_code_of(work: Callable[[], int], failed: int = 1) -> int:
    """What ``work`` returns; ``failed``, after its paragraph on standard error, where an ``InputError`` ends it."""
    try:
        return work()
    except Exception as error:
        known = input_error_in(error)
        if known is None:
            raise
        print(f"\nError: {known}", file=sys.stderr)
        return failed


def print_input_errors_plainly() -> None:
    """On a command line, end with the paragraph of an ``InputError`` instead of the stack that led to it."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = input_error_in(error)
        if known is None:
            sys.__excepthook__(kind, error, trace)
        else:
            print(f"\nError: {known}", file=sys.stderr)

    sys.excepthook = hook
