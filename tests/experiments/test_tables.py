"""The paper's tables: what stands in which cell of them, and what stays empty."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.experiments.cells import Cell, read_cells
from scripts.experiments.layout import Table, mean_and_sd, number, signed
from scripts.experiments.tables import PaperTable, Results, paper_tables

Make = Callable[..., list[Cell]]


@pytest.fixture
def tables(small_grid: Path) -> dict[str, PaperTable]:
    return {table.name: table for table in paper_tables(Results(read_cells(small_grid)))}


def row(table: Table, name: str) -> tuple[str, ...]:
    return next(row for row in table.rows if row[0] == name)


def test_every_table_that_has_something_is_there(tables: dict[str, PaperTable]) -> None:
    assert list(tables) == ["table_1", "table_2", "table_3", "table_classes_acdc"]


def test_table_1_has_the_paper_beside_what_ran(tables: dict[str, PaperTable]) -> None:
    first, second, *_ = tables["table_1"].parts
    assert first.title == "mIoU of the classes that the paper counts, at training size (the paper's)"
    assert first.header == (
        "arm", "VOC: mIoU of 2 foreground classes", "paper (VOC)", "ACDC: mIoU of 3 foreground classes", "paper (ACDC)",
    )  # fmt: skip
    assert row(first, "Ours, 10 %") == ("Ours, 10 %", "-", "0.2543", "0.4167 ± 0.0208 (3)", "0.8463")
    assert row(first, "Partial, 20 %") == ("Partial, 20 %", "0.2000 ± - (1)", "0.2688", "-", "0.8642")
    assert row(first, "Hung et al., 10 %") == ("Hung et al., 10 %", "-", "-", "0.4667 ± 0.0208 (3)", "-")
    assert second.header[1:] == ("VOC: mIoU of all 3 classes", "ACDC: mIoU of all 4 classes", "paper (ACDC)")
    assert row(second, "Ours, 10 %") == ("Ours, 10 %", "-", "0.4667 ± 0.0208 (3)", "0.8463")
    assert "cannot be told" in first.notes[0]


def test_native_scores_have_no_number_of_the_paper(tables: dict[str, PaperTable]) -> None:
    natives = [part for part in tables["table_1"].parts if "native size" in part.title]
    assert len(natives) == 3
    assert not any("paper (" in name for part in natives for name in part.header)
    assert row(natives[0], "Ours, 10 %")[2] == "0.5167 ± 0.0208 (3)"
    assert row(natives[2], "Ours, 10 %")[2] == "0.5367 ± 0.0208 (3)"


def test_arms_stand_in_the_paper_s_order_without_the_ablation(tables: dict[str, PaperTable]) -> None:
    names = [row[0] for row in tables["table_1"].parts[0].rows]
    assert names == [
        "Full, 100 %", "Hung et al., 20 %", "Hung et al., 10 %", "Partial, 50 %", "Partial, 30 %", "Partial, 20 %",
        "Partial, 10 %", "Ours, 50 %", "Ours, 30 %", "Ours, 20 %", "Ours, 10 %",
    ]  # fmt: skip


def test_table_2_stands_where_an_ablation_ran(tables: dict[str, PaperTable]) -> None:
    first = tables["table_2"].parts[0]
    assert first.header == ("arm", "ACDC, 10 %: mIoU of 3 foreground classes", "paper (ACDC)")
    assert row(first, "w/o mask_cycle") == ("w/o mask_cycle", "0.3500 ± - (1)", "-")
    assert row(first, "w/o image_cycle") == ("w/o image_cycle", "-", "-")
    assert row(first, "Ours")[1] == "0.4167 ± 0.0208 (3)"
    assert set(tables["table_2"].values["arm"]) == {"Ours", "w/o mask_cycle"}


def test_table_2_has_the_paper_s_ablation_beside_voc(make_cells: Make) -> None:
    cells = make_cells({"w/o image_cycle": (0.3,)}, dataset="VOC", labeled_percent=20)
    _, table_2, _ = paper_tables(Results(cells))
    assert row(table_2.parts[0], "w/o image_cycle") == ("w/o image_cycle", "0.3000 ± - (1)", "0.2733")
    assert row(table_2.parts[0], "w/o mask_adversarial") == ("w/o mask_adversarial", "-", "0.2614")


def test_without_an_ablation_there_is_no_table_2(make_cells: Make) -> None:
    assert [table.name for table in paper_tables(Results(make_cells({"Full": (0.5,)})))] == [
        "table_1", "table_classes_acdc",
    ]  # fmt: skip


def test_classes_of_voc_stand_beside_those_of_table_3(tables: dict[str, PaperTable]) -> None:
    training, native = tables["table_3"].parts
    assert tables["table_3"].title == "Table 3: IoU by class, VOC"
    assert training.header == ("class", "Partial, 20 %", "paper")
    assert row(training, "aeroplane") == ("aeroplane", "-", "0.5302")
    assert row(training, "tvmonitor") == ("tvmonitor", "0.2500 ± - (1)", "0.2668")
    assert row(training, "background") == ("background", "0.7000 ± - (1)", "-")
    assert native.header == ("class", "Partial, 20 %")


def test_classes_have_full_beside_each_fraction(tables: dict[str, PaperTable]) -> None:
    header = tables["table_classes_acdc"].parts[0].header
    assert header == ("class", "Full, 100 %", "Hung et al., 10 %", "Partial, 10 %", "Ours, 10 %")
    assert set(tables["table_classes_acdc"].values["arm"]) >= {"w/o mask_cycle"}


def test_a_set_without_background_has_one_variant(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.3,)}, dataset="Cityscapes", background=False, class_iou={"road": 0.9, "pole": 0.1})
    table_1, table_4 = paper_tables(Results(cells))
    assert [part.header[1] for part in table_1.parts] == [
        "Cityscapes: mIoU of all 2 classes", "Cityscapes: mIoU of all 2 classes", "Cityscapes: mean foreground Dice",
    ]  # fmt: skip
    assert row(table_1.parts[0], "Ours, 10 %") == ("Ours, 10 %", "0.3500 ± - (1)", "0.3923")
    assert table_4.name == "table_4"
    assert row(table_4.parts[0], "pole") == ("pole", "0.1000 ± - (1)", "0.2732")


def test_values_hold_what_the_table_shows(tables: dict[str, PaperTable]) -> None:
    values = tables["table_1"].values
    chosen = values[(values["arm"] == "Ours") & (values["metric"] == "miou") & (values["size"] == "training_size")]
    assert chosen[["dataset", "percent", "n", "paper"]].values.tolist() == [["ACDC", 10.0, 3, 0.8463]]
    assert not values["metric"].str.startswith("iou_").any()
    assert not values["arm"].str.startswith("w/o").any()


def test_the_order_of_the_cells_changes_nothing(small_grid: Path) -> None:
    cells = read_cells(small_grid)
    expected = [table.markdown() for table in paper_tables(Results(cells))]
    for seed in range(3):
        shuffled = random.Random(seed).sample(cells, len(cells))
        assert [table.markdown() for table in paper_tables(Results(shuffled))] == expected


def test_markdown_is_aligned_and_escaped() -> None:
    table = Table("A title", ("a|b", "n"), (("x", "1.5"), ("longer", "-")), ("A note.",))
    assert table.markdown() == (
        "**A title**\n\n| a\\|b   |   n |\n|--------|----:|\n| x      | 1.5 |\n| longer |   - |\n\n- A note."
    )


def test_numbers_look_like_numbers() -> None:
    assert [number(0.12345), number(None), number(float("nan")), number(2, 1)] == ["0.1235", "-", "-", "2.0"]
    assert [signed(0.5, 2), signed(-0.5, 2), signed(None)] == ["+0.50", "-0.50", "-"]
    assert [mean_and_sd(None), mean_and_sd((0.5, float("nan"), 1))] == ["-", "0.5000 ± - (1)"]
