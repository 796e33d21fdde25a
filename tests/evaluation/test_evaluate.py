"""``configs/evaluate.json`` as a user runs it, on the phantom."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, create_workflow
from monai.metrics import DiceMetric
from monai.networks.nets import BasicUNet
from PIL import Image

from scripts.data.acdc import CLASS_NAMES, data_list
from scripts.errors import InputError, input_error_in
from scripts.evaluation.cases import EvaluationPreprocessing
from scripts.evaluation.report import CaseScores
from scripts.model_card import ModelCard, sha256
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.prediction import NativeLabelsd
from scripts.training.run_record import RunRecord

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "evaluate.json"
OUTPUTS = ["best.png", "cases.csv", "median.png", "summary.json", "summary.md", "worst.png"]
RESNET = {"_target_": "scripts.networks.resnet_generator.ResNetGenerator", "in_channels": 1, "out_channels": 4}


@pytest.fixture(scope="module")
def split_list(phantom_dir: Path) -> dict:
    """Two validation and two test patients."""
    patients = {"validation": ["patient008", "patient003"], "test": ["patient005", "patient006"]}
    split = phantom_dir.parent / "split.json"
    split.write_text(json.dumps({"labeled": ["patient001"], "unlabeled": ["patient002"]} | patients))
    return data_list(phantom_dir, split=split)


@pytest.fixture
def make_run(tmp_path: Path, phantom_dir: Path, split_list: dict) -> Callable[..., Path]:
    """Write the folder that training would, around an untrained network."""

    def make(network: torch.nn.Module | None = None, definition: dict | None = None) -> Path:
        torch.manual_seed(3)
        network = network or ResNetGenerator(1, 4, filters=2, blocks=1)
        definition = definition or RESNET | {"filters": 2, "blocks": 1}
        card = ModelCard(definition, CLASS_NAMES, (6.0, 6.0), (48, 48), sha256(split_list), "ACDC", "none", "0.1.0")
        card.save(tmp_path / "models" / "model.pt", network, {"foreground_miou": 0.25, "epoch": 2})
        record = RunRecord(tmp_path / "run", tmp_path / "models" / "model.pt", {}, split_list, phantom_dir)
        record.write()
        return tmp_path / "run"

    return make


def workflow_of(run_dir: Path | None, **overrides: Any) -> ConfigWorkflow:
    settings = {"bundle_root": str(ROOT), "run_dir": None if run_dir is None else str(run_dir), "device": "cpu"}
    workflow = create_workflow(
        config_file=str(CONFIG), workflow_type="infer", logging_file=False, **(settings | overrides)
    )
    assert isinstance(workflow, ConfigWorkflow)
    return workflow


def error_of(run_dir: Path | None, **overrides: Any) -> str:
    """The ``InputError`` with which an evaluation ends."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 (MONAI wraps what a component raises)
        workflow_of(run_dir, **overrides).run()
    known = input_error_in(caught.value)
    assert isinstance(known, InputError), caught.value
    return str(known)


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_ecosystem_finds_what_it_expects(make_run: Callable[..., Path]) -> None:
    assert workflow_of(make_run()).check_properties() == []


