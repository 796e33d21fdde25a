"""The bundle as MONAI's tools see it: metadata, properties, and use from anywhere."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import jsonschema
import pytest
import torch
from monai.bundle import ConfigWorkflow
from running import ROOT, TINY, bundle_command, command_environment

import scripts
from scripts.errors import input_error_in

DATASHEET = {
    "type": "object",
    "required": [
        "version",
        "changelog",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "task",
        "description",
        "authors",
        "copyright",
        "network_data_format",
    ],
    "properties": {
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "changelog": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
        "required_packages_version": {"type": "object", "additionalProperties": {"type": "string"}},
        "intended_use": {"type": "string", "pattern": "not for diagnosis"},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "channel_def"],
                },
            },
        },
    },
}
"""The keys that MONAI's published metadata schema requires, and what this bundle adds to them."""


def test_metadata() -> None:
    text = (ROOT / "configs" / "metadata.json").read_text(encoding="utf-8")
    assert (ROOT / "metadata.json").read_text(encoding="utf-8") == text, "the top-level metadata.json is a copy"
    metadata = json.loads(text)
    jsonschema.validate(metadata, DATASHEET)
    assert metadata["version"] == scripts.__version__
    assert metadata["version"] == next(iter(metadata["changelog"])), "the newest first"
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 4


def test_pinned_versions_are_those_of_the_metadata() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    metadata = json.loads((ROOT / "configs" / "metadata.json").read_text(encoding="utf-8"))
    named = {
        name: metadata[f"{key}_version"] for name, key in (("torch", "pytorch"), ("monai", "monai"), ("numpy", "numpy"))
    }
    assert named | metadata["required_packages_version"] == pins


def test_training_properties(make_training: Callable[..., ConfigWorkflow]) -> None:
    workflow = make_training()
    assert workflow.check_properties() == []
    assert workflow.max_epochs == TINY["max_epochs"]
    assert len(workflow.train_dataset_data) == 2 * 3, "labelled items only, 40 % of 8 training patients"
    assert all("label" in item for item in workflow.train_dataset_data)


def test_network_input_and_output(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "verify_net_in_out", "network"]
    command += ["--meta_file", str(ROOT / "configs" / "metadata.json")]
    command += ["--config_file", str(ROOT / "configs" / "train.json"), "--bundle_root", str(ROOT)]
    command += ["--filters", "2", "--n", "8", "--device", "cpu"]
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text("raise ImportError('a foreign package')\n")
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=command_environment())
    assert result.returncode == 0, result.stderr
    assert "verified with no error" in result.stdout + result.stderr


CREATE = """
import sys
from monai.bundle import create_workflow
workflow = create_workflow(config_file=sys.argv[1], bundle_root=sys.argv[2], dataset_dir=sys.argv[3], output_dir='out',
                           workflow_type='train', filters=2, size=[32, 32], spacing=[6, 6], mlflow=False)
assert workflow.check_properties() == []
print(type(workflow.trainer).__module__)
"""
LOAD = """
import sys
from pathlib import Path
import torch
from monai.bundle import load
from scripts.networks.resnet_generator import ResNetGenerator
root, weights = Path(sys.argv[2]), Path('weights.pt').resolve()
network = ResNetGenerator(1, 4, filters=2, blocks=1)
torch.save(network.state_dict(), weights)
loaded = load(name=root.name, bundle_dir=str(root.parent), model_file=str(weights), device='cpu',
              net_override={'filters': 2, 'blocks': 1})
assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), network.state_dict().values(), strict=True))
print(type(loaded).__module__)
"""


