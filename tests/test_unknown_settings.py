"""A setting that nothing reads is refused before any work, and what the documents and the experiments give is read."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow
from running import ROOT, bundle_command

from scripts.errors import input_error_in
from scripts.experiments import ssl_benchmark
from scripts.experiments.grid import GRIDS, CellSpec, read_grid

CONFIGS = ROOT / "configs"


def initialized(*configs: str | Path, tracking: str | None = None, **settings: Any) -> ConfigWorkflow:
    """A workflow of configs of the bundle, or of files elsewhere, as far as it comes without data."""
    files = [str(CONFIGS / config) for config in configs]  # an absolute path stays
    metadata = str(CONFIGS / "metadata.json")
    settings["bundle_root"] = str(ROOT)
    workflow = ConfigWorkflow(files, meta_file=metadata, logging_file=False, tracking=tracking, **settings)
    workflow.initialize()
    return workflow


def refusal(*configs: str | Path, **settings: Any) -> str:
    """What is said of a setting that is refused."""
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        initialized(*configs, **settings)
    return str(input_error_in(caught.value))


@pytest.mark.parametrize(
    ("config", "setting", "meant"),
    [
        ("train.json", "label_patients", "labeled_patients"),
        ("train.json", "betas", "optimizer#betas"),
        ("train.json", "lr", "learning_rate"),  # of both optimizers, where optimizer#lr is of one
        ("train.json", "in_channels", "image_channels"),
        ("train.json", "output", "output_dir"),
        ("train.json", "mask_cycle", "weights#mask_cycle"),
        ("train.json", "dataset", "dataset_dir"),
        ("train.json", "patients", None),  # not the record that the fingerprint keeps
        ("train.json", "train#handler", None),
        ("train.json", "train#batch_size", "batch_size"),
        ("train.json", "nothing_like_it", None),
        ("method_mean_teacher.json", "confidence", "objective#confidence"),
        ("evaluate.json", "runs_dir", "run_dir"),
        ("evaluate.json", "train", None),
        ("inference.json", "likelyhood", "likelihood"),
        ("inference.json", "output", "output_dir"),
        ("clinical.json", "likelihood", None),
    ],
)
def test_unknown_setting_is_refused(config: str, setting: str, meant: str | None) -> None:
    configs = ["train.json", config] if config.startswith("method_") else [config]
    remedy = f"Did you mean --{meant}?" if meant else "Correct it, or leave it out."
    expected = f"--{setting}: configs/{configs[0]} has no such setting, and nothing refers to it. {remedy}"
    assert refusal(*configs, **{setting: 1}) == expected


@pytest.mark.parametrize("value", ["text", 1, None, [1, 2], torch.device("cpu")])
def test_plain_values_are_refused(value: Any) -> None:
    assert refusal("train.json", spacings=value).startswith("--spacings: configs/train.json has no such setting")


def test_command_line_says_so_in_one_paragraph(tmp_path: Path) -> None:
    run = bundle_command("training", folder=tmp_path / "run", labeled_patient=3)
    assert run.returncode == 1
    assert run.stderr.strip().endswith("Did you mean --labeled_patients?")
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", ["train.json", "inference.json", "clinical.json"])
def test_comments_and_tracking_by_monai_are_accepted(config: str, tmp_path: Path) -> None:
    initialized(config, _comment="why", tracking="mlflow", output_dir=str(tmp_path), run_name="mine")


@pytest.mark.parametrize(
    "overlay",
    [
        pytest.param({"slowness": 10, "learning_rate": "$0.002 / @slowness"}, id="value"),
        pytest.param({"größe": 0.1, "learning_rate": "@größe"}, id="in another script"),
        pytest.param({"train#slowness": 10, "learning_rate": "$0.002 / @train#slowness"}, id="value of a section"),
        pytest.param({"train#_comment": "why"}, id="comment in a section"),
        pytest.param({"small": {"_target_": "torch.nn.Conv2d", "kernel_size": 1}, "network_def": "%small"}, id="macro"),
        pytest.param({"only_validate": ["$@validate#evaluator.run()"]}, id="steps"),
        pytest.param({"only_train": "$@train#trainer.run()"}, id="step"),
        pytest.param({"log_interval": "$10 * @weights#segmentation"}, id="entry of a mapping"),
        pytest.param({"label_map": {0: 0, 1: 1}}, id="numbers as keys"),
    ],
)
def test_overlay_may_have_keys_of_its_own(overlay: dict[str, Any]) -> None:
    initialized("train.json", "method_mean_teacher.json", **overlay)


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


def test_documented_commands_are_found() -> None:
    assert len(documented_commands()) > 30


@pytest.mark.parametrize("command", documented_commands())
def test_settings_of_documented_commands_exist(command: str) -> None:
    words = shlex.split(command)
    given = dict(zip(words[::2], words[1::2], strict=True))
    files = given.pop("--config_file")
    settings = {key.removeprefix("--"): value for key, value in given.items()}
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
    initialized("train.json", *(Path(config).name for config in cell.configs), **cell.settings)
