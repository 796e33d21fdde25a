"""The report as one page: Markdown, and HTML that needs no other file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from scripts.experiments.layout import Table

TEMPLATES = Path(__file__).with_name("templates")
_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        title: what it shows; for readers who cannot see it, too. files: the same as SVG or PNG; the first is shown.
        caption: how to read it.
    """

    title: str
    files: tuple[Path, ...]
    caption: str = ""

    @property
    def file(self) -> Path:
        return self.files[0]

    @property
    def data(self) -> str:
        """The file as a data URI."""
        content = base64.b64encode(self.file.read_bytes()).decode("ascii")
        return f"data:{_TYPES[self.file.suffix]};base64,{content}"


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading: text, tables, figures, points of a list."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    points: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """What the report says."""

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]

    def html(self) -> str:
        """One self-contained page: styles and pictures inside, no script, no request."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        return environment.get_template("report.html.j2").render(page=self)

    def markdown(self, folder: Path) -> str:
        """The same as Markdown; pictures are linked relative to ``folder``."""
        parts = [f"# {self.title}", *self.summary]
        for section in self.sections:
            parts += [f"## {section.title}", *section.text, *(table.markdown() for table in section.tables)]
            for picture in section.pictures:
                parts.append(f"![{picture.title}]({picture.file.relative_to(folder).as_posix()})")
                parts += [picture.caption] if picture.caption else []
            parts += ["\n".join(f"- {point}" for point in section.points)] if section.points else []
        return "\n\n".join(parts) + "\n"


def settings_points(common: Mapping[str, str], different: Sequence[str]) -> tuple[str, ...]:
    """What all cells share and what not, as points of a list."""
    shared = ", ".join(f"{key} {value}" for key, value in common.items())
    return (f"Common to all cells: {shared or 'nothing was overridden'}", *(f"Differs: {text}" for text in different))
