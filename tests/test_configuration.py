"""A setting that nothing reads is refused before any work, and what the documents and the experiments give is read."""

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from running import ROOT, bundle_command

from scripts.errors import input_error_in
from scripts.experiments import ssl_benchmark
from scripts.experiments.grid import GRIDS, CellSpec, read_grid

CONFIGS = ROOT / "configs"


def initialized(*configs: str | Path, tracking: str | None = None, **settings: Any) -> ConfigWorkflow:
    """A workflow of configs of the bundle, or of files elsewhere, as far as it comes without data."""
    settings = {key.replace("__", "#"): value for key, value in settings.items()} | {"bundle_root": str(ROOT)}
    files = [str(CONFIGS / config) for config in configs]  # an absolute path stays
    workflow = ConfigWorkflow(
        files, meta_file=str(CONFIGS / "metadata.json"), logging_file=False, tracking=tracking, **settings
    )
    workflow.initialize()
    return workflow


@pytest.mark.parametrize(
    ("configs", "setting", "meant"),
    [
        pytest.param(["train.json"], "label_patients", "labeled_patients", id="misspelt"),
        pytest.param(["train.json"], "betas", "optimizer#betas", id="of a component"),
        pytest.param(
            ["train.json", "method_mean_teacher.json"], "confidence", "objective#confidence", id="of an overlay"
        ),
        pytest.param(["train.json"], "train__handler", "train#handlers", id="within a section"),
        pytest.param(["train.json"], "train__batch_size", "batch_size", id="in a section that it is not of"),
        pytest.param(["evaluate.json"], "runs_dir", "run_dir", id="evaluation"),
        pytest.param(["inference.json"], "likelyhood", "likelihood", id="inference"),
        pytest.param(["clinical.json"], "likelihood", None, id="of another workflow"),
    ],
)
def test_unknown_setting_is_refused(configs: list[str], setting: str, meant: str | None) -> None:
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        initialized(*configs, **{setting: 1})
    said = str(input_error_in(caught.value))
    assert said.startswith(f"--{setting.replace('__', '#')} is no setting of configs/{configs[0]}")
    assert said.endswith(f"Did you mean --{meant}?" if meant else "Leave it out, or see there what there is.")


def test_command_line_says_so_in_one_paragraph(tmp_path: Path) -> None:
    run = bundle_command("training", folder=tmp_path / "run", labeled_patient=3)
    assert run.returncode == 1
    assert run.stderr.strip().endswith("Did you mean --labeled_patients?")
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", ["train.json", "inference.json", "clinical.json"])
def test_comments_and_tracking_by_monai_are_no_settings(config: str) -> None:
    initialized(config, _comment="why", tracking="mlflow")


def test_overlay_may_have_keys_of_its_own(tmp_path: Path) -> None:
    overlay = tmp_path / "slow.json"
    overlay.write_text(json.dumps({"slowness": 10, "learning_rate": "$0.002 / @slowness"}))
    initialized("train.json", overlay)
    with pytest.raises(RuntimeError) as caught:
        initialized("train.json", overlay, slownes=10)
    assert "Did you mean --slowness?" in str(input_error_in(caught.value))


def documented_commands() -> list[str]:
    """What follows ``monai.bundle run`` in the documents, up to the end of the command, its shell variables filled in."""
    commands = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, value in re.findall(r"^(\w+)='(.*)'$", text, re.MULTILINE):
            text = text.replace(f"${name} ", f"{value} ")
        found = re.findall(r"monai\.bundle run \w+ ([^`\n]*--config_file[^`\n]*)", text)
        commands += [command.partition(" #")[0] for command in found]
    return commands


@pytest.mark.parametrize("command", documented_commands())
def test_settings_of_documented_commands_exist(command: str) -> None:
    words = shlex.split(command)
    given = dict(zip(words[::2], words[1::2], strict=True))
    files = given.pop("--config_file")
    settings = {key.removeprefix("--").replace("#", "__"): value for key, value in given.items()}
    configs = ast.literal_eval(files) if files.startswith("[") else [files]
    names = [Path(config).name for config in configs]
    initialized(*(name for name in names if name != "multi_gpu_train.json"), **settings)  # which would wait for others


def experiments() -> list[CellSpec]:
    """The first cell of each arm of the benchmark, at both scales, and of each data set and arm of the paper's grids."""
    arms = list(ssl_benchmark.read_arms())
    found = [cell for path in sorted(GRIDS.glob("*.json")) for cell in read_grid(path).cells()]
    for scale in ssl_benchmark.SCALES:
        options = ["--dataset_dir", "none", "--scale", scale, "--method", *arms]
        found += ssl_benchmark.cells(ssl_benchmark.parser().parse_args(options))
    return list({(cell.grid, cell.dataset, cell.arm): cell for cell in reversed(found)}.values())


@pytest.mark.parametrize("cell", experiments(), ids=lambda cell: f"{cell.grid} {cell.dataset} {cell.arm}")
def test_settings_of_experiments_exist(cell: CellSpec) -> None:
    settings = {key.replace("#", "__"): value for key, value in cell.settings.items()}
    initialized("train.json", *(Path(config).name for config in cell.configs), **settings)
