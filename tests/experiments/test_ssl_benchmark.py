"""The semi-supervised benchmark: its cells, a run in pieces on the phantom, its table."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from running import TINY

from scripts.data.augmentation import STRONG
from scripts.errors import InputError
from scripts.experiments import ssl_benchmark, ssl_report
from scripts.experiments.job import ROOT
from scripts.experiments.ssl_benchmark import SCALES, SPLIT, cells, parser, read_arms
from scripts.experiments.ssl_report import METRICS, read_rows, tables, write_report
from scripts.experiments.ssl_test import scores

STRUCTURES = ("right", "wall", "left")


def specs(*arguments: str) -> list:
    return cells(parser().parse_args(["--dataset_dir", "none", *arguments]))


def test_cells_are_seeds_by_patients_by_arms() -> None:
    found = specs("--labeled_patients", "3", "7", "--seeds", "0", "1")
    assert [(c.seed, c.settings["labeled_patients"], c.arm) for c in found] == [
        (seed, count, arm) for seed in (0, 1) for count in (3, 7) for arm in ("supervised", "cycle teacher")
    ]
    assert len({cell.name for cell in found}) == len(found)
    assert {cell.settings["split"] for cell in found} == {SPLIT}
    assert {cell.settings["max_epochs"] for cell in found} == {SCALES["small"]["max_epochs"]}, "as many updates for all"
    assert {cell.grid for cell in found} == {"ssl_small"}


def test_another_length_is_another_grid() -> None:
    (cell,) = specs("--method", "supervised", "--max_epochs", "8")
    assert (cell.grid, cell.settings["max_epochs"]) == ("ssl_small_8", 8)


def test_the_papers_arm_has_its_own_grid_of_pixels_and_learning_rate() -> None:
    (cell,) = specs("--method", "Ours (paper)")
    assert (cell.configs, cell.settings["size"], cell.settings["learning_rate"]) == ((), [96, 96], 0.0002)
    assert cell.settings["optimizer#betas"] == [0.5, 0.999]


def test_an_unknown_arm_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="--method 'magic' is no arm; there are 'supervised', "):
        specs("--method", "magic")
    assert ssl_benchmark.main(["--dataset_dir", "none", "--method", "magic"]) == 2
    assert "no arm" in capsys.readouterr().err


@pytest.mark.parametrize("name", read_arms())
def test_every_arm_can_be_built(name: str, make_training: Callable, tmp_path: Path) -> None:
    """With its overlays and settings, on the phantom."""
    arm = read_arms()[name]
    own = {"blocks", "size", "spacing", "filters", "discriminator_filters"}
    tiny = {"unet_features": [2, 2, 2, 2, 2, 2], "labeled_fraction": 0.4}
    settings = {key: value for key, value in arm.settings.items() if key not in own} | tiny
    configs = [str(ROOT / config) for config in ("configs/train.json", *arm.configs)]
    workflow = make_training(config_file=configs, **{key.replace("#", "__"): value for key, value in settings.items()})
    weights = workflow.parser.get_parsed_content("objective").weights
    for key, value in arm.settings.items():
        if key.startswith("weights#"):
            assert getattr(weights, key.removeprefix("weights#")) == value
    if "augmentation#weak" in arm.settings:
        assert workflow.parser.get_parsed_content("augmentation").weak == STRONG


@pytest.fixture
def ssl_phantom(phantom_dir: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A split of five training and two validation patients of the phantom, and a folder of two others."""
    names = sorted(folder.name for folder in (phantom_dir / "training").iterdir())
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"labeled": names[:5], "validation": names[5:7], "test": []}))
    for name in names[7:9]:
        shutil.copytree(phantom_dir / "training" / name, tmp_path / "test" / "training" / name)
    return split, tmp_path / "test"


