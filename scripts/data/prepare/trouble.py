"""What can be wrong with a data set, as something to print, to count and to sort."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error forbids the data list, a warning asks for a look, a note only tells."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Kind(StrEnum):
    """What is wrong; the order is that of the report."""

    UNREADABLE = "unreadable file"
    IMAGE = "unusable image"
    CONSTANT = "constant image"
    NO_LABEL = "label missing"
    LABEL_SIZE = "label of another size"
    LABEL_VALUES = "wrong label values"
    LABEL_PLACE = "label lies elsewhere"
    EMPTY_LABEL = "empty label"
    DUPLICATE = "duplicate images"
    UNMATCHED = "unmatched names"
    SECTION = "empty section"
    CLASSES = "missing classes"


@dataclass(frozen=True)
class Trouble:
    """One thing found.

    Attributes:
        severity, kind: how bad, and what.
        files: what it is about, as paths of the data list; none if it is about the whole list.
        message: one paragraph: what was expected, what came, the remedy.
    """

    severity: Severity
    kind: Kind
    files: tuple[str, ...]
    message: str


def first_names(names: list[str], count: int = 3) -> str:
    """The first of ``names``, for a sentence."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def sorted_by_severity(troubles: list[Trouble]) -> list[Trouble]:
    """Errors first, then by kind; what is equal keeps its order."""
    severities, kinds = list(Severity), list(Kind)
    return sorted(troubles, key=lambda trouble: (severities.index(trouble.severity), kinds.index(trouble.kind)))
