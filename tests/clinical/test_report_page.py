"""The page of a report: self-contained, whole, and true to the content it is made of."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from phantom_report import HARD, WARNING, phantom_findings, phantom_study

from scripts.clinical.report import NOTICE, Findings, report_content
from scripts.clinical.report_page import html, three_digits
from scripts.clinical.wall_thickness import WallThickness
from scripts.data.cine import Body

VOID = {"meta", "input", "br", "img", "link", "hr"}
LOADING = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """What stands on a page; an element closed in the wrong order is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def words(self) -> str:
        """What is read: no style, no script, white space made even."""
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("style", "script")).split())

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [a for name, a in self.elements if name == tag and kind in ["", *a.get("class", "").split(" ")]]


def page_text(findings: Findings | None = None, **changes: Any) -> str:
    findings = findings or phantom_findings(**changes)
    return html(report_content(findings) | {"files": {"segmentation.nii.gz": "5e" * 32}}, findings)


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(page_text())


@pytest.mark.parametrize("flags", [(WARNING,), (HARD, WARNING)])
def test_nothing_is_fetched(flags: tuple) -> None:
    text = page_text(flags=flags)
    for tag, attributes in Page(text).elements:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith("data:image/png;base64,"), (tag, name)
        assert not [name for name in attributes if name.startswith("on")], "the policy lets no handler run"
    assert not re.search(r"https?:|//\w|url\(|@import|fetch\(|XMLHttpRequest", re.sub(r'"data:[^"]*"', '""', text))


def test_the_policy_allows_the_one_script_and_nothing_else(page: Page) -> None:
    scripts = [text for tag, text in page.texts if tag == "script"]
    digest = base64.b64encode(hashlib.sha256("".join(scripts).encode()).digest()).decode()
    policies = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    expected = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert policies == [expected]
    assert len(page.all("script")) == 1


def test_the_script_finds_what_it_looks_for(page: Page) -> None:
    script = "".join(text for tag, text in page.texts if tag == "script")
    ids = {a["id"] for _, a in page.elements if "id" in a}
    wanted = set(re.findall(r'getElementById\("(\w+)"\)', script))
    assert wanted == {"sheet", "slider", "controls", "contours", "all"}
    assert wanted <= ids
    slider = next(a for a in page.all("input") if a.get("id") == "slider")
    assert (slider["min"], slider["max"]) == ("1", "5")


def test_every_slice_stands_there_at_ed_and_es_without_script(page: Page) -> None:
    assert len(page.all("div", "slice")) == 5
    assert len(page.all("image")) == 10
    assert page.words.count("ED, phase 1") == page.words.count("ES, phase 3") == 5
    assert not [a for a in page.all("div", "slice") if "hidden" in a or "style" in a]
    for name in ("rv", "myocardium", "lv"):
        assert 5 <= len([a for a in page.all("path", "contour") if name in a["class"].split()]) <= 10
    assert page.words.count("Slice 4 of 5") == 1


@pytest.mark.parametrize(
    "said",
    [
        NOTICE,
        "DICOM, 5 slices x 7 phases",
        "17.5 mm apart",
        "LV ejection fraction",
        "an invalid date was left out",
        "model.pt",
        "0123456789abcdef" * 4,
        "5e" * 32,
        "9.8.7",
        "dice 0.91, miou not known",
        "chosen from the left ventricle's volume curve",
        "1 warning : read it with the numbers",
        "few phases",
        "Petersen",
        "3 basal inferoseptal:",
        "on cpu in 12.3 s",
    ],
)
def test_what_the_reader_must_know_is_said(page: Page, said: str) -> None:
    assert said in page.words


def test_every_known_measurement_is_in_the_table(page: Page) -> None:
    content = report_content(phantom_findings())
    cells = [text.split() for tag, text in page.texts if tag == "td"]
    shown = [cell[0] for cell in cells if cell]
    for measurement in content["measurements"]:
        assert three_digits(measurement["value"]) in shown, measurement["key"]


