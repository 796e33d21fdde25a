"""The folder of a run: what is read from it, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.data.acdc import data_list
from scripts.errors import InputError
from scripts.evaluation.finished_run import FinishedRun, read_run
from scripts.model_card import ModelCard, sha256

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, phantom_dir: Path) -> MakeRun:
    """Write a run's folder without weights; keywords replace entries of run.json, None removes one."""

    def make(**entries: str | None) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        record = {"model": "../models/model.pt", "data_list": "data_list.json", "dataset_dir": str(phantom_dir)}
        record = {key: value for key, value in (record | entries).items() if value is not None}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "data_list.json").write_text(json.dumps(data_list(phantom_dir, labeled_patients=2)))
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "model.pt").touch()
        return folder

    return make


def card_of(run: FinishedRun) -> ModelCard:
    return ModelCard({}, ("background", "a", "b", "c"), (6, 6), (32, 32), sha256(run.data_list), "", "", "")


def test_a_run_knows_its_model_data_and_output(make_run: MakeRun, phantom_dir: Path, tmp_path: Path) -> None:
    run = read_run(make_run())
    assert run.model == (tmp_path / "models" / "model.pt").resolve()
    assert run.dataset_dir == str(phantom_dir)
    assert run.output_dir("test") == str(tmp_path / "run" / "evaluation" / "test")


def test_cases_have_absolute_paths_and_say_who_they_are(make_run: MakeRun, phantom_dir: Path) -> None:
    run = read_run(make_run())
    items = run.items("validation", phantom_dir, card_of(run))
    assert len(items) == len(run.data_list["validation"])
    assert {item["phase"] for item in items} == {"ED", "ES"}
    assert list(dict.fromkeys(item["patient"] for item in items)) == run.patients("validation")
    for item in items:
        assert Path(item["image"]) == phantom_dir / item["name"]
        assert Path(item["label"]).is_file()


def test_no_folder_given() -> None:
    with pytest.raises(InputError, match="--run_dir DIR"):
        read_run(None)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json is not there\. Expected the output_dir"):
        read_run(tmp_path / "nowhere")


def test_a_broken_record(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "run.json").write_text('{"model": ')
    with pytest.raises(InputError, match="cannot be read"):
        read_run(folder)


@pytest.mark.parametrize("key", ["model", "data_list", "dataset_dir"])
def test_an_incomplete_record(make_run: MakeRun, key: str) -> None:
    with pytest.raises(InputError, match=f"lacks '{key}'"):
        read_run(make_run(**{key: None}))


def test_a_record_that_is_no_record(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "run.json").write_text("[]")
    with pytest.raises(InputError, match="not written by this bundle"):
        read_run(folder)


def test_a_data_list_that_is_none(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "data_list.json").write_text("[]")
    with pytest.raises(InputError, match="is no data list"):
        read_run(folder)


def test_no_model_yet(make_run: MakeRun) -> None:
    with pytest.raises(InputError, match=r"has no model: .*other\.pt is not there"):
        read_run(make_run(model="other.pt"))


@pytest.mark.parametrize("section", ["training", "labeled", None])
def test_a_section_that_is_not_evaluated(make_run: MakeRun, phantom_dir: Path, section: str | None) -> None:
    run = read_run(make_run())
    with pytest.raises(InputError, match="--section must be one of validation, test"):
        run.items(section, phantom_dir, card_of(run))


@pytest.mark.parametrize("absent", [False, True])
def test_an_empty_or_absent_section(make_run: MakeRun, phantom_dir: Path, absent: bool) -> None:
    run = read_run(make_run())
    del run.data_list["patients"]["test"]
    if absent:
        del run.data_list["test"]
    with pytest.raises(InputError, match="the run's split names no test patient"):
        run.items("test", phantom_dir, card_of(run))


def test_a_section_whose_files_were_absent(make_run: MakeRun, phantom_dir: Path) -> None:
    run = read_run(make_run())
    run.data_list["patients"]["test"] = ["patient777", "patient778"]
    with pytest.raises(InputError, match="names 2 test patients, but dataset_dir held none"):
        run.items("test", phantom_dir, card_of(run))


def test_data_that_was_moved(make_run: MakeRun, tmp_path: Path) -> None:
    run = read_run(make_run())
    with pytest.raises(InputError, match=r"8 of 8 files .* give its folder as --dataset_dir"):
        run.items("validation", tmp_path / "moved", card_of(run))


def test_a_case_without_label(make_run: MakeRun, phantom_dir: Path) -> None:
    run = read_run(make_run())
    del run.data_list["validation"][1]["label"]
    with pytest.raises(InputError, match="1 of 4 validation cases have no label"):
        run.items("validation", phantom_dir, card_of(run))


def test_a_model_of_another_data_list(make_run: MakeRun, phantom_dir: Path) -> None:
    run = read_run(make_run())
    card = replace(card_of(run), data_list_sha256="0" * 64)
    with pytest.raises(InputError, match="was trained with another data list"):
        run.items("validation", phantom_dir, card)


def test_patients_of_a_list_of_items_alone(make_run: MakeRun) -> None:
    run = read_run(make_run())
    expected = run.data_list.pop("patients")["validation"]
    assert run.patients("validation") == expected
    assert run.patients("test") == []
