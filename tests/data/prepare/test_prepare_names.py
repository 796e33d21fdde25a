"""Names that should match: the rule is learnt from the list's own pairs."""

from pathlib import Path

import pytest

from scripts.data.prepare.names import NameRule, unmatched_names
from scripts.data.prepare.trouble import Severity, Trouble


@pytest.mark.parametrize(
    ("image", "label", "other_label", "other_image"),
    [
        ("a.jpg", "a.png", "b.png", "b.jpg"),
        ("a_leftImg8bit.png", "a_gtFine_labelIds.png", "b_gtFine_labelIds.png", "b_leftImg8bit.png"),
        ("a_leftImg8bit.png", "a_gtFine_labelIds.png", "b_gtFine_color.png", None),
        ("p_frame01.nii.gz", "p_frame01_gt.nii.gz", "p_frame12_gt.nii.gz", "p_frame12.nii.gz"),
        ("p_frame01.nii.gz", "p_frame01_gt.nii.gz", "p_frame12.nii.gz", None),
        ("a.mha", "a_seg.nrrd", "_seg.nrrd", None),
    ],
)
def test_name_rule(image: str, label: str, other_label: str, other_image: str | None) -> None:
    assert NameRule.of(image, label).image_of(other_label) == other_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a to d, labels a to c and one that has no image."""
    for name in ("images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg"):
        touch(tmp_path / name)
    for name in ("labels/a.png", "labels/b_mask.png", "labels/c.png", "labels/nobody.png", "labels/.hidden.png"):
        touch(tmp_path / name)
    return tmp_path


def touch(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()


def told(data_list: dict, root: Path) -> dict[Severity, tuple[str, ...]]:
    found: list[Trouble] = unmatched_names(data_list, root)
    return {trouble.severity: trouble.files for trouble in found}


def test_labels_without_image_and_labels_left_out_are_told_apart(folder: Path) -> None:
    labeled = [
        {"image": "images/a.jpg", "label": "labels/a.png"},
        {"image": "images/b.jpg", "label": "labels/b_mask.png"},
    ]
    assert told({"labeled": labeled}, folder) == {
        Severity.WARNING: ("labels/nobody.png",),
        Severity.NOTE: ("labels/c.png",),
    }


def test_labels_held_back_from_unlabelled_items_are_no_trouble(folder: Path) -> None:
    (folder / "labels/nobody.png").unlink()
    labeled = [{"image": "images/a.jpg", "label": "labels/a.png"}]
    unlabeled = [{"image": f"images/{name}.jpg"} for name in "bcd"]
    assert told({"labeled": labeled, "unlabeled": unlabeled}, folder) == {Severity.WARNING: ("labels/b_mask.png",)}
    labeled.append({"image": "images/b.jpg", "label": "labels/b_mask.png"})
    assert told({"labeled": labeled, "unlabeled": unlabeled[1:]}, folder) == {}


def test_images_and_labels_may_share_a_folder(tmp_path: Path) -> None:
    for name in ("p_frame01.nii.gz", "p_frame01_gt.nii.gz", "p_frame12_gt.nii.gz", "p_4d.nii.gz", "Info.cfg"):
        touch(tmp_path / "p" / name)
    labeled = [{"image": "p/p_frame01.nii.gz", "label": "p/p_frame01_gt.nii.gz"}]
    assert told({"labeled": labeled}, tmp_path) == {Severity.WARNING: ("p/p_frame12_gt.nii.gz",)}


def test_a_folder_that_is_not_there_is_left_to_those_who_read_it(tmp_path: Path) -> None:
    assert told({"labeled": [{"image": "gone/a.png", "label": "gone too/a.png"}]}, tmp_path) == {}
