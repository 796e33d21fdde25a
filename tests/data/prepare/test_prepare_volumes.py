"""Trouble in volumes: what training would refuse, and equal images under other names."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.data import acdc
from scripts.data.prepare.checks import Findings, check_data_list
from scripts.data.prepare.trouble import Kind, Severity, Trouble

WriteVolume = Callable[..., Path]
SHAPE = (10, 9, 4)


@pytest.fixture
def copied(phantom_dir: Path, tmp_path: Path) -> Path:
    """Four patients of the phantom, and patient001 once more as patient011, its files compressed anew."""
    for number in range(1, 5):
        shutil.copytree(phantom_dir / f"training/patient{number:03d}", tmp_path / f"training/patient{number:03d}")
    folder = tmp_path / "training/patient011"
    folder.mkdir()
    for path in (tmp_path / "training/patient001").iterdir():
        name = path.name.replace("patient001", "patient011").removesuffix(".gz")
        if name.endswith(".nii"):
            nib.save(nib.load(path), folder / name)
        else:
            shutil.copy(path, folder / name)
    return tmp_path


def split_of(root: Path, **sections: list[int]) -> dict:
    """A data list in which each section has the patients of these numbers."""
    made = acdc.data_list(root, seed=0)
    items = [item for section in ("labeled", "unlabeled", "validation") for item in made[section]]
    for section in ("labeled", "unlabeled", "validation", "test"):
        names = [f"patient{number:03d}" for number in sections.get(section, [])]
        chosen = [item for item in items if item["patient"] in names]
        keep = {"image", "patient", "phase"} if section == "unlabeled" else {"image", "patient", "phase", "label"}
        made[section] = [{key: value for key, value in item.items() if key in keep} for item in chosen]
    return made


def duplicates(findings: Findings) -> list[Trouble]:
    return [trouble for trouble in findings.troubles if trouble.kind is Kind.DUPLICATE]


@pytest.mark.parametrize(
    ("sections", "severity"),
    [
        ({"labeled": [1, 2], "unlabeled": [3, 4], "validation": [11]}, Severity.ERROR),
        ({"labeled": [3, 4], "unlabeled": [11, 2], "validation": [1]}, Severity.ERROR),
        ({"labeled": [1, 2], "unlabeled": [11, 3], "validation": [4]}, Severity.WARNING),
        ({"labeled": [1, 11], "unlabeled": [2], "validation": [3, 4]}, Severity.WARNING),
    ],
)
def test_a_patient_under_another_name_is_found_by_the_voxels(copied: Path, sections: dict, severity: Severity) -> None:
    found = duplicates(check_data_list(split_of(copied, **sections), copied))
    assert [trouble.severity for trouble in found] == [severity] * 2  # ED and ES
    assert all("patient001" in t.message and "patient011" in t.message for t in found)


def test_a_sound_phantom_has_no_trouble(phantom_dir: Path) -> None:
    findings = check_data_list(acdc.data_list(phantom_dir, labeled_fraction=0.5), phantom_dir)
    assert findings.troubles == []
    assert sum(item.slices for item in findings.facts) == 5 * len(findings.facts)


@pytest.fixture
def volumes(write_volume: WriteVolume, tmp_path: Path) -> Callable[..., dict]:
    """Write a labelled and a validation volume, and make their data list; what is given replaces the validation one."""
    rng = np.random.default_rng(0)

    def volume() -> np.ndarray:
        return rng.integers(0, 900, SHAPE).astype(np.int16)

    def label() -> np.ndarray:
        return rng.integers(0, 3, SHAPE).astype(np.uint8)

    def make(image: np.ndarray | None = None, mask: np.ndarray | None = None, **label_options: object) -> dict:
        write_volume("one.nii.gz", volume())
        write_volume("one_gt.nii.gz", label())
        write_volume("two.nii.gz", volume() if image is None else image)
        write_volume("two_gt.nii.gz", label() if mask is None else mask, **label_options)
        return {
            "labels": {str(value): f"class {value}" for value in range(3)},
            "labeled": [{"image": "one.nii.gz", "label": "one_gt.nii.gz"}],
            "validation": [{"image": "two.nii.gz", "label": "two_gt.nii.gz"}],
        }

    return make


def only(findings: Findings) -> tuple[Severity, Kind, tuple[str, ...]]:
    (trouble,) = [trouble for trouble in findings.troubles if trouble.kind is not Kind.CLASSES]
    return trouble.severity, trouble.kind, trouble.files


@pytest.mark.parametrize(
    ("options", "kind", "file"),
    [
        ({"mask": np.ones((10, 9, 5), np.uint8)}, Kind.LABEL_SIZE, "two_gt.nii.gz"),
        ({"mask": np.ones(SHAPE, np.uint8), "spacing": (1.6, 1.5, 8)}, Kind.LABEL_SIZE, "two_gt.nii.gz"),
        ({"mask": np.full(SHAPE, 3, np.uint8)}, Kind.LABEL_VALUES, "two_gt.nii.gz"),
        ({"mask": np.full(SHAPE, 0.5, np.float32)}, Kind.LABEL_VALUES, "two_gt.nii.gz"),
        ({"image": np.full(SHAPE, 7, np.int16)}, Kind.CONSTANT, "two.nii.gz"),
        ({"image": np.full(SHAPE, np.nan, np.float32)}, Kind.IMAGE, "two.nii.gz"),
        ({"image": np.arange(90, dtype=np.int16).reshape(10, 9)}, Kind.IMAGE, "two.nii.gz"),
        ({"image": np.arange(720, dtype=np.int16).reshape(*SHAPE, 2)}, Kind.IMAGE, "two.nii.gz"),
    ],
)
def test_faults_of_volumes_are_errors_by_name(
    volumes: Callable[..., dict], tmp_path: Path, options: dict, kind: Kind, file: str
) -> None:
    assert only(check_data_list(volumes(**options), tmp_path)) == (Severity.ERROR, kind, (file,))


def test_a_label_that_lies_elsewhere_is_warned_of(volumes: Callable[..., dict], tmp_path: Path) -> None:
    findings = check_data_list(volumes(affine=np.diag([1.5, 1.5, 8.0, 1.0])), tmp_path)
    assert only(findings) == (Severity.WARNING, Kind.LABEL_PLACE, ("two_gt.nii.gz",))
    assert findings.facts[1].pixels is not None


def test_a_truncated_volume_is_an_error(volumes: Callable[..., dict], tmp_path: Path) -> None:
    data_list = volumes()
    (tmp_path / "two_gt.nii.gz").write_bytes((tmp_path / "two_gt.nii.gz").read_bytes()[:200])
    assert only(check_data_list(data_list, tmp_path)) == (Severity.ERROR, Kind.UNREADABLE, ("two_gt.nii.gz",))


def test_label_map_of_volumes(volumes: Callable[..., dict], tmp_path: Path) -> None:
    mask = np.full(SHAPE, 100, np.int16)
    mask[0] = 200
    data_list = volumes(mask=mask) | {"label_map": {"0": 0, "1": 1, "2": 2, "100": 2}}
    findings = check_data_list(data_list, tmp_path)
    assert findings.facts[1].pixels == (0, 0, 9 * 36, 36)
    assert findings.facts[1].left_out == {200}


def test_a_phase_of_a_study_equals_a_held_out_frame(
    volumes: Callable[..., dict], write_volume: WriteVolume, tmp_path: Path
) -> None:
    data_list = volumes()
    frame = nib.load(tmp_path / "two.nii.gz").get_fdata().astype(np.int16)
    write_volume("cine.nii.gz", np.stack([frame + 1, frame, frame * 2], axis=-1))
    data_list["unlabeled"] = [{"image": "cine.nii.gz", "phase": "all"}]
    findings = check_data_list(data_list, tmp_path)
    assert only(findings) == (Severity.ERROR, Kind.DUPLICATE, ("cine.nii.gz", "two.nii.gz"))
    study = findings.facts[1]
    assert (study.phases, study.slices, study.shape, study.channels) == (3, 12, SHAPE, 1)


def test_a_study_that_stands_still_is_no_duplicate_of_itself(
    volumes: Callable[..., dict], write_volume: WriteVolume, tmp_path: Path
) -> None:
    data_list = volumes()
    frame = np.arange(360, dtype=np.int16).reshape(SHAPE)
    write_volume("cine.nii.gz", np.stack([frame, frame], axis=-1))
    data_list["unlabeled"] = [{"image": "cine.nii.gz", "phase": "all"}]
    assert duplicates(check_data_list(data_list, tmp_path)) == []


# Real data


def test_acdc_patients_074_and_076_are_caught_by_content(real_data: Path) -> None:
    found = acdc.find_patients(real_data / "acdc")
    items = {
        name: [
            {
                "image": image.relative_to(real_data / "acdc").as_posix(),
                "label": found[name].label(frame).relative_to(real_data / "acdc").as_posix(),
                "patient": name,
            }
            for frame, image in found[name].frames.items()
        ]
        for name in ("patient074", "patient076", "patient070")
    }
    labels = {str(value): name for value, name in enumerate(acdc.CLASS_NAMES)}
    parted = {"labels": labels, "labeled": items["patient074"], "validation": items["patient076"]}
    errors = duplicates(check_data_list(parted, real_data / "acdc"))
    assert [trouble.severity for trouble in errors] == [Severity.ERROR] * 2
    assert all("patient074" in t.message and "patient076" in t.message for t in errors)
    assert all("labels differ" in t.message for t in errors)
    together = parted | {"labeled": items["patient074"] + items["patient076"], "validation": items["patient070"]}
    warned = duplicates(check_data_list(together, real_data / "acdc"))
    assert [trouble.severity for trouble in warned] == [Severity.WARNING] * 2
