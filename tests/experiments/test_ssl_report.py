"""The table of the semi-supervised benchmark, from made-up cells."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ssl_cells import write

from scripts.errors import InputError
from scripts.experiments import ssl_report
from scripts.experiments.ssl_report import tables, write_report
from scripts.experiments.ssl_rows import read_rows


def test_the_table_has_means_deviations_gains_and_the_published_rows(tmp_path: Path) -> None:
    for seed, (dice, gain) in enumerate(((0.60, 0.04), (0.62, 0.05), (0.67, 0.06))):
        write(tmp_path, "supervised", seed, dice)
        write(tmp_path, "cycle teacher", seed, dice + gain)
        if seed:
            write(tmp_path, "Ours (paper)", seed, dice - gain)
    table = tables(read_rows(tmp_path))[0]
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    sd = 100 * np.std([0.60, 0.62, 0.67], ddof=1)
    assert rows["supervised"]["Dice %"] == f"63.00 ± {sd:.2f}"
    assert rows["supervised"]["split, seeds"] == "validation, 3"
    assert rows["supervised"]["over supervised"] == "-"
    assert rows["cycle teacher"]["over supervised"] == "+5.00 ± 1.00", "paired by seed"
    gain = rows["Ours (paper)"]["over supervised"].replace("\N{MINUS SIGN}", "-")
    assert gain == "-5.50 ± 0.71", "paired over the two seeds that both have"
    assert (rows["cycle teacher"]["minutes"], rows["cycle teacher"]["images/s"]) == ("4.0", "10.0")
    published = pd.read_csv(ssl_report.PUBLISHED)
    published = published[published["labeled_patients"] == 3]
    shown = {name.removeprefix("published: "): row for name, row in rows.items() if name.startswith("published: ")}
    assert list(shown) == list(published["method"])
    for method, dice in zip(published["method"], published["dice"], strict=True):
        assert shown[method]["Dice %"] == f"{dice:.2f}"
    (sources,) = [note for note in table.notes if note.startswith("Sources: ")]
    assert "BCP: BCP paper (CVPR 2023)" in sources
    assert "same" not in sources
    assert not any("commits" in note for note in table.notes)


@pytest.mark.parametrize(
    ("count", "title", "sourced"),
    [(1, "1 labelled patient", True), (7, "7 labelled patients", True), (14, "14 labelled patients", False)],
)
def test_sources_are_named_where_there_are_published_rows(
    count: int, title: str, sourced: bool, tmp_path: Path
) -> None:
    write(tmp_path, "supervised", 0, 0.6, count=count)
    found = tables(read_rows(tmp_path))
    assert found[0].title == title
    assert [table.title.startswith(f"{title}, ") for table in found[1:]] == [True, True]
    assert any(note.startswith("Sources: ") for note in found[0].notes) is sourced


def test_gains_are_over_the_arms_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm, dice in (("supervised", 0.6), ("mean teacher", 0.7), ("cycle teacher", 0.75)):
        write(tmp_path / "cells", arm, 0, dice)
    command = ["--cells", str(tmp_path / "cells"), "--output_dir", str(tmp_path / "report")]
    assert ssl_report.main([*command, "--reference", "mean teacher", "supervised"]) == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert page.strip() == capsys.readouterr().out.strip()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    gains = {line[0]: line[8:10] for line in lines if len(line) == 13}
    assert gains["arm"] == ["over mean teacher", "over supervised"]
    assert gains["mean teacher"] == ["-", "+10.00"]
    assert gains["cycle teacher"] == ["+5.00", "+15.00"]
    assert gains["supervised"] == ["-10.00", "-"]
    assert ssl_report.main([*command, "--reference", "magic"]) == 2
    assert "--reference 'magic' has no cell" in capsys.readouterr().err


def test_scores_by_epoch_are_means_over_the_seeds(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6)
    write(tmp_path, "supervised", 1, 0.8)
    write(tmp_path, "cycle teacher", 0, 0.7, curve=[{"epoch": 2, "mean_dice": 0.65}])
    table = tables(read_rows(tmp_path))[2]
    assert table.header == ("arm", "1", "2")
    assert table.rows == (("supervised", "0.350", "0.700"), ("cycle teacher", "-", "0.650"))


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cannot be read"), ("{}", "lacks arm, cell, "), ("1", "lacks arm, ")]
)
def test_what_is_no_cell_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cell.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_rows(tmp_path)


def test_seeds_of_several_commits_are_noted(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6)
    write(tmp_path, "supervised", 1, 0.6, commit="abcdef0123")
    notes = tables(read_rows(tmp_path))[0].notes
    assert "The seeds of supervised were run at several commits: 0123456, abcdef0." in notes


def test_arms_of_several_devices_are_noted(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6)
    write(tmp_path, "cycle teacher", 0, 0.6)
    assert not any("devices" in note for note in tables(read_rows(tmp_path))[0].notes)
    write(tmp_path, "cycle teacher", 1, 0.6, device="two")
    write(tmp_path, "cycle teacher", 2, 0.6, threads=2)
    (note,) = [note for note in tables(read_rows(tmp_path))[0].notes if "devices" in note]
    assert note.endswith(
        "(arm and seed): one: 'supervised' 0, 'cycle teacher' 0; two: 'cycle teacher' 1; one, threads 2: 'cycle teacher' 2."
    )


def test_cells_of_other_settings_are_no_seeds_of_an_arm(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6)
    write(tmp_path, "supervised", 1, 0.6, settings={"labeled_patients": 3, "batch_size": 4, "seed": 1})
    with pytest.raises(InputError, match="supervised-3-0 and supervised-3-1 have other settings"):
        read_rows(tmp_path)


def test_scores_of_test_patients_are_shown_once_all_seeds_have_them(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6, test=0.5)
    write(tmp_path, "supervised", 1, 0.6)
    assert [row.split for row in read_rows(tmp_path)] == ["validation"]
    write(tmp_path, "supervised", 1, 0.6, test=0.7)
    (row,) = read_rows(tmp_path)
    assert (row.split, row.values("dice").tolist()) == ("test", [0.5, 0.7])
    assert row.scored == "test of 2, 2"
    write(tmp_path, "supervised", 1, 0.6, test=0.7, tested=["patient001"])
    assert [row.split for row in read_rows(tmp_path)] == ["validation"], "scores of other patients have no mean"


def test_arms_with_scores_of_one_component_have_a_table_of_them(tmp_path: Path) -> None:
    write(tmp_path / "cells", "supervised", 0, 0.6, one_component=0.62)
    write(tmp_path / "cells", "mean teacher", 0, 0.7, one_component=0.75)
    write(tmp_path / "cells", "cycle teacher", 0, 0.7, one_component=0.76)
    write(tmp_path / "cells", "cycle teacher", 1, 0.7)
    given, largest, by_structure, _ = tables(read_rows(tmp_path / "cells"))
    assert largest.title == "3 labelled patients, one component of each class"
    rows = {row[0]: dict(zip(largest.header, row, strict=True)) for row in largest.rows}
    assert {arm: (row["Dice %"], row["over supervised"]) for arm, row in rows.items()} == {
        "supervised": ("62.00", "-"),
        "mean teacher": ("75.00", "+13.00"),
    }, "not of an arm of which a cell lacks them"
    assert given.rows[0][2] == by_structure.rows[0][2] == "60.00"
    write_report(tmp_path / "cells", tmp_path / "report")
    frame = pd.read_csv(tmp_path / "report" / "report.csv")
    assert frame.loc[frame["one_component"], "dice"].tolist() == [0.62, 0.75]
    assert len(frame) == 6


def test_scores_of_one_component_are_of_the_patients_that_are_shown(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6, one_component=0.62, test=0.5)
    (row,) = read_rows(tmp_path)
    assert (row.split, row.with_one_component()) == ("test", None), "those of validation are not those of test"
    write(tmp_path, "supervised", 0, 0.6, one_component=0.62, test=0.5, test_one_component=0.55)
    (row,) = read_rows(tmp_path)
    largest = row.with_one_component()
    assert largest is not None
    assert (largest.split, largest.values("dice").tolist()) == ("test", [0.55])
    assert largest.values("dice", "wall").tolist() == [0.55]


def test_scores_of_unlabelled_patients_have_tables_of_their_own_both_ways(tmp_path: Path) -> None:
    write(tmp_path / "cells", "supervised", 0, 0.6, unlabeled=0.5, unlabeled_one_component=0.55)
    write(tmp_path / "cells", "mean teacher", 0, 0.7, unlabeled=0.64, unlabeled_one_component=0.66)
    write(tmp_path / "cells", "cycle teacher", 0, 0.7, unlabeled=0.65)
    write(tmp_path / "cells", "cycle teacher", 1, 0.7, unlabeled=0.65, tested=["patient001"])
    given, held, largest, *_ = tables(read_rows(tmp_path / "cells"))
    assert given.rows[0][1:3] == ("validation, 1", "60.00"), "the choice was made by validation, which stays first"
    assert held.title == "3 labelled patients, unlabelled patients"
    assert held.notes == (ssl_report.WITHHELD,)
    assert largest.notes == (ssl_report.WITHHELD, ssl_report.ONE_COMPONENT)
    assert [row[:3] for row in held.rows] == [
        ("supervised", "unlabeled of 2, 1", "50.00"),
        ("mean teacher", "unlabeled of 2, 1", "64.00"),
    ], "not of an arm whose seeds were scored on different ones"
    assert held.rows[1][held.header.index("over supervised")] == "+14.00"
    assert largest.title == "3 labelled patients, unlabelled patients, one component of each class"
    assert [row[2] for row in largest.rows] == ["55.00", "66.00"]
    write_report(tmp_path / "cells", tmp_path / "report")
    frame = pd.read_csv(tmp_path / "report" / "report.csv")
    assert frame.loc[frame["split"] == "unlabeled", "dice"].tolist() == [0.5, 0.64, 0.55, 0.66]


def test_there_is_no_gain_over_an_arm_of_other_unlabelled_patients(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6, unlabeled=0.5)
    write(tmp_path, "mean teacher", 0, 0.7, unlabeled=0.64, tested=["patient001"])
    given, held, *_ = tables(read_rows(tmp_path))
    assert [table.rows[1][table.header.index("over supervised")] for table in (given, held)] == ["+10.00", "-"]


def test_the_report_is_written_as_page_and_numbers(tmp_path: Path) -> None:
    write(tmp_path / "cells", "supervised", 0, 0.6)
    write(tmp_path / "cells", "supervised", 0, 0.8, count=7)
    page = write_report(tmp_path / "cells", tmp_path / "report")
    assert page.strip() == (tmp_path / "report" / "report.md").read_text().strip()
    frame = pd.read_csv(tmp_path / "report" / "report.csv")
    assert frame[["labeled_patients", "dice"]].to_numpy().tolist() == [[3, 0.6], [7, 0.8]]
    assert json.loads((tmp_path / "report" / "report.json").read_text())[1]["dice"] == 0.8


def test_a_distance_that_no_structure_has_is_null_and_does_not_count(tmp_path: Path) -> None:
    write(tmp_path / "cells", "supervised", 0, 0.6)
    write(tmp_path / "cells", "supervised", 1, 0.6)
    path = tmp_path / "cells" / "supervised-3-1.json"
    cell = json.loads(path.read_text())
    cell["structures"]["mean"]["hd95_mm"] = None
    path.write_text(json.dumps(cell))
    table = tables(read_rows(tmp_path / "cells"))[0]
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert (row["HD95 mm"], row["HD95 voxels"]) == ("2.0", "2.00 ± 0.00")
    write_report(tmp_path / "cells", tmp_path / "report")
    found = json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)
    assert [record["hd95_mm"] for record in found] == [2.0, None]


def test_no_cell_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished cell"):
        read_rows(tmp_path)


def test_the_published_table_is_whole() -> None:
    published = pd.read_csv(ssl_report.PUBLISHED)
    assert len(published) == 33
    assert set(published["labeled_patients"]) == {1, 3, 7, 70}
    assert published.loc[published["method"] == "TraCoCo", "dice"].tolist() == [89.46, 90.44]