def test_a_value_outside_its_range_is_marked() -> None:
    content = report_content(phantom_findings()) | {"files": {}}
    for measurement in content["measurements"]:
        (measurement["reference"] or {})["position"] = "within"
    inside = Page(html(content, phantom_findings()))
    for measurement, position in zip(content["measurements"], ("above", "below"), strict=False):
        measurement["reference"]["position"] = position
    outside = Page(html(content, phantom_findings()))
    assert len(inside.all("span", "outside")) == 0
    assert len(outside.all("span", "outside")) == 2
    assert "▲ above" in outside.words
    assert "▼ below" in outside.words


def test_the_reason_of_a_flag_is_text() -> None:
    page = Page(page_text())
    assert WARNING.reason in page.words
    assert page.all("b") == []


def test_after_a_hard_flag_there_is_a_red_box_and_no_number() -> None:
    page, measured = Page(page_text(flags=(HARD, WARNING))), Page(page_text())
    assert "No numbers are given" in page.words
    assert HARD.reason in page.words
    assert WARNING.reason in page.words
    assert len(page.all("section", "hard")) == 1
    assert page.all("polyline") == page.all("table", "numbers") == []
    assert "mL" not in page.words
    assert len(measured.all("polyline")) == 2
    assert measured.all("section", "hard") == []
    assert len(page.all("image")) == 5, "what went wrong can be seen"


def test_after_a_hard_flag_the_page_does_not_depend_on_what_was_measured() -> None:
    nothing = phantom_findings(flags=(HARD,), analysis=None, wall=None, confidence=None)
    assert page_text(nothing) == page_text(flags=(HARD,))


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ({"body": Body(sex="F")}, "Nothing is given by body surface: the study does not say height and weight."),
        ({"heart_rate": None}, "Not known: heart rate, cardiac output."),
        ({"body": Body(1.8, 81.0)}, "No normal ranges are given: they differ by sex, which the study does not say."),
        ({"times_ms": None}, "LV 133.1 mL, phase 1"),
        ({"body": Body(1.8, 81.0, "F")}, "Women: "),
    ],
)
def test_what_is_not_known_is_said(study: dict[str, Any], said: str) -> None:
    findings = phantom_findings(phantom_study(**study))
    words = Page(page_text(findings)).words
    assert said in words
    assert "None" not in words
    assert "nan" not in words.split()


def test_the_bullseye_or_why_there_is_none() -> None:
    reason = WallThickness(reason="the right ventricle's insertion points cannot be found")
    assert f"Wall thickness was not measured: {reason.reason}." in Page(page_text(wall=reason)).words
    assert "American Heart Association" not in Page(page_text(wall=reason)).words
    assert "all thickness" not in Page(page_text(wall=None)).words


@pytest.mark.parametrize("asked", [False, True])
def test_one_block_names_the_patient_if_asked_for(asked: bool) -> None:
    findings = phantom_findings(phantom_study(phi={"PatientName": "Bødker^Åse <i>"}), include_phi=asked)
    page = Page(page_text(findings))
    assert ("Bødker^Åse <i>" in page.words) is asked
    assert len([a for _, a in page.elements if a.get("id") == "patient"]) == asked
    assert page.all("i") == []


def test_letters_of_directions_only_where_the_geometry_can_be_trusted() -> None:
    def letters(source: str) -> int:
        page = Page(page_text(phantom_findings(phantom_study(source=source))))
        return len([a for a in page.all("text") if "paint-order" in a])

    assert letters("DICOM") == 4 * 10
    assert letters("ACDC") == 0


def test_the_worst_page_of_ten_slices_is_below_five_megabytes() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 256, 256, 10)).astype(np.float32)
    findings = phantom_findings()
    study = phantom_study(images=noise, times_ms=None, given_phases={"ED": 0, "ES": 1})
    known = vars(findings) | {"study": study, "labels": np.zeros(noise.shape, np.uint8), "flags": (HARD,)}
    assert 1e6 < len(page_text(Findings(**known)).encode()) < 5e6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (7.214, "7.21"),
        (0.0123, "0.01"),
        (49.84, "49.8"),
        (229.7, "230"),
        (1234.5, "1234"),
        (-8.0, "-8.00"),
    ],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert three_digits(value) == text