def test_a_run_is_evaluated_by_its_folder_alone(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run()
    workflow_of(run_dir).run()
    output = run_dir / "evaluation" / "validation"
    assert sorted(os.listdir(output)) == OUTPUTS
    page = (output / "summary.md").read_text(encoding="utf-8")
    assert page in capsys.readouterr().out
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    rows = read_csv(output / "cases.csv")
    assert len(rows) == len(summary["cases"]) == 4 * 3
    assert list(dict.fromkeys(row["patient"] for row in rows)) == ["patient008", "patient003"]
    mean = np.mean([float(row["dice"]) for row in rows])
    assert summary["mean_foreground_dice"] == pytest.approx(mean)
    assert f"**Mean foreground Dice {mean:.3f}**" in page
    assert summary["card"]["scores"] == {"foreground_miou": 0.25, "epoch": 2}
    assert (summary["section"], summary["case_count"], summary["largest_component"]) == ("validation", 4, False)
    assert summary["likelihood"] == 0
    ranked = [case["mean_dice"] for case in summary["ranking"]]
    assert ranked == sorted(ranked)
    assert summary["pictures"]["worst"] == summary["ranking"][0]["case"]
    assert summary["pictures"]["median"] == summary["ranking"][1]["case"]
    assert summary["pictures"]["best"] == summary["ranking"][3]["case"]
    assert all(Image.open(output / name).size[0] > 400 for name in OUTPUTS if name.endswith("png"))


def test_scores_are_of_the_labels_on_disk(
    make_run: Callable[..., Path], phantom_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dice by MONAI, of predictions caught on their way and label files read with nibabel, on the acquired grid."""
    workflow = workflow_of(make_run())
    workflow.initialize()
    caught: dict[str, np.ndarray] = {}
    native_labels = NativeLabelsd.__call__

    def catch(self: NativeLabelsd, data: dict) -> dict:
        done = native_labels(self, data)
        caught[data["image"].meta["filename_or_obj"]] = np.asarray(done["pred"][0])
        return done

    monkeypatch.setattr(NativeLabelsd, "__call__", catch)
    evaluator = workflow.evaluator
    evaluator.run()
    cases: list[CaseScores] = workflow.parser.get_parsed_content("handlers")[0].cases
    assert len(cases) == len(caught) == 4
    for case in cases:
        image = phantom_dir / case.image
        file = nib.load(str(image).replace(".nii.gz", "_gt.nii.gz"))
        label, voxel_ml = np.asarray(file.dataobj), np.prod(file.header.get_zooms()) / 1000
        prediction = caught[str(image)]
        assert prediction.shape == label.shape
        one_hot = [torch.as_tensor(np.stack([volume == k for k in range(4)])[None]) for volume in (prediction, label)]
        expected = DiceMetric(include_background=False, reduction="none", ignore_empty=False)(*one_hot)[0]
        assert [scores.dice for scores in case.structures] == pytest.approx(expected.tolist())
        expected_ml = [(label == k).sum() * voxel_ml for k in (1, 2, 3)]
        assert [scores.truth_ml for scores in case.structures] == pytest.approx(expected_ml, rel=1e-5)
    assert evaluator.state.metrics["mean_foreground_dice"] == pytest.approx(np.mean([c.mean_dice for c in cases]))


def test_the_truth_scores_one(make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the label put in the place of the prediction, every Dice is 1 and every distance 0."""
    run_dir = make_run()
    monkeypatch.setattr(NativeLabelsd, "__call__", lambda self, data: data | {"pred": data["label"]})
    workflow_of(run_dir).run()
    summary = json.loads((run_dir / "evaluation" / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert summary["mean_foreground_dice"] == summary["miou"] == 1
    assert summary["all"]["mean"]["hd95_mm"] == summary["all"]["mean"]["assd_mm"] == 0


def test_the_network_sees_what_it_saw_in_training(split_list: dict, phantom_dir: Path) -> None:
    card = ModelCard({}, CLASS_NAMES, (6.0, 6.0), (48, 48), "", "", "", "")
    item = {key: str(phantom_dir / split_list["test"][0][key]) for key in ("image", "label")}
    done = EvaluationPreprocessing(card.grid, 4)(item | {"patient": "p"})
    in_training = card.grid.preprocessing(("image", "label"), 4)(item)
    assert torch.equal(done["image"], in_training["image"])
    assert np.array_equal(done["label"][0], nib.load(item["label"]).get_fdata())
    assert np.array_equal(done["acquired"][0], nib.load(item["image"]).get_fdata(dtype=np.float32))
    assert done["patient"] == "p"


def test_other_settings(make_run: Callable[..., Path], phantom_dir: Path, tmp_path: Path) -> None:
    """A U-Net, the test section, moved data, another output folder, components cut; an earlier report is replaced."""
    definition = {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 4}
    definition |= {"features": [4, 4, 4, 4, 4, 4]}
    run_dir = make_run(BasicUNet(2, 1, 4, features=(4, 4, 4, 4, 4, 4)), definition)
    moved = tmp_path / "moved"
    for name in ("patient005", "patient006"):
        shutil.copytree(phantom_dir / "training" / name, moved / "training" / name)
    output = tmp_path / "report"
    output.mkdir()
    (output / "summary.md").write_text("old")
    settings = {
        "section": "test",
        "dataset_dir": str(moved),
        "output_dir": str(output),
        "largest_component": "true",
        "likelihood": 0.5,
    }
    workflow = workflow_of(run_dir, **settings)
    workflow.run()
    assert workflow.postprocessing.labels.largest is not None
    page = (output / "summary.md").read_text(encoding="utf-8")
    assert page.startswith("# phantom, test section: 4 cases")
    assert "Of each structure one connected component was kept" in page
    assert (workflow.inferer.likelihood, "likelihood, to the power of 0.5" in page) == (0.5, True)
    assert "BasicUNet" in page
    assert "chosen by its scores on this section" not in page
    assert not (run_dir / "evaluation").exists()


def test_the_command_from_another_folder_with_scripts_of_its_own(finished_run: Path, tmp_path: Path) -> None:
    """After a training by the command, the command that the README gives, run where a foreign ``scripts`` lies."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text("raise RuntimeError('the wrong scripts')")
    run = shutil.copytree(finished_run, tmp_path / "run")
    command = [sys.executable, "-m", "monai.bundle", "run", "evaluating", "--config_file", str(CONFIG)]
    command += ["--bundle_root", str(ROOT), "--run_dir", "run"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "Mean foreground Dice" in result.stdout
    assert sorted(os.listdir(run / "evaluation" / "validation")) == OUTPUTS


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert "is not the folder of a training run" in error_of(tmp_path)
    assert os.listdir(tmp_path) == []


def test_no_run_dir() -> None:
    assert "no run_dir was given" in error_of(None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dataset_dir": "/nowhere"}, "give its folder as --dataset_dir"),
        ({"section": "labeled"}, "--section must be one of"),
        ({"largest_component": "perhaps"}, "--largest_component must be true or false"),
        ({"likelihood": 2}, "--likelihood must be a number in [0, 1]"),
    ],
)
def test_wrong_settings_leave_nothing_behind(
    make_run: Callable[..., Path], overrides: dict[str, str], message: str
) -> None:
    run_dir = make_run()
    before = sorted(os.listdir(run_dir))
    assert message in error_of(run_dir, **overrides)
    assert sorted(os.listdir(run_dir)) == before


def test_a_missing_model(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    (run_dir.parent / "models" / "model.pt").unlink()
    assert "has no model" in error_of(run_dir)


def test_an_output_folder_that_cannot_be_written(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run()
    (tmp_path / "file").touch()
    assert "--output_dir" in error_of(run_dir, output_dir=str(tmp_path / "file" / "below"))


def test_a_truncated_image_leaves_no_report(
    make_run: Callable[..., Path], phantom_dir: Path, split_list: dict, tmp_path: Path
) -> None:
    copy = shutil.copytree(phantom_dir, tmp_path / "copy")
    broken = copy / split_list["validation"][2]["image"]
    broken.write_bytes(broken.read_bytes()[:1000])
    run_dir = make_run()
    assert str(broken) in error_of(run_dir, dataset_dir=str(copy))
    assert os.listdir(run_dir / "evaluation" / "validation") == []
