"""The semi-supervised benchmark: its cells, a run in pieces on the phantom, its table."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from monai.networks.nets import BasicUNet
from running import TINY
from ssl_cells import write

from scripts.data.acdc import find_patients
from scripts.data.augmentation import STRONG
from scripts.errors import InputError
from scripts.experiments import runner, ssl_benchmark, ssl_report
from scripts.experiments.job import ROOT
from scripts.experiments.runner import Outcome, Runner
from scripts.experiments.ssl_benchmark import SCALES, SPLIT, cells, parser, read_arms
from scripts.experiments.ssl_report import tables, write_report
from scripts.experiments.ssl_rows import METRICS, read_rows
from scripts.experiments.ssl_scores import patients_of, scores


def specs(*arguments: str) -> list:
    return cells(parser().parse_args(["--dataset_dir", "none", *arguments]))


def test_cells_are_seeds_by_patients_by_arms() -> None:
    found = specs("--labeled_patients", "3", "7", "--seeds", "0", "1")
    assert [(c.seed, c.settings["labeled_patients"], c.arm) for c in found] == [
        (seed, count, arm)
        for seed in (0, 1)
        for count in (3, 7)
        for arm in ("supervised", "mean teacher", "cycle teacher")
    ]
    assert len({cell.name for cell in found}) == len(found)
    assert {cell.settings["split"] for cell in found} == {SPLIT}
    assert {cell.settings["max_epochs"] for cell in found} == {SCALES["small"]["max_epochs"]}, "as many updates for all"
    assert {cell.grid for cell in found} == {"ssl_small"}


def test_no_arm_takes_more_updates_than_the_others() -> None:
    for name, arm in read_arms().items():
        assert not {"batch_size", "max_epochs", "epoch_length", "accumulation_steps"} & set(arm.settings), name


def test_another_length_is_another_grid() -> None:
    (cell,) = specs("--method", "supervised", "--max_epochs", "8")
    assert (cell.grid, cell.settings["max_epochs"]) == ("ssl_small_8", 8)


def test_the_full_scale_has_a_larger_network_and_the_paper_its_own_there() -> None:
    supervised, paper = specs("--scale", "full", "--method", "supervised", "Ours (paper)")
    network = BasicUNet(2, 1, 4, features=supervised.settings["unet_features"])
    assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(7.8e6, rel=0.01)
    assert (paper.settings["size"], paper.settings["spacing"]) == ([192, 192], [1.5, 1.5])
    assert "filters" not in paper.settings, "the config's, which are the paper's"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0", "1", "0"], "--seeds names one twice: 0, 1, 0"),
        (["--method", "supervised", "supervised"], "--method names one twice"),
        (["--labeled_patients", "3", "3"], "--labeled_patients names one twice"),
        (["--seeds", "-1"], "--seeds must be 0 or more"),
        (["--max_epochs", "0"], "--max_epochs 1 or more"),
        ([], "--dataset_dir none is no folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ssl_benchmark.main(["--dataset_dir", "none", "--dry_run", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_papers_arm_has_its_own_grid_of_pixels_and_learning_rate() -> None:
    (cell,) = specs("--method", "Ours (paper)")
    assert (cell.configs, cell.settings["size"], cell.settings["learning_rate"]) == ((), [96, 96], 0.0002)
    assert cell.settings["optimizer#betas"] == [0.5, 0.999]


def test_an_unknown_arm_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="--method 'magic' is no arm; there are 'supervised', "):
        specs("--method", "magic")
    assert ssl_benchmark.main(["--dataset_dir", "none", "--method", "magic"]) == 2
    assert "no arm" in capsys.readouterr().err


def test_an_arm_of_another_is_that_one_with_its_own_settings() -> None:
    arms = read_arms()
    arm = arms["cycle teacher, image_cycle, warm-up"]
    assert (
        arm.configs
        == arms["cycle teacher"].configs
        == ("configs/network_unet.json", "configs/method_cycle_teacher.json")
    )
    assert arm.settings == {"weights#image_cycle": 1, "objective#warm_up": 0.1, "objective#ramp": 0.2}
    assert arms["cycle teacher"].settings == {"weights#image_cycle": 0, "objective#warm_up": 0, "objective#ramp": 0}


@pytest.mark.parametrize("name", ["mean teacher", "cycle teacher"])
def test_an_arm_that_is_a_method_has_its_defaults(name: str) -> None:
    arm = read_arms()[name]
    config = json.loads((ROOT / arm.configs[-1]).read_text())
    for key, value in arm.settings.items():
        section, setting = key.split("#")
        assert config[section][setting] == value


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/results/cells/ssl_small").glob("*.json")), ids=lambda path: path.stem
)
def test_a_kept_cell_is_what_its_arm_would_run(path: Path) -> None:
    cell = json.loads(path.read_text())
    count, seed = str(cell["settings"]["labeled_patients"]), str(cell["seed"])
    (spec,) = specs("--method", cell["arm"], "--labeled_patients", count, "--seeds", seed)
    assert path.stem == spec.name
    runner.check_same(spec, cell, path)


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
    augmentation = workflow.parser.get_parsed_content("augmentation")
    if "augmentation#weak" in arm.settings:
        assert augmentation.weak == STRONG
    if "augmentation#strong" in arm.settings:
        assert augmentation.strong == augmentation.weak
    if "augmentation#box" in arm.settings:
        assert augmentation.box == (0, 0)


@pytest.fixture
def ssl_phantom(phantom_dir: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A split of five training and two validation patients of the phantom, and a folder of two others."""
    names = sorted(folder.name for folder in (phantom_dir / "training").iterdir())
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"labeled": names[:5], "validation": names[5:7], "test": []}))
    for name in names[7:9]:
        shutil.copytree(phantom_dir / "training" / name, tmp_path / "test" / "training" / name)
    return split, tmp_path / "test"


