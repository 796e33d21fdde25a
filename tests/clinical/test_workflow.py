"""From a study to its report: with a network that knows the truth, with one that knows nothing, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from running import ROOT, command_environment

from scripts.clinical.__main__ import main
from scripts.clinical.segmentation import FlippedInferer, PhaseImaged, PhaseLabelsd
from scripts.clinical.structures import Structures
from scripts.clinical.study import CineStudy, read_study
from scripts.clinical.workflow import CardiacReport, phases_of
from scripts.data.dicom_phantom import PLANTED, dicom_phantom_truth, write_dicom_phantom
from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError
from scripts.model_card import ModelCard

STRUCTURES = Structures(rv=1, myocardium=2, lv=3)


@pytest.fixture(scope="module")
def study(dicom_phantom: Path) -> CineStudy:
    return read_study(dicom_phantom)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return dicom_phantom_truth(1, 0, True)[0]


@pytest.fixture
def card() -> ModelCard:
    network = {"_target_": "scripts.networks.resnet_generator.ResNetGenerator", "in_channels": 1, "out_channels": 4}
    names = ("background", "right ventricle cavity", "left ventricle myocardium", "left ventricle cavity")
    return ModelCard(network, names, (6, 6), (32, 32), "", "phantom", "Apache-2.0", "0.2.0", weights_sha256="0" * 64)


def report_of(study: CineStudy, labels: np.ndarray, report: CardiacReport) -> CardiacReport:
    """Run ``report`` on labels as a network would give them, phase by phase."""
    sure = dict.fromkeys(STRUCTURES.items(), 0.95)

    def segment(engine: Engine, batch: list[dict]) -> list[dict]:
        phase = batch[0]["phase"]
        return [{"pred": torch.tensor(labels[phase]).unsqueeze(0), "confidence": sure}]

    engine = Engine(segment)
    report.attach(engine)
    engine.run([[{"phase": phase}] for phase in range(len(study.images))])
    return report


def test_what_the_truth_gives_is_in_the_report(
    study: CineStudy, truth: np.ndarray, card: ModelCard, tmp_path: Path
) -> None:
    (tmp_path / "model.pt").touch()
    options: dict[str, Any] = {"ed_phase": 2, "structures": STRUCTURES}
    report = report_of(study, truth, CardiacReport(study, card, tmp_path / "model.pt", tmp_path / "out", **options))
    content = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert not report.failed
    assert content["numbers_given"]
    values = {row["key"]: row["value"] for row in content["measurements"]}
    voxel = np.prod(study.spacing) / 1000
    lv = (truth == STRUCTURES.lv).sum((1, 2, 3)) * voxel
    assert values["lv_edv_ml"] == pytest.approx(lv[1], rel=1e-3), "the phase that was asked for"
    assert values["lv_esv_ml"] == pytest.approx(lv.min(), rel=1e-3)
    assert values["lv_mass_g"] == pytest.approx(1.05 * (truth[1] == STRUCTURES.myocardium).sum() * voxel, rel=1e-3)
    written = nib.load(tmp_path / "out" / "segmentation.nii.gz")
    np.testing.assert_array_equal(np.moveaxis(np.asarray(written.dataobj), -1, 0), truth)


def test_labels_come_back_to_the_acquired_grid(study: CineStudy, truth: np.ndarray) -> None:
    """A network that is handed the truth on its grid gives it back, but for what the grid cannot hold."""
    grid = SliceGrid((3.0, 3.0), (96, 96))
    image = PhaseImaged(study, grid)({"phase": 0})["image"]
    assert image.shape == (1, 96, 96, study.images.shape[3])
    labels = PhaseImaged(CineStudy(**{**vars(study), "images": truth.astype(np.float32)}), grid).resample.transforms[
        1:3
    ]  # spacing and crop alone
    moved: Any = {
        "image": MetaTensor(torch.from_numpy(truth[:1].astype(np.float32)), affine=torch.tensor(study.affine))
    }
    for transform in labels:
        moved = transform(moved)
    soft = (
        torch.nn.functional.one_hot(moved["image"].as_tensor()[0].round().long().clamp(0, 3), 4).movedim(-1, 0).float()
    )
    output = PhaseLabelsd(study, STRUCTURES)({"pred": soft, "image": image})
    agreement = float((output["pred"][0].numpy() == truth[0]).mean())
    assert agreement > 0.97
    assert set(output["confidence"]) == set(STRUCTURES.items())
    heart = (soft.argmax(0) > 0).nonzero()
    beyond = int(heart[:, 0].max()) + 4
    soft[:, beyond : beyond + 10, 40:60] = torch.eye(4)[STRUCTURES.rv].view(4, 1, 1, 1)
    every, kept = (
        PhaseLabelsd(study, STRUCTURES, only)({"pred": soft, "image": image})["pred"] for only in (False, True)
    )
    wrong = (every == STRUCTURES.rv) & (output["pred"] == 0)
    assert wrong.sum() > (output["pred"] == STRUCTURES.rv).sum()
    assert torch.equal(kept, output["pred"]), "a larger piece far from the heart is no right ventricle"


@pytest.mark.parametrize("flips", [True, False])
def test_flips_average_mirror_images(flips: bool) -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 3, 3, padding=1)
    inputs = torch.randn(1, 1, 8, 12, 4)
    got = FlippedInferer(flips=flips, precision="float32")(inputs, network)
    one = FlippedInferer(precision="float32")
    views = [(), (2,), (3,), (2, 3)] if flips else [()]
    expected = torch.stack([one(inputs.flip(v), network).flip(v) if v else one(inputs, network) for v in views]).mean(0)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got.sum(1), torch.ones_like(got[:, 0]))


def test_a_poor_model_fails_closed_with_exit_code_2(
    dicom_phantom: Path, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a report"
    arguments = [str(dicom_phantom), "--model", str(finished_run / "models" / "model.pt"), "--output_dir", str(out)]
    assert main(arguments) == 2
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert not content["numbers_given"]
    assert content["measurements"] == []
    assert any(flag["severity"] == "hard" for flag in content["flags"])
    told = capsys.readouterr()
    text = told.out + told.err + "".join(path.read_text("utf-8", "ignore") for path in out.glob("*.[hj]*"))
    assert not [word for word in PLANTED if word in text]
    assert main(arguments) == 1, "a report is not replaced unasked"
    assert "overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 2


def test_the_bundle_command_does_the_same(dicom_phantom: Path, finished_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "clinical", "--config_file"]
    command += ["configs/clinical.json", "--study", str(dicom_phantom), "--output_dir", str(tmp_path / "out")]
    command += ["--model", str(finished_run / "models" / "model.pt")]
    done = subprocess.run(command, cwd=ROOT, env=command_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ed_phase", "9"], "--ed_phase must be a whole number in 1 to 8"),
        (["--es_phase", "0"], "--es_phase must be a whole number in 1 to 8"),
        (["--series", "77"], "77"),
        (["--batch_size", "0"], "batch_size must be a whole number of at least 1, got 0"),
        (["--model", "$nothing/model.pt"], "is not a model card"),
    ],
)
def test_what_cannot_be_done_is_said_plainly_and_leaves_nothing(
    options: list[str],
    message: str,
    dicom_phantom: Path,
    finished_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ["--model", str(finished_run / "models" / "model.pt")]
    assert main([str(dicom_phantom), *model, "--output_dir", str(tmp_path / "out"), *options]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["no_short_axis", "missing_slice_in_one_phase", "mixed_patients"])
def test_a_faulty_study_ends_in_one_paragraph(
    fault: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = write_dicom_phantom(tmp_path / "study", smallest=True, fault=fault)
    model = str(finished_run / "models" / "model.pt")
    assert main([str(faulty), "--model", model, "--output_dir", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("\nError: ")
    assert not [word for word in PLANTED if word in error]
    assert not (tmp_path / "out").exists()


def test_a_model_of_photographs_is_refused(study: CineStudy, card: ModelCard) -> None:
    photographs = ModelCard(card.network_def, card.class_names, None, (32, 32), "", "x", "y", "0.2.0", image_channels=3)
    with pytest.raises(InputError, match="the model is one of photographs"):
        phases_of(study, photographs)