def test_a_run_in_pieces_ends_with_a_table_and_test_scores(
    phantom_dir: Path, ssl_phantom: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    split, test_dir = ssl_phantom
    keys = ("spacing", "size", "discriminator_filters", "device")
    tiny = {key: TINY[key] for key in keys} | {
        "unet_features": [2, 2, 2, 2, 2, 2],
        "batch_size": 2,
        "split": str(split),
    }
    command = [
        "--dataset_dir",
        str(phantom_dir),
        "--method",
        "supervised",
        "--max_epochs",
        "2",
        "--output_dir",
        str(tmp_path / "out"),
    ]
    command += ["--set", *(f"{key}={json.dumps(value)}" for key, value in tiny.items())]
    assert ssl_benchmark.main([*command, "--seconds", "0.5"]) == 0
    said = capfd.readouterr().out
    assert "0.5 s are over; to go on, give the command again. Not finished: acdc-supervised-3-seed0." in said
    assert not list((tmp_path / "out" / "cells").rglob("*.json"))

    assert ssl_benchmark.main([*command, "--test_dir", str(test_dir)]) == 0
    (path,) = (tmp_path / "out" / "cells").rglob("*.json")
    cell = json.loads(path.read_text())
    assert cell["items"]["validation"] == 4
    assert cell["test"]["cases"] == 4
    assert set(METRICS) <= set(cell["test"]["mean"])
    assert cell["structures"]["mean"]["dice"] != cell["test"]["mean"]["dice"]
    validated = tmp_path / "validation"
    for name in json.loads(split.read_text())["validation"]:
        shutil.copytree(phantom_dir / "training" / name, validated / "training" / name)
    model = tmp_path / "out" / "ssl_small_2" / cell["cell"] / "models" / "model.pt"
    again = scores(model, validated, set(), "bfloat16")
    for metric in METRICS:
        assert again["mean"][metric] == pytest.approx(cell["structures"]["mean"][metric], nan_ok=True), "scored alike"
    assert cell["test"]["mean"]["dice"] == pytest.approx(scores(model, test_dir, set(), "bfloat16")["mean"]["dice"])
    assert cell["test"]["mean"]["dice"] != pytest.approx(scores(model, test_dir, set(), "float32")["mean"]["dice"])
    said = capfd.readouterr().out
    assert "| supervised " in said
    assert "| published: TraCoCo " in said
    before = path.stat().st_mtime_ns
    assert ssl_benchmark.main([*command, "--test_dir", str(test_dir), "--dry_run"]) == 0
    assert capfd.readouterr().out == "acdc-supervised-3-seed0: finished\n"
    assert path.stat().st_mtime_ns == before


def test_patients_of_the_training_are_no_test(phantom_dir: Path, finished_run: Path) -> None:
    with pytest.raises(InputError, match=r"2 patients of --test_dir .* were trained on or chose the model, patient001"):
        scores(finished_run / "models" / "model.pt", phantom_dir, {"patient001", "patient002", "patient900"})


# The table, from made-up cells


def write(folder: Path, arm: str, seed: int, dice: float, count: int = 3, test: float | None = None) -> None:
    def group(value: float) -> dict[str, Any]:
        of_one = dict.fromkeys(METRICS, 2.0) | {"dice": value, "iou": value / 2}
        return {"structures": dict.fromkeys(STRUCTURES, of_one), "mean": of_one}

    cell = {
        "arm": arm,
        "seed": seed,
        "settings": {"labeled_patients": count, "batch_size": 8},
        "updates": 300,
        "seconds": 240.0,
        "structures": group(dice),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{arm}-{count}-{seed}.json").write_text(
        json.dumps(cell if test is None else cell | {"test": group(test)})
    )


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


def test_scores_of_test_patients_are_shown_once_all_seeds_have_them(tmp_path: Path) -> None:
    write(tmp_path, "supervised", 0, 0.6, test=0.5)
    write(tmp_path, "supervised", 1, 0.6)
    assert [row.split for row in read_rows(tmp_path)] == ["validation"]
    write(tmp_path, "supervised", 1, 0.6, test=0.7)
    (row,) = read_rows(tmp_path)
    assert (row.split, row.values("dice").tolist()) == ("test", [0.5, 0.7])


def test_the_report_is_written_as_page_and_numbers(tmp_path: Path) -> None:
    write(tmp_path / "cells", "supervised", 0, 0.6)
    write(tmp_path / "cells", "supervised", 0, 0.8, count=7)
    page = write_report(tmp_path / "cells", tmp_path / "report")
    assert page.strip() == (tmp_path / "report" / "report.md").read_text().strip()
    frame = pd.read_csv(tmp_path / "report" / "report.csv")
    assert frame[["labeled_patients", "dice"]].to_numpy().tolist() == [[3, 0.6], [7, 0.8]]
    assert json.loads((tmp_path / "report" / "report.json").read_text())[1]["dice"] == 0.8


def test_no_cell_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished cell"):
        read_rows(tmp_path)


def test_the_published_table_is_whole() -> None:
    published = pd.read_csv(ssl_report.PUBLISHED)
    assert len(published) == 31
    assert published.loc[published["method"] == "TraCoCo", "dice"].tolist() == [89.46, 90.44]