def command_of(dataset_dir: Path, split: Path, output_dir: Path, method: str, epochs: int = 2) -> list[str]:
    """Of a tiny cell."""
    keys = ("spacing", "size", *(key for key in TINY if "filters" in key or "blocks" in key), "device")
    tiny = {key: TINY[key] for key in keys} | {"unet_features": [2, 2, 2, 2, 2, 2], "split": str(split)}
    settings = [f"{key}={json.dumps(value)}" for key, value in (tiny | {"batch_size": 2}).items()]
    arguments = ["--dataset_dir", str(dataset_dir), "--method", method, "--max_epochs", str(epochs)]
    return [*arguments, "--output_dir", str(output_dir), "--set", *settings]


def cell_in(output_dir: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = (output_dir / "cells").rglob("*.json")
    return path, json.loads(path.read_text())


def test_a_run_in_pieces_is_the_run_in_one(
    phantom_dir: Path,
    ssl_phantom: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    split, _ = ssl_phantom
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert ssl_benchmark.main(command_of(phantom_dir, split, whole, "cycle teacher", 3)) == 0

    command = command_of(phantom_dir, split, pieces, "cycle teacher", 3)
    state = pieces / "ssl_small_3" / "acdc-cycle_teacher-3-seed0" / "models" / "training_state.pt"
    collect = Runner._collect

    def over_once_there(self: Runner) -> None:
        collect(self)
        if state.is_file():
            self.deadline = 0

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "_collect", over_once_there)
        patch.setattr(runner, "POLL_SECONDS", 0.05)
        assert ssl_benchmark.main([*command, "--seconds", "600"]) == ssl_benchmark.TIME_IS_OVER
    said = capfd.readouterr().out
    assert "600 s are over; to go on, give the command again. Not finished: acdc-cycle_teacher-3-seed0." in said
    assert not list((pieces / "cells").rglob("*.json"))

    assert ssl_benchmark.main(command) == 0
    log = (state.parents[2] / "acdc-cycle_teacher-3-seed0.log").read_text()
    assert [log.count(f"epoch {number}/3 mean") for number in (1, 2, 3)] == [1, 1, 1], "went on after the first epoch"
    (_, expected), (_, cell) = cell_in(whole), cell_in(pieces)
    for name in ("curve", "structures", "scores", "updates", "best_epoch"):
        assert cell[name] == expected[name]


def test_test_patients_are_scored_as_validation_is(
    phantom_dir: Path, ssl_phantom: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    split, test_dir = ssl_phantom
    command = [*command_of(phantom_dir, split, tmp_path / "out", "supervised"), "--test_dir", str(test_dir)]
    assert ssl_benchmark.main(command) == 0
    path, cell = cell_in(tmp_path / "out")
    assert cell["items"]["validation"] == 4
    assert cell["test"]["cases"] == 4
    assert cell["test"]["patients"] == sorted(folder.name for folder in (test_dir / "training").iterdir())
    assert set(METRICS) <= set(cell["test"]["mean"])
    assert cell["structures"]["mean"]["dice"] != cell["test"]["mean"]["dice"]
    model = tmp_path / "out" / "ssl_small_2" / cell["cell"] / "models" / "model.pt"
    patients = find_patients(phantom_dir)
    validation = [patients[name] for name in json.loads(split.read_text())["validation"]]
    again = scores(model, phantom_dir, validation, "bfloat16")
    for metric in METRICS:
        assert again["mean"][metric] == pytest.approx(cell["structures"]["mean"][metric], nan_ok=True), "scored alike"
    for metric in METRICS:
        value = again["one_component"]["mean"][metric]
        assert cell["one_component"]["mean"][metric] == pytest.approx(value, nan_ok=True), "validation, too"
    assert cell["one_component"]["mean"]["hd95_mm"] != cell["structures"]["mean"]["hd95_mm"]
    assert cell["test"]["one_component"]["mean"]["hd95_mm"] != cell["test"]["mean"]["hd95_mm"]
    tested = patients_of(test_dir, {})
    dice = {name: scores(model, test_dir, tested, name)["mean"]["dice"] for name in ("bfloat16", "float32")}
    assert cell["test"]["mean"]["dice"] == pytest.approx(dice["bfloat16"])
    assert cell["test"]["mean"]["dice"] != pytest.approx(dice["float32"]), "in the precision of the run"
    said = capfd.readouterr().out
    assert "| supervised " in said
    assert "| test of 2, 1 " in said
    assert "| published: TraCoCo " in said

    assert ssl_benchmark.main([*command, "--dry_run"]) == 0
    assert capfd.readouterr().out == "acdc-supervised-3-seed0: finished\n"
    assert ssl_benchmark.main([*command, "--seconds", "1e-9"]) == 0, "there is nothing left to do"
    path.write_text(json.dumps({name: cell[name] for name in cell if name != "one_component"}))
    assert ssl_benchmark.main([*command, "--seconds", "1e-9"]) == ssl_benchmark.TIME_IS_OVER
    assert "Not finished: acdc-supervised-3-seed0 (further scores)." in capfd.readouterr().out
    assert ssl_benchmark.main(command) == 0
    assert cell_in(tmp_path / "out")[1] == cell
    before = path.stat().st_mtime_ns
    shutil.rmtree(model.parents[1])
    assert ssl_benchmark.main(command) == 0
    assert path.stat().st_mtime_ns == before, "scored already"
    shutil.rmtree(next((test_dir / "training").iterdir()))
    capfd.readouterr()
    assert ssl_benchmark.main(command) == 1
    said = capfd.readouterr().out
    assert "acdc-supervised-3-seed0 failed:" in said
    assert "is not there, so the model of acdc-supervised-3-seed0 cannot be tested" in said
    assert "| supervised " in said, "the table is there all the same"


def test_what_fails_before_the_seconds_are_over_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_and_go_on(self: Runner) -> Outcome:
        return Outcome(failed={"acdc-supervised-3-seed0": "the log"}, unfinished=["another"])

    monkeypatch.setattr(Runner, "run", fail_and_go_on)
    command = command_of(tmp_path, tmp_path, tmp_path / "out", "supervised")
    assert ssl_benchmark.main([*command, "--seconds", "600"]) == 1
    said = capsys.readouterr().out
    assert "acdc-supervised-3-seed0 failed:\nthe log" in said
    assert "Not finished: another." in said


def test_no_seconds_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ssl_benchmark.main(["--dataset_dir", str(tmp_path), "--seconds", "0"]) == 2
    assert "--seconds must be above 0, got 0." in capsys.readouterr().err


# Which patients are tested


def test_the_splits_test_patients_are_tested_or_all_others(phantom_dir: Path, ssl_phantom: tuple[Path, Path]) -> None:
    names = sorted(find_patients(phantom_dir))
    split = {"labeled": names[:5], "validation": names[5:7], "test": [*names[7:8], "patient900"]}
    assert [patient.name for patient in patients_of(phantom_dir, split)] == names[7:8]
    assert [patient.name for patient in patients_of(ssl_phantom[1], {"labeled": names[:5]})] == names[7:9]


def test_patients_of_the_training_are_no_test(phantom_dir: Path) -> None:
    split = {"labeled": ["patient001"], "validation": ["patient002"], "test": ["patient900"]}
    with pytest.raises(InputError, match=r"2 patients of --test_dir .* were trained on or chose the model, patient001"):
        patients_of(phantom_dir, split)


def test_a_test_folder_that_cannot_be_used_is_said_before_the_training(
    phantom_dir: Path, ssl_phantom: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split, test_dir = ssl_phantom
    command = command_of(phantom_dir, split, tmp_path / "out", "supervised")
    assert ssl_benchmark.main([*command, "--test_dir", str(tmp_path / "nowhere")]) == 2
    assert "Error: --test_dir " in capsys.readouterr().err
    label = next(test_dir.rglob("*_gt.nii*"))
    label.unlink()
    assert ssl_benchmark.main([*command, "--test_dir", str(test_dir)]) == 2
    assert f"{label.parent.name} lacks a labelled frame" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("entry", "option"),
    [
        ("labeled_patients=7", "--labeled_patients"),
        ("seed=5", "--seeds"),
        ("max_epochs=8", "--max_epochs"),
        ("epoch_length=9", "--max_epochs"),
    ],
)
def test_what_names_a_cell_is_no_further_setting(entry: str, option: str) -> None:
    with pytest.raises(InputError, match=f"use {option}"):
        specs("--set", entry)


# The table, from made-up cells


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
