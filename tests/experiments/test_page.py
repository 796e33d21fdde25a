"""The page stands alone: no request, no script, every picture inside, and text stays text."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts.experiments.layout import Table
from scripts.experiments.page import Page, Picture, Section, settings_points

VOID_ELEMENTS = {"meta", "img", "link", "br", "hr", "input"}


class Parsed(HTMLParser):
    """Every element with its attributes, the text, and that all that is opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def assert_self_contained(text: str) -> Parsed:
    """No script, no address in any attribute or style but places on the page and data."""
    page = Parsed(text)
    assert not page.all("script")
    assert not page.all("link")
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster", "background"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return page


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    (tmp_path / "figures").mkdir()
    file = tmp_path / "figures" / "curve.svg"
    file.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return Picture("a curve", (file,), "How to read it.")


@pytest.fixture
def page(picture: Picture) -> Page:
    table = Table("A table", ("arm", "score"), (("<b>Ours</b>", "0.5"), ("w/o & more", "-")), ("Note < 1.",))
    sections = (
        Section("Tables & more", ("Some text.",), (table,)),
        Section("Curves", pictures=(picture,), points=("a point",)),
    )
    return Page("Title <1>", ("What this is.",), sections)


def test_html_is_self_contained_and_whole(page: Page, picture: Picture) -> None:
    parsed = assert_self_contained(page.html())
    (image,) = parsed.all("img")
    kind, _, content = str(image["src"]).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content) == picture.file.read_bytes()
    assert image["alt"] == "a curve"
    for text in ("Title <1>", "What this is.", "Some text.", "<b>Ours</b>", "w/o & more", "Note < 1.", "a point"):
        assert text in parsed.text
    assert not parsed.all("b")


def test_contents_lead_to_the_sections(page: Page) -> None:
    parsed = Parsed(page.html())
    assert [link["href"] for link in parsed.all("a")] == [f"#{section['id']}" for section in parsed.all("section")]
    assert [section["id"] for section in parsed.all("section")] == ["tables---more", "curves"]


def test_page_is_readable_in_light_and_dark(page: Page) -> None:
    html = page.html()
    assert "color-scheme: light dark" in html
    assert "@media (prefers-color-scheme: dark)" in html


def test_markdown_says_the_same(page: Page, tmp_path: Path) -> None:
    text = page.markdown(tmp_path)
    assert text.startswith("# Title <1>\n\nWhat this is.\n\n## Tables & more\n\nSome text.\n\n**A table**\n\n| arm ")
    assert "![a curve](figures/curve.svg)\n\nHow to read it.\n\n- a point\n" in text


def test_the_page_is_the_same_each_time(page: Page) -> None:
    assert page.html() == page.html()


def test_settings_are_points() -> None:
    assert settings_points({"filters": "16", "size": "[96, 96]"}, ["seed: 1 (Ours)"]) == (
        "Common to all cells: filters 16, size [96, 96]", "Differs: seed: 1 (Ours)",
    )  # fmt: skip
    assert settings_points({}, []) == ("Common to all cells: nothing was overridden",)
