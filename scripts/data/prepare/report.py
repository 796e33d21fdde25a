"""What was found, for a terminal, as Markdown and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from scripts.data.prepare.checks import Findings
from scripts.data.prepare.counts import Table, section_counts, tables
from scripts.data.prepare.trouble import Severity, Trouble
from scripts.files import write_atomically, write_json

SHOWN_OF_A_KIND = 10
"""Troubles of one kind that are printed; ``report.json`` holds all."""
PLAIN_WIDTH = 160
STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def write_report(output_dir: Path, data_list: Mapping[str, Any], findings: Findings) -> None:
    """Print the report and write it as ``report.md`` and ``report.json``.

    Raises:
        InputError: ``output_dir`` cannot be written.
    """
    numbers = section_counts(findings.facts, findings.expected)
    pages = tables(numbers, findings.expected)
    _print(_heading(data_list), pages, findings)
    text = markdown(_heading(data_list), pages, findings)
    write_atomically(output_dir / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    content = {
        "name": data_list.get("name"),
        "description": data_list.get("description"),
        "licence": data_list.get("licence"),
        "errors": findings.errors,
        "warnings": findings.warnings,
        "sections": numbers,
        "void_values": void_values(findings),
        "trouble": [asdict(trouble) for trouble in findings.troubles],
    }
    write_json(output_dir / "report.json", content)


def void_values(findings: Findings) -> list[int]:
    """Values of label files that the label map leaves out, so that they are void."""
    return sorted(set().union(*(item.left_out for item in findings.facts)))


def verdict(findings: Findings) -> str:
    """How many errors and warnings, in words."""
    if not findings.troubles:
        return "No trouble found."
    counts = ((findings.errors, "error"), (findings.warnings, "warning"))
    words = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
    return f"{' and '.join(words)}." if words else "No trouble found, but see the notes."


def markdown(heading: str, pages: Sequence[Table], findings: Findings) -> str:
    """The report as Markdown."""
    parts = [f"# {heading}", verdict(findings)]
    for page in pages:
        rows = [page.columns, tuple("---" for _ in page.columns), *page.rows]
        parts.append(f"## {page.title}" + (f"\n\n{page.caption}" if page.caption else ""))
        parts.append("\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows))
    if values := void_values(findings):
        parts.append(_void_line(values))
    if findings.troubles:
        parts.append("## Trouble")
    for kind, group in _by_kind(findings.troubles):
        lines = [f"- **{trouble.severity}**: {_plain(trouble.message)}" for trouble in group[:SHOWN_OF_A_KIND]]
        parts.append(f"### {kind.capitalize()} ({len(group)})\n\n" + "\n".join(lines + _rest(group, "- ")))
    return "\n\n".join(parts) + "\n"


def _print(heading: str, pages: Sequence[Table], findings: Findings) -> None:
    console = Console(highlight=False)
    lines = box.SIMPLE_HEAD
    if not console.is_terminal:
        console, lines = Console(highlight=False, width=PLAIN_WIDTH), box.MARKDOWN
    console.print(Text(heading, style="bold"))
    for page in pages:
        console.print(Text(f"\n{page.title}" + (f": {page.caption}" if page.caption else ""), style="italic"))
        drawn = RichTable(box=lines)
        for column in page.columns:
            drawn.add_column(column, justify="left" if column in ("section", "class", "") else "right")
        for row in page.rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)
    if values := void_values(findings):
        console.print()
        console.print(_void_line(values), markup=False)
    for kind, group in _by_kind(findings.troubles):
        console.print(f"\n{kind.capitalize()} ({len(group)})", markup=False)
        for trouble in group[:SHOWN_OF_A_KIND]:
            line = Text(f"  {trouble.severity}: ", style=STYLES[trouble.severity])
            console.print(line.append(_plain(trouble.message), style="default"), soft_wrap=True)
        for rest in _rest(group, "  "):
            console.print(rest, markup=False)
    console.print()
    console.print(Text(verdict(findings), style="bold"))


def _heading(data_list: Mapping[str, Any]) -> str:
    name, description = data_list.get("name") or "Data list", data_list.get("description")
    return f"{name}: {description}" if description else str(name)


def _by_kind(troubles: Sequence[Trouble]) -> list[tuple[str, list[Trouble]]]:
    """Runs of equal severity and kind; ``troubles`` come sorted."""
    runs = groupby(troubles, key=lambda trouble: (trouble.severity, trouble.kind))
    return [(str(kind), list(group)) for (_, kind), group in runs]


def _rest(group: Sequence[Trouble], lead: str) -> list[str]:
    more = len(group) - SHOWN_OF_A_KIND
    return [f"{lead}... and {more} more of this kind, all in report.json"] if more > 0 else []


def _plain(message: str) -> str:
    """On one line, the first letter large."""
    line = " ".join(message.split())
    return line if "/" in line.split(" ")[0] else line[:1].upper() + line[1:]


def _void_line(values: Sequence[int]) -> str:
    return f"Values of label files that are taken as void: {', '.join(map(str, values))}."
