"""A run that is stopped, in whatever way, and resumed ends as if it had never stopped."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from running import ROOT, command_environment, training_arguments

from scripts.data.phantom import write_phantom
from scripts.errors import InputError, input_error_in

EPOCHS = 3


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "models" / "training_state.pt", weights_only=True)
    assert state["engine"]["epoch"] == EPOCHS
    return state["networks"]


def stop_in_second_epoch(folder: Path, dataset_dir: Path, number: signal.Signals) -> int:
    """Start the bundle's command, wait for the first saved epoch, send a signal in the next one; its return code."""
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", "configs/train.json"]
    command += training_arguments(folder, dataset_dir, max_epochs=EPOCHS, mlflow=False)
    process = subprocess.Popen(
        command, cwd=ROOT, env=command_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    state = folder / "models" / "training_state.pt"
    while not state.exists():
        assert process.poll() is None, "the training ended before its first epoch was saved"
        time.sleep(0.005)
    process.send_signal(number)
    return process.wait(timeout=60)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, phantom_dir: Path) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", "configs/train.json"]
    command += training_arguments(folder, phantom_dir, max_epochs=EPOCHS, mlflow=False)
    subprocess.run(command, cwd=ROOT, env=command_environment(), check=True, capture_output=True)
    return weights(folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_ends_with_the_same_weights(
    number: signal.Signals,
    code: int,
    uninterrupted: dict[str, torch.Tensor],
    phantom_dir: Path,
    tmp_path: Path,
    make_training: Callable[..., ConfigWorkflow],
) -> None:
    assert stop_in_second_epoch(tmp_path, phantom_dir, number) == code
    saved = torch.load(tmp_path / "models" / "training_state.pt", weights_only=True)["engine"]
    epoch_length = saved["iteration"] / saved["epoch"] if number == signal.SIGKILL else None
    assert saved["epoch"] < EPOCHS
    assert epoch_length is None or epoch_length == int(epoch_length), "after SIGKILL the last whole epoch is there"

    make_training(folder=tmp_path, max_epochs=EPOCHS, resume="true").run()

    resumed = weights(tmp_path)
    assert resumed.keys() == uninterrupted.keys()
    different = [name for name, tensor in resumed.items() if not torch.equal(tensor, uninterrupted[name])]
    assert different == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"filters": 4}, "segmentor.filters: 2 then, 4 now"),
        ({"max_epochs": 5}, "max_epochs: 2 then, 5 now"),
        ({"epoch_length": 3}, "epoch_length: None then, 3 now"),
        ({"labeled_fraction": 0.8}, "patients.labeled"),
        ({"weights__mask_cycle": 0.5}, "weights.mask_cycle: 0.05 then, 0.5 now"),
    ],
)
def test_a_changed_run_is_not_resumed(
    change: dict, named: str, finished_run: Path, make_training: Callable[..., ConfigWorkflow]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    workflow = make_training(folder=finished_run, resume=True, **change)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        workflow.run()
    error = input_error_in(raised.value)
    assert error is not None
    assert named in str(error)
    after = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    assert after == before, "a refused resume leaves everything as it was"


def test_a_finished_run_resumed_stays_as_it_is(
    finished_run: Path, make_training: Callable[..., ConfigWorkflow]
) -> None:
    state = finished_run / "models" / "training_state.pt"
    before = state.read_bytes()
    make_training(folder=finished_run, resume="true").run()
    assert state.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"not a checkpoint"])
def test_resuming_without_a_state_says_so(
    content: bytes | None, tmp_path: Path, make_training: Callable[..., ConfigWorkflow]
) -> None:
    state = tmp_path / "models" / "training_state.pt"
    if content is not None:
        state.parent.mkdir()
        state.write_bytes(content)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        make_training(folder=tmp_path, resume="true").run()
    assert isinstance(input_error_in(raised.value), InputError)
    assert str(state) in str(input_error_in(raised.value))


def test_other_data_of_the_same_names_are_not_resumed(
    finished_run: Path, tmp_path: Path, make_training: Callable[..., ConfigWorkflow]
) -> None:
    other = write_phantom(tmp_path / "other", patients=10, seed=1, smallest=True)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        make_training(folder=finished_run, resume=True, dataset_dir=str(other)).run()
    told = str(input_error_in(raised.value))
    assert "differ from the interrupted run (data_list:" in told
    assert "files:" in told


def test_a_new_run_does_not_replace_another_unless_told(
    phantom_dir: Path, tmp_path: Path, make_training: Callable[..., ConfigWorkflow]
) -> None:
    make_training(folder=tmp_path, max_epochs=1).run()
    state = tmp_path / "models" / "training_state.pt"
    before = state.read_bytes()
    with pytest.raises(Exception) as raised:  # noqa: PT011
        make_training(folder=tmp_path, max_epochs=1).run()
    assert f"{state} holds a run already" in str(input_error_in(raised.value))
    assert state.read_bytes() == before
    make_training(folder=tmp_path, max_epochs=1, overwrite="true", seed=5).run()
    assert torch.load(state, weights_only=True)["fingerprint"]["seed"] == 5


def test_broken_weights_do_not_replace_the_last_state(
    tmp_path: Path, make_training: Callable[..., ConfigWorkflow]
) -> None:
    workflow = make_training(folder=tmp_path)
    trainer = workflow.trainer
    state = tmp_path / "models" / "training_state.pt"
    kept = []

    def break_a_weight() -> None:
        kept.append(state.read_bytes())
        next(trainer.network.parameters()).data.fill_(float("nan"))

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2 * trainer.state.epoch_length), break_a_weight)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        workflow.run()
    assert "weights are NaN or infinite" in str(raised.value.__cause__)
    assert kept == [state.read_bytes()]


def test_a_run_goes_on_in_another_precision(tmp_path: Path, make_training: Callable[..., ConfigWorkflow]) -> None:
    workflow = make_training(folder=tmp_path, precision="bfloat16")
    workflow.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), workflow.trainer.terminate)
    workflow.run()
    resumed = make_training(folder=tmp_path, precision="float32", resume=True)
    resumed.run()
    assert resumed.trainer.state.epoch == 2


def test_validation_comes_after_the_last_epoch_at_the_latest(
    tmp_path: Path, make_training: Callable[..., ConfigWorkflow]
) -> None:
    make_training(folder=tmp_path, max_epochs=1, val_interval=3).run()
    assert (tmp_path / "models" / "model.pt").is_file()


def test_a_misspelt_flag_is_refused(make_training: Callable[..., ConfigWorkflow]) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        make_training(resume="yes").run()
    assert "--resume must be true or false, got 'yes'" in str(input_error_in(raised.value))


def test_the_state_says_what_it_belongs_to(finished_run: Path) -> None:
    state = torch.load(finished_run / "models" / "training_state.pt", weights_only=True)
    run = json.loads((finished_run / "data_list.json").read_text(encoding="utf-8"))
    assert state["fingerprint"]["patients"] == run["patients"]
    assert state["best"]["epoch"] >= 1
    assert state["handlers"]["tracker"]["run_id"]
