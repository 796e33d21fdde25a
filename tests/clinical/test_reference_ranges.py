"""Reference ranges: where they come from, what has none, and that the table cannot be quietly wrong."""

from pathlib import Path

import pytest

from scripts.clinical.function import CardiacFunction, Phases, rows
from scripts.clinical.reference_ranges import EVIDENCE, SOURCES, TABLE, read_table, reference_range

HEAD = "key,sex,lower,upper,unit,source,evidence\n"
UNITS = {row.key: row.unit for row in rows(CardiacFunction((9.0,), (9.0,), (9.0,), Phases(0, 0)))}


def test_every_range_is_of_a_measured_quantity_in_its_unit() -> None:
    table = read_table(TABLE)
    assert table
    assert {entry.key: entry.unit for entry in table.values()} == {key: UNITS[key] for key, _ in table}


def test_both_sexes_have_the_same_quantities_and_men_the_larger_hearts() -> None:
    men, women = ({key for key, sex in read_table(TABLE) if sex == wanted} for wanted in "MF")
    assert men == women
    volumes = [key for key in men if "_ml" in key or "_g" in key]
    assert all(reference_range(key, "M").upper > reference_range(key, "F").upper for key in volumes)


@pytest.mark.parametrize("sex", ["M", "F"])
@pytest.mark.parametrize("side", ["lv", "rv"])
def test_ranges_of_one_ventricle_fit_together(side: str, sex: str) -> None:
    """The largest usual ESV is below the largest usual EDV, and the ejection fraction of middle values is usual."""
    edv, esv, ef = (reference_range(f"{side}_{name}", sex) for name in ("edv_ml", "esv_ml", "ef_percent"))
    assert esv.upper < edv.upper
    middle = 100 * (1 - (esv.lower + esv.upper) / (edv.lower + edv.upper))
    assert ef.position(middle) == "within"


def test_a_range_tells_its_source_and_how_it_was_read() -> None:
    found = reference_range("lv_ef_percent", "M")
    assert (found.lower, found.upper, found.unit) == (52, 73, "%")
    assert "Zhan" in SOURCES[found.source].citation
    assert found.evidence in EVIDENCE


def test_weak_evidence_can_be_refused() -> None:
    assert reference_range("lv_ef_percent", "M", evidence=("abstract",)) is not None
    assert reference_range("lv_edv_ml", "M", evidence=("abstract",)) is None


@pytest.mark.parametrize(("key", "sex"), [("lv_edv_ml", None), ("lv_edv_ml", "O"), ("lv_mass_g", "F"), ("age", "M")])
def test_what_has_no_range(key: str, sex: str | None) -> None:
    assert reference_range(key, sex) is None


@pytest.mark.parametrize(("value", "position"), [(51.9, "below"), (52, "within"), (73, "within"), (73.1, "above")])
def test_position(value: float, position: str) -> None:
    assert reference_range("lv_ef_percent", "M").position(value) == position


@pytest.mark.parametrize(
    "body",
    [
        "a,M,2,1,mL,zhan2024,abstract\n",
        "a,X,1,2,mL,zhan2024,abstract\n",
        "a,M,1,2,mL,nobody,abstract\n",
        "a,M,1,2,mL,zhan2024,memory\n",
        "a,M,1,2,mL,zhan2024,abstract\n" * 2,
    ],
)
def test_an_unusable_row_is_refused(tmp_path: Path, body: str) -> None:
    file = tmp_path / "ranges.csv"
    file.write_text(HEAD + body, encoding="utf-8")
    with pytest.raises(ValueError, match="unusable row"):
        read_table(file)
