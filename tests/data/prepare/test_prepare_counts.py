"""The numbers of the report, against numbers worked by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.data.prepare.checks import Findings
from scripts.data.prepare.content import Expected
from scripts.data.prepare.counts import section_counts, tables
from scripts.data.prepare.facts import ItemFacts, pixel_hash
from scripts.data.prepare.report import SHOWN_OF_A_KIND, markdown, verdict, write_report
from scripts.data.prepare.trouble import Kind, Severity, Trouble

EXPECTED = Expected(("background", "heart"), channels=1)


def fact(section: str, patient: str, shape: tuple[int, ...], pixels: tuple[int, ...] | None, **more: Any) -> ItemFacts:
    return ItemFacts(section, f"{patient}.nii", None, patient, shape=shape, pixels=pixels, **more)


FACTS = [
    fact("labeled", "p1", (10, 20, 4), (600, 200, 0), spacing=(1.5, 1.5, 8.0), slices=4, slices_with=(4, 3)),
    fact("labeled", "p1", (10, 24, 2), (400, 0, 80), spacing=(1.0, 2.0, 8.0), slices=2, slices_with=(2, 0)),
    fact("labeled", "p2", (12, 21, 3), None, spacing=(2.0, 1.8, 5.0), slices=3),
    fact("unlabeled", "p3", (12, 20, 5), None, spacing=(1.5, 1.5, 8.0), slices=5),
    ItemFacts("unlabeled", "broken.nii", None, None),
]


def test_counts_of_sections() -> None:
    numbers = section_counts(FACTS, EXPECTED)
    assert list(numbers) == ["labeled", "unlabeled"]
    labeled, unlabeled = numbers.values()
    assert (labeled["items"], labeled["patients"], labeled["slices"]) == (3, 2, 9)
    assert (unlabeled["items"], unlabeled["patients"], unlabeled["slices"]) == (2, 1, 5)
    assert labeled["size"] == {"min": [10, 20, 2], "median": [10, 21, 3], "max": [12, 24, 4]}
    assert labeled["spacing"]["median"] == [1.5, 1.8, 8]
    assert unlabeled["pixels"] is None


def test_shares_are_of_what_is_labelled() -> None:
    labeled = section_counts(FACTS, EXPECTED)["labeled"]
    assert labeled["pixels"] == pytest.approx({"background": 1000 / 1280, "heart": 200 / 1280, "void": 80 / 1280})
    assert labeled["slices_with"] == pytest.approx({"background": 1.0, "heart": 0.5})


def test_tables_show_them() -> None:
    counts, sizes, classes = tables(section_counts(FACTS, EXPECTED), EXPECTED)
    assert counts.rows[0] == ("labeled", "3", "2", "9", "1")
    assert sizes.rows[0] == ("labeled", "size (pixels)", "10 x 20 x 2", "10 x 21 x 3", "12 x 24 x 4")
    assert classes.columns == ("value", "class", "labeled pixels %", "labeled slices %")
    assert classes.rows == (
        ("0", "background", "78.12", "100.00"),
        ("1", "heart", "15.62", "50.00"),
        ("255", "void", "6.25", ""),
    )


def test_very_rare_is_not_never() -> None:
    rare = [fact("labeled", "p", (1000, 1000, 1), (999_999, 1, 0), slices=1, slices_with=(1, 1))]
    *_, classes = tables(section_counts(rare, EXPECTED), EXPECTED)
    assert [row[2] for row in classes.rows] == ["100.00", "< 0.01", "-"]


def test_hash_is_of_values_and_shape() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(1, 4, 6, 1)
    assert pixel_hash(array) == pixel_hash(np.asfortranarray(array)) == pixel_hash(array[0])
    others = [array + 1, array.reshape(1, 6, 4, 1), array.astype(np.float32)]
    assert len({pixel_hash(other) for other in (array, *others)}) == 4


# The report

TROUBLES = [Trouble(Severity.ERROR, Kind.CONSTANT, (f"{n}.png",), f"{n}.png is | constant.") for n in range(12)]


@pytest.mark.parametrize(
    ("troubles", "words"),
    [
        ([], "No trouble found."),
        (TROUBLES[:1], "1 error."),
        ([*TROUBLES, Trouble(Severity.WARNING, Kind.CLASSES, (), "w")], "12 errors and 1 warning."),
        ([Trouble(Severity.NOTE, Kind.CLASSES, (), "n")], "No trouble found, but see the notes."),
    ],
)
def test_verdict(troubles: list[Trouble], words: str) -> None:
    assert verdict(Findings(EXPECTED, [], troubles)) == words


def test_report_shows_some_of_a_kind_and_keeps_all(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_report(tmp_path, {"name": "hearts"}, Findings(EXPECTED, FACTS, TROUBLES))
    printed = capsys.readouterr().out
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    for text in (printed, page):
        assert text.count("is | constant") == SHOWN_OF_A_KIND
        assert "2 more" in text
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [trouble["files"] for trouble in content["trouble"]] == [[f"{n}.png"] for n in range(12)]
    assert content["errors"] == 12
    assert content["sections"]["labeled"]["patients"] == 2


def test_markdown_tables_are_whole() -> None:
    pages = tables(section_counts(FACTS, EXPECTED), EXPECTED)
    rows = [line for line in markdown("hearts", pages, Findings(EXPECTED, FACTS, [])).splitlines() if "|" in line]
    assert len(rows) == sum(len(page.rows) + 2 for page in pages)
    assert all(row.startswith("| ") and row.endswith(" |") for row in rows)


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trouble = Trouble(Severity.WARNING, Kind.DUPLICATE, ("a [1].png",), "look at a [1].png and [red]b[/red].png")
    write_report(tmp_path, {"name": "[set]"}, Findings(EXPECTED, FACTS, [trouble]))
    printed = capsys.readouterr().out
    assert "a [1].png and [red]b[/red].png" in printed
    assert "[set]" in printed