@pytest.mark.parametrize(
    ("code", "path", "module"),
    [(CREATE, False, "scripts.training.trainer"), (LOAD, True, "scripts.networks.resnet_generator")],
    ids=["create_workflow", "load"],
)
def test_from_a_folder_with_a_scripts_package_of_its_own(
    code: str, path: bool, module: str, phantom_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text("raise ImportError('a foreign package')\n")
    program = tmp_path / "program" / "main.py"
    program.parent.mkdir()
    program.write_text(code)
    environment = command_environment(**({"PYTHONPATH": str(ROOT)} if path else {}))
    command = [sys.executable, "-W", "ignore", str(program), str(ROOT / "configs" / "train.json"), str(ROOT)]
    result = subprocess.run([*command, str(phantom_dir)], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert module in result.stdout


def test_run_from_a_folder_with_a_scripts_package_of_its_own(phantom_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text("raise ImportError('a foreign package')\n")
    result = bundle_command(
        "training",
        folder=tmp_path / "run",
        dataset_dir=phantom_dir,
        cwd=tmp_path,
        config=str(ROOT / "configs" / "train.json"),
        bundle_root=str(ROOT),
        mlflow="false",
        evaluate="true",
        max_epochs=1,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "models" / "model.pt").is_file()
    assert (tmp_path / "run" / "evaluation" / "validation" / "summary.md").is_file(), "a training ends with its tables"
    for place in ("Best model:", "Run folder:", "Tables and figures:", "MLflow: off"):
        assert place in result.stdout


def test_a_wrong_root_is_named(phantom_dir: Path, tmp_path: Path) -> None:
    config = str(ROOT / "configs" / "train.json")
    result = bundle_command(
        "training", folder=tmp_path, dataset_dir=phantom_dir, cwd=tmp_path, config=config, bundle_root=str(tmp_path)
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith(f"Error: --bundle_root {tmp_path} is not this bundle")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no dataset_dir was given"),
        ({"dataset_dir": "nowhere"}, "dataset_dir nowhere is not a folder"),
    ],
)
def test_without_data_the_command_says_where_it_is_had(settings: dict, message: str, tmp_path: Path) -> None:
    result = bundle_command("training", folder=tmp_path / "run", **settings)
    assert result.returncode == 1
    paragraph = result.stderr.strip().splitlines()[-1]
    assert paragraph.startswith("Error: ")
    assert message in paragraph
    assert "humanheart-project.creatis.insa-lyon.fr" in paragraph
    assert "configs/demo.json" in paragraph
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists(), "nothing half-written"


def test_the_demo_is_the_training_on_the_phantom(make_training: Callable[..., ConfigWorkflow], tmp_path: Path) -> None:
    """Its data set is made by the phantom; here a smaller one takes its place in the same config files."""
    files = [str(ROOT / "configs" / name) for name in ("train.json", "demo.json")]
    workflow = make_training(config_file=files, labeled_fraction=None)
    assert workflow.check_properties() == []
    demo = json.loads((ROOT / "configs" / "demo.json").read_text(encoding="utf-8"))
    assert demo["dataset_dir"]["_target_"] == "scripts.data.phantom.write_phantom"
    assert workflow.parser["labeled_patients"] == demo["labeled_patients"]


def test_an_unwritable_output_is_named(phantom_dir: Path, make_training: Callable[..., ConfigWorkflow]) -> None:
    blocked = phantom_dir / "phantom.json" / "below_a_file"
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        make_training(folder=blocked).run()
    assert f"--output_dir {blocked} cannot be written" in str(input_error_in(raised.value))


def test_a_full_disk_leaves_the_last_state(
    make_training: Callable[..., ConfigWorkflow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = make_training(folder=tmp_path, max_epochs=2)
    state = tmp_path / "models" / "training_state.pt"
    save = torch.save
    kept: list[bytes] = []

    def save_until_the_disk_is_full(content: object, file: BinaryIO) -> None:
        if state.is_file() and "training_state" in file.name:
            kept.append(state.read_bytes())
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr(torch, "save", save_until_the_disk_is_full)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        workflow.run()
    assert "No space left on device" in str(input_error_in(raised.value))
    assert kept == [state.read_bytes()]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_broken_image_stops_before_anything_is_written(
    phantom_dir: Path, make_training: Callable[..., ConfigWorkflow], tmp_path: Path
) -> None:
    broken = tmp_path / "data"
    shutil.copytree(phantom_dir, broken)
    image = next(iter(sorted(broken.glob("training/patient*/*_frame01.nii.gz"))))
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        make_training(dataset_dir=str(broken)).run()
    assert str(image) in str(input_error_in(raised.value))
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labeled_fraction": 1.0}, "no unlabelled case"),
        ({"labeled_fraction": 1.5}, "labeled_fraction must lie in (0, 1], got 1.5"),
        ({"labeled_fraction": 0}, "labeled_fraction must lie in (0, 1], got 0"),
        ({"labeled_patients": 2}, "were both given"),
        ({"labeled_fraction": None, "labeled_patients": 0}, "labeled_patients must be a whole number in 1 to"),
        ({"precision": "half"}, "precision must be"),
        ({"mlflow": "maybe"}, "--mlflow must be true or false"),
        ({"size": [30, 30]}, "divisible by 4"),
    ],
)
def test_a_setting_out_of_range_is_named(
    settings: dict, message: str, make_training: Callable[..., ConfigWorkflow], tmp_path: Path
) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        make_training(**settings).run()
    error: BaseException | None = raised.value
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    assert any(message in text for text in texts)
    assert not list(tmp_path.rglob("model.pt"))


def test_full_supervision_needs_no_unlabelled_patient(make_training: Callable[..., ConfigWorkflow]) -> None:
    unsupervised = ("image_reconstruction", "mask_cycle", "image_cycle", "mask_adversarial", "image_adversarial")
    off = {f"weights__{name}": 0 for name in unsupervised}
    workflow = make_training(labeled_fraction=1.0, max_epochs=1, **off)
    workflow.run()
    assert workflow.trainer.state.metrics.keys() == {"loss", "segmentation"}
