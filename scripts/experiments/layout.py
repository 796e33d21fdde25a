"""A table of text, and how numbers look in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY = "-"
"""Stands where nothing was measured or published."""


@dataclass(frozen=True)
class Table:
    """A table to read; its first column names the rows.

    Attributes:
        title: what is measured. header, rows: text. notes: sentences for below it.
        words: how many columns from the left are words; the others are numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1

    def markdown(self) -> str:
        """Title, aligned table and notes."""
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in (self.header, *self.rows)]
        widths = [max(len(row[column]) for row in escaped) for column in range(len(self.header))]

        def line(cells: Sequence[str]) -> str:
            places = zip(cells, widths, range(len(widths)), strict=True)
            return f"| {' | '.join(c.ljust(w) if i < self.words else c.rjust(w) for c, w, i in places)} |"

        rules = ("-" * (w + 2) if i < self.words else "-" * (w + 1) + ":" for i, w in enumerate(widths))
        table = "\n".join([line(escaped[0]), f"|{'|'.join(rules)}|", *(line(row) for row in escaped[1:])])
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join(part for part in (f"**{self.title}**", table, notes) if part)


def number(value: float | None, digits: int = 4) -> str:
    """A number of ``digits`` decimals; ``EMPTY`` for None and NaN."""
    return EMPTY if value is None or math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """As ``number``, with its sign."""
    return EMPTY if value is None or math.isnan(value) else f"{value:+.{digits}f}"


def mean_and_sd(found: tuple[float, float, int] | None) -> str:
    """ "mean ± sd (n)"; ``EMPTY`` if nothing was found."""
    if found is None:
        return EMPTY
    mean, sd, n = found
    return f"{number(mean)} ± {number(sd)} ({n})"
