"""Finding ACDC's patients and making a data list of them; no image is opened here, so the files are empty."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.data.acdc import CLASS_NAMES, data_list, find_patients
from scripts.data.split import read_split
from scripts.errors import InputError

SHIPPED = Path(__file__).parents[2] / "scripts" / "data" / "splits" / "acdc_ssl4mis.json"
INFO = "ED: 1\nES: 12\nGroup: DCM\nHeight: 180.0\nNbFrame: 30\nWeight: 94.0\n"


def name(number: int) -> str:
    return f"patient{number:03d}"


def make_patient(
    folder: Path,
    number: int,
    frames: Sequence[int] = (1, 12),
    suffix: str = ".nii.gz",
    info: str | None = INFO,
    cine: bool = True,
) -> Path:
    """A patient as the official download has it, with empty files."""
    patient = folder / name(number)
    patient.mkdir(parents=True)
    stems = [f"{name(number)}_frame{frame:02d}{part}" for frame in frames for part in ("", "_gt")]
    for stem in stems + [f"{name(number)}_4d"] * cine:
        (patient / f"{stem}{suffix}").touch()
    (patient / "MANDATORY_CITATION.md").write_text("Please cite")
    if info is not None:
        (patient / "Info.cfg").write_text(info)
    return patient


@pytest.fixture
def acdc(tmp_path: Path) -> Path:
    """Ten training patients and two of the official test set."""
    root = tmp_path / "ACDC"
    for number in range(1, 11):
        make_patient(root / "training", number)
    for number in (101, 102):
        make_patient(root / "testing", number)
    (root / "MANDATORY_CITATION.md").write_text("Please cite")
    return root


def write_split(path: Path, **sections: Sequence[int]) -> Path:
    path.write_text(json.dumps({section: [name(n) for n in numbers] for section, numbers in sections.items()}))
    return path


# Finding patients


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("below", ["", "training"])
def test_the_official_layout_is_found(tmp_path: Path, suffix: str, below: str) -> None:
    folder = make_patient(tmp_path / below, 1, suffix=suffix)
    (folder / f"._patient001_frame01{suffix}").touch()  # macOS leaves such files on foreign disks
    (patient,) = find_patients(tmp_path).values()
    assert patient.name == "patient001"
    assert patient.frames == {
        1: folder / f"patient001_frame01{suffix}",
        12: folder / f"patient001_frame12{suffix}",
    }
    assert patient.label(12) == folder / f"patient001_frame12_gt{suffix}"
    assert patient.cine == folder / f"patient001_4d{suffix}"


def test_patients_of_training_and_testing_are_found(acdc: Path) -> None:
    assert sorted(find_patients(acdc)) == [name(n) for n in (*range(1, 11), 101, 102)]


@pytest.mark.parametrize(
    ("frames", "info", "ed"),
    [
        ((1, 12), INFO, 1),
        ((11, 3), "ED: 11\nES: 3\nGroup: MINF\n", 11),
        ((1, 12), "ES: 12\r\nED : 1\r\n", 1),
        ((1, 12), "Group: NOR\nno colon here\n\n", 1),
        ((4, 12), "", 4),
        ((4, 12), None, 4),
    ],
    ids=["official", "ED after ES", "spaces and CRLF", "no ED", "empty", "no Info.cfg"],
)
def test_the_phases_are_those_of_info_cfg(tmp_path: Path, frames: tuple[int, int], info: str | None, ed: int) -> None:
    make_patient(tmp_path, 1, frames, info=info)
    patient = find_patients(tmp_path)["patient001"]
    assert {frame: patient.phase(frame) for frame in frames} == {f: "ED" if f == ed else "ES" for f in frames}


def test_info_cfg_is_read_with_and_without_the_optional_fields(tmp_path: Path) -> None:
    make_patient(tmp_path, 1)
    make_patient(tmp_path, 2, info="Group: NOR\n")
    (tmp_path / name(2) / "Info.cfg").write_bytes(b"Group: NOR\nNote: caf\xe9\n")
    patients = find_patients(tmp_path)
    assert patients[name(1)].info == {
        "ED": "1", "ES": "12", "Group": "DCM", "Height": "180.0", "NbFrame": "30", "Weight": "94.0"
    }  # fmt: skip
    assert patients[name(2)].info["Group"] == "NOR"


def _missing(path: Path) -> Path:
    return path / "absent"


def _file(path: Path) -> Path:
    (path / "file.zip").touch()
    return path / "file.zip"


def _empty(path: Path) -> Path:
    return path


def _no_frames(path: Path) -> Path:
    (path / "training" / "patient001").mkdir(parents=True)
    (path / "training" / "patient001" / "Info.cfg").write_text(INFO)
    return path


def _other_data(path: Path) -> Path:
    (path / "imagesTr").mkdir()
    (path / "imagesTr" / "patient001_frame01.nii.gz").touch()
    return path


def _none(path: Path) -> None:
    return None


def _empty_string(path: Path) -> str:
    return ""


NOT_ACDC = {
    _none: "no dataset_dir was given",
    _empty_string: "no dataset_dir was given",
    _missing: r"absent is not a folder",
    _file: r"file\.zip is not a folder",
    _empty: "holds no ACDC patient: looked for patientXXX/patientXXX_frameYY.nii.gz",
    _no_frames: "holds no ACDC patient: looked for patientXXX/patientXXX_frameYY.nii.gz",
    _other_data: "holds no ACDC patient: looked for patientXXX/patientXXX_frameYY.nii.gz",
}


@pytest.mark.parametrize(("make", "problem"), NOT_ACDC.items(), ids=[make.__name__[1:] for make in NOT_ACDC])
def test_what_is_not_acdc_is_refused_with_the_remedies(tmp_path: Path, make, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        data_list(make(tmp_path))
    message = str(caught.value)
    assert "https://humanheart-project.creatis.insa-lyon.fr/database/" in message
    assert "configs/demo.json" in message
    assert "\n" not in message


@pytest.mark.parametrize("unreadable", ["what is above", "ACDC", "patient003"])
def test_a_folder_that_may_not_be_read_is_refused(acdc: Path, monkeypatch: pytest.MonkeyPatch, unreadable: str) -> None:
    """By refusing it from within, since whoever runs the tests may be allowed to read everything."""
    listdir = os.listdir

    def refuse(path: str | Path = ".") -> list[str]:
        if Path(path).name == unreadable:
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    def refuse_iterdir(self: Path):
        return (self / child for child in refuse(self))

    if unreadable == "what is above":
        unreadable = "ACDC"
        monkeypatch.setattr(Path, "is_dir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse_iterdir)
    with pytest.raises(
        InputError, match=r"cannot be read: .*Permission denied.*permissions.*configs/demo\.json"
    ) as caught:
        find_patients(acdc)
    assert unreadable in str(caught.value)


def test_a_patient_in_two_folders_is_refused_and_both_are_named(acdc: Path) -> None:
    make_patient(acdc / "training (copy)", 3)
    with pytest.raises(InputError, match="holds patient003 twice") as caught:
        find_patients(acdc)
    assert str(acdc / "training" / "patient003") in str(caught.value)
    assert str(acdc / "training (copy)" / "patient003") in str(caught.value)


# Data lists


def test_the_list_names_files_relative_to_the_data_set(acdc: Path) -> None:
    content = data_list(acdc, labeled_patients=2, seed=1)
    assert content["labels"] == {str(value): label for value, label in enumerate(CLASS_NAMES)}
    assert content == json.loads(json.dumps(content))
    patients = content["patients"]
    assert [len(patients[section]) for section in ("labeled", "unlabeled", "validation", "test")] == [2, 6, 2, 0]
    for section in ("labeled", "validation"):
        assert [item["patient"] for item in content[section]] == [p for p in patients[section] for _ in range(2)]
        for item in content[section]:
            assert (acdc / item["image"]).is_file()
            assert item["label"] == item["image"].replace(".nii.gz", "_gt.nii.gz")
            assert item["phase"] == ("ED" if "frame01" in item["image"] else "ES")
    assert [item["patient"] for item in content["unlabeled"]] == [p for p in patients["unlabeled"] for _ in range(2)]
    assert not [item for item in content["unlabeled"] if "label" in item]


@pytest.mark.parametrize(
    ("record", "name", "licence"), [(False, "ACDC", "CC BY-NC-SA 4.0"), (True, "phantom", "Apache-2.0")]
)
def test_the_list_says_whose_data_these_are(acdc: Path, record: bool, name: str, licence: str) -> None:
    if record:
        (acdc / "phantom.json").write_text("{}")
    content = data_list(acdc)
    assert (content["name"], content["licence"]) == (name, licence)


def test_a_drawn_split_leaves_the_official_test_patients_alone(acdc: Path) -> None:
    drawn = [data_list(acdc, seed=seed)["patients"] for seed in range(5)]
    for patients in drawn:
        assert sorted(patients["labeled"] + patients["validation"]) == [name(n) for n in range(1, 11)]


def test_the_seed_decides_a_drawn_split(acdc: Path) -> None:
    assert data_list(acdc, seed=5) == data_list(acdc, seed=5)
    assert data_list(acdc, seed=5)["patients"] != data_list(acdc, seed=6)["patients"]


@pytest.mark.parametrize("cine", [False, True])
def test_unlabelled_patients_give_their_cine_if_asked_for(acdc: Path, cine: bool) -> None:
    make_patient(acdc / "training", 11, cine=False)
    split = write_split(acdc / "split.json", labeled=[1], unlabeled=[2, 11], validation=[3])
    content = data_list(acdc, split, unlabeled_cine=cine)
    found = [(Path(item["image"]).name, item["phase"]) for item in content["unlabeled"]]
    of_2 = [("patient002_4d.nii.gz", "all")]
    if not cine:
        of_2 = [("patient002_frame01.nii.gz", "ED"), ("patient002_frame12.nii.gz", "ES")]
    assert found == [*of_2, ("patient011_frame01.nii.gz", "ED"), ("patient011_frame12.nii.gz", "ES")]
    assert not [item for key in ("labeled", "validation") for item in content[key] if "4d" in item["image"]]


@pytest.mark.parametrize("seed", range(6))
def test_patients_of_identical_images_stay_on_one_side(tmp_path: Path, seed: int) -> None:
    for number in range(70, 80):
        make_patient(tmp_path, number)
    patients = data_list(tmp_path, validation_fraction=0.5, seed=seed)["patients"]
    assert ("patient074" in patients["labeled"]) == ("patient076" in patients["labeled"])


@pytest.mark.parametrize("held_out", ["validation", "test"])
@pytest.mark.parametrize("training", ["labeled", "unlabeled"])
def test_a_split_that_parts_identical_images_is_refused(tmp_path: Path, training: str, held_out: str) -> None:
    for number in (1, 2, 74, 76):
        make_patient(tmp_path, number)
    sections = {"labeled": [1], "validation": [2]}
    sections[training] = [*sections.get(training, []), 74]
    sections[held_out] = [*sections.get(held_out, []), 76]
    with pytest.raises(InputError, match=r"parts patient074 and patient076.*bit-identical"):
        data_list(tmp_path, write_split(tmp_path / "split.json", **sections))


@pytest.mark.parametrize("options", [{}, {"labeled_fraction": 0.3}, {"labeled_patients": 3}], ids=str)
def test_a_written_list_read_as_a_split_gives_the_same_list(acdc: Path, tmp_path: Path, options: dict) -> None:
    written = data_list(acdc, seed=2, **options)
    (tmp_path / "data_list.json").write_text(json.dumps(written))
    assert data_list(acdc, tmp_path / "data_list.json") == written
    assert data_list(acdc, tmp_path / "data_list.json", **options) == written


def test_absent_patients_are_named(acdc: Path) -> None:
    split = write_split(acdc / "split.json", labeled=[1, 50], unlabeled=[51], validation=[2, 52])
    with pytest.raises(InputError, match=r"3 training or validation patients.*patient050, patient051, patient052\."):
        data_list(acdc, split)


def test_of_many_absent_patients_ten_are_named(acdc: Path) -> None:
    with pytest.raises(InputError, match=r"73 training or validation patients") as caught:
        data_list(acdc, SHIPPED)
    assert str(caught.value).count("patient0") == 10
    assert "another --split" in str(caught.value)


def test_absent_test_patients_are_left_out(acdc: Path) -> None:
    split = write_split(acdc / "split.json", labeled=[1], validation=[2], test=[3, 99])
    content = data_list(acdc, split)
    assert {item["patient"] for item in content["test"]} == {"patient003"}
    assert all("label" in item for item in content["test"])


def test_an_order_file_leaves_the_other_patients_for_validation(acdc: Path) -> None:
    (acdc / "order.txt").write_text("\n".join(name(n) for n in (4, 2, 9, 1)))
    content = data_list(acdc, acdc / "order.txt", labeled_patients=3)
    assert content["patients"] == {
        "labeled": [name(4), name(2), name(9)],
        "unlabeled": [name(1)],
        "validation": [name(n) for n in (3, 5, 6, 7, 8, 10)],
        "test": [],
    }
    assert "the 6 others for validation" in content["description"]


def test_a_split_that_leaves_nobody_for_validation_is_refused(acdc: Path) -> None:
    split = write_split(acdc / "split.json", labeled=range(1, 8), test=range(8, 11))
    with pytest.raises(InputError, match=r"no validation patients.*add a section 'validation'"):
        data_list(acdc, split)


@pytest.mark.parametrize(
    "options",
    [{"labeled_fraction": 0}, {"labeled_fraction": 1.2}, {"labeled_patients": 11}, {"labeled_patients": 0},
     {"labeled_fraction": 0.5, "labeled_patients": 2}],
    ids=str,
)  # fmt: skip
def test_a_wrong_number_of_labelled_patients_is_refused(acdc: Path, options: dict) -> None:
    with pytest.raises(InputError, match="labeled_"):
        data_list(acdc, **options)


# The split that is shipped


def test_the_shipped_split_has_each_public_patient_once() -> None:
    sections = read_split(SHIPPED).sections()
    assert {section: len(names) for section, names in sections.items()} == {
        "labeled": 70, "unlabeled": 0, "validation": 10, "test": 20
    }  # fmt: skip
    assert sorted(n for names in sections.values() for n in names) == [name(number) for number in range(1, 101)]


def test_the_shipped_split_is_in_the_published_order(real_data: Path) -> None:
    published = (real_data / "acdc" / "ssl4mis_labelled_order.txt").read_text(encoding="utf-8").split()
    split = read_split(SHIPPED)
    assert list(split.labeled) == published
    assert set(split.validation) == {folder.name for folder in (real_data / "acdc" / "validation").glob("patient*")}


def test_the_real_data_set_is_found_whole(real_data: Path) -> None:
    patients = find_patients(real_data / "acdc")
    assert len(patients) == 80
    assert all(len(patient.frames) == 2 and patient.cine is None for patient in patients.values())
    assert all(sorted(map(patient.phase, patient.frames)) == ["ED", "ES"] for patient in patients.values())
    assert all(patient.label(frame).is_file() for patient in patients.values() for frame in patient.frames)


@pytest.mark.parametrize("split", [SHIPPED, "ssl4mis_labelled_order.txt"], ids=["shipped", "order file"])
def test_the_common_protocol_on_the_real_data_set(real_data: Path, split: str | Path) -> None:
    content = data_list(real_data / "acdc", real_data / "acdc" / split, labeled_patients=7)
    counts = {key: len(content[key]) for key in ("labeled", "unlabeled", "validation", "test")}
    assert counts == {"labeled": 14, "unlabeled": 126, "validation": 20, "test": 0}
    assert content["patients"]["labeled"][:3] == ["patient099", "patient038", "patient050"]
