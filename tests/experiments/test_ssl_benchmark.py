"""The semi-supervised benchmark: its cells, a run in pieces on the phantom, which patients are tested."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from monai.networks.nets import BasicUNet
from running import TINY

from scripts.data.acdc import find_patients
from scripts.data.augmentation import STRONG
from scripts.errors import InputError
from scripts.experiments import runner, ssl_benchmark
from scripts.experiments.job import ROOT, read_job
from scripts.experiments.runner import Outcome, Runner
from scripts.experiments.ssl_benchmark import SCALES, SPLIT, UNET, cells, parser, read_arms
from scripts.experiments.ssl_rows import METRICS
from scripts.experiments.ssl_scores import add_scores, patients_of, scores, withheld

CELLS = ROOT / "docs/results/cells"


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
    off = {"weights#image_cycle": 0, "weights#mask_adversarial": 0, "objective#warm_up": 0, "objective#ramp": 0}
    assert arms["cycle teacher"].settings == off
    assert arm.settings == off | {"weights#image_cycle": 1, "objective#warm_up": 0.1, "objective#ramp": 0.2}


@pytest.mark.parametrize("name", ["mean teacher", "cycle teacher"])
def test_an_arm_that_is_a_method_has_its_defaults(name: str) -> None:
    arm = read_arms()[name]
    config = json.loads((ROOT / arm.configs[-1]).read_text())
    for key, value in arm.settings.items():
        section, setting = key.split("#")
        assert config[section][setting] == value


@pytest.mark.parametrize(
    "path",
    [path for folder in ("ssl_small", "ssl_small_float32") for path in sorted((CELLS / folder).glob("*.json"))],
    ids=lambda path: f"{path.parent.name} {path.stem}",
)
def test_a_kept_cell_is_what_its_arm_would_run(path: Path) -> None:
    cell = json.loads(path.read_text())
    count, seed = str(cell["settings"]["labeled_patients"]), str(cell["seed"])
    precision = f"precision={cell['settings']['precision']}"
    (spec,) = specs("--method", cell["arm"], "--labeled_patients", count, "--seeds", seed, "--set", precision)
    assert path.stem == spec.name
    runner.check_same(spec, cell, path)


@pytest.mark.parametrize("name", read_arms())
def test_every_arm_can_be_built(name: str, make_training: Callable, tmp_path: Path) -> None:
    """With its overlays and settings, on the phantom."""
    arm = read_arms()[name]
    own = {"blocks", "size", "spacing", "filters", "discriminator_filters"}
    network = {"unet_features": [2, 2, 2, 2, 2, 2]} if UNET in arm.configs else {}
    settings = (
        {key: value for key, value in arm.settings.items() if key not in own} | network | {"labeled_fraction": 0.4}
    )
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
    assert ssl_benchmark.main(command_of(phantom_dir, split, whole, "cycle teacher, mask_adversarial", 3)) == 0

    command = command_of(phantom_dir, split, pieces, "cycle teacher, mask_adversarial", 3)
    state = pieces / "ssl_small_3" / "acdc-cycle_teacher_mask_adversarial-3-seed0" / "models" / "training_state.pt"
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
    assert f"600 s are over; to go on, give the command again. Not finished: {state.parents[1].name}." in said
    assert not list((pieces / "cells").rglob("*.json"))

    assert ssl_benchmark.main(command) == 0
    log = (state.parents[2] / f"{state.parents[1].name}.log").read_text()
    assert [log.count(f"epoch {number}/3 mean") for number in (1, 2, 3)] == [1, 1, 1], "went on after the first epoch"
    (_, expected), (_, cell) = cell_in(whole), cell_in(pieces)
    for name in ("curve", "structures", "one_component", "scores", "updates", "best_epoch"):
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
        value = again["one_component"]["mean"][metric]
        assert cell["one_component"]["mean"][metric] == pytest.approx(value, nan_ok=True), (
            "by evaluation, and as test is"
        )
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
    path.write_text(json.dumps({name: cell[name] for name in cell if name != "test"}))
    assert ssl_benchmark.main([*command, "--seconds", "1e-9"]) == ssl_benchmark.TIME_IS_OVER
    assert "Not finished: acdc-supervised-3-seed0 (scores of test patients)." in capfd.readouterr().out
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
    assert "acdc-supervised-3-seed0 (scores of test patients) failed:" in said
    assert "is not there, so the model of acdc-supervised-3-seed0 cannot be scored" in said
    assert "| supervised " in said, "the table is there all the same"


def test_unlabelled_patients_are_scored_by_the_labels_that_were_withheld(
    phantom_dir: Path, ssl_phantom: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    split, _ = ssl_phantom
    command = [*command_of(phantom_dir, split, tmp_path / "out", "supervised"), "--withheld"]
    assert ssl_benchmark.main(command) == 0
    path, cell = cell_in(tmp_path / "out")
    run_dir = tmp_path / "out" / "ssl_small_2" / cell["cell"]
    names = json.loads((run_dir / "data_list.json").read_text())["patients"]["unlabeled"]
    assert cell["unlabeled"]["patients"] == sorted(names)
    assert cell["unlabeled"]["cases"] == 2 * len(names)
    patients = find_patients(phantom_dir)
    again = scores(run_dir / "models" / "model.pt", phantom_dir, [patients[name] for name in names], "bfloat16")
    assert cell["unlabeled"]["mean"]["dice"] == pytest.approx(again["mean"]["dice"])
    assert cell["unlabeled"]["mean"]["dice"] != cell["structures"]["mean"]["dice"]
    said = capfd.readouterr().out
    assert "3 labelled patients, unlabelled patients" in said
    job = read_job(run_dir.parent / f"{cell['cell']}.job.json")
    validation = [patients[name] for name in json.loads(split.read_text())["validation"]]
    with pytest.raises(InputError, match=f"{min(p.name for p in validation)} was not unlabelled in "):
        add_scores(job, "unlabeled", phantom_dir, validation)
    with pytest.raises(InputError, match=r"1 patients of --test_dir .* were trained on or chose the model"):
        add_scores(job, "test", phantom_dir, [patients[names[0]]])
    assert cell_in(tmp_path / "out")[1] == cell
    before = path.stat().st_mtime_ns
    shutil.rmtree(run_dir)
    assert ssl_benchmark.main(command) == 0
    assert path.stat().st_mtime_ns == before, "scored already"


def test_unlabelled_patients_without_labels_are_said_before_the_training(phantom_dir: Path, tmp_path: Path) -> None:
    data = shutil.copytree(phantom_dir, tmp_path / "data")
    names = sorted(find_patients(data))
    with pytest.raises(InputError, match="--withheld: no patient is unlabelled"):
        withheld(data, {"labeled": names})
    find_patients(data)[names[1]].folder.joinpath(f"{names[1]}_frame01_gt.nii.gz").unlink()
    assert [patient.name for patient in withheld(data, {"unlabeled": names[:1]})] == names[:1]
    with pytest.raises(InputError, match=f"--withheld, .*: {names[1]} lacks a labelled frame"):
        withheld(data, {"unlabeled": names[:2]})


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
