"""Every kind of trouble on pictures: found, named, of the right severity, and alone."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.data.prepare.checks import check_data_list
from scripts.data.prepare.trouble import Kind, Severity, Trouble


def only(troubles: list[Trouble]) -> Trouble:
    (trouble,) = troubles
    return trouble


def test_a_sound_set_has_no_trouble(pictures: Any) -> None:
    findings = pictures.check()
    assert findings.troubles == []
    assert [item.section for item in findings.facts] == ["labeled", "labeled", "unlabeled", "validation"]


# Single files


@pytest.mark.parametrize("path", ["images/b.png", "labels/b.png", "images/c.png"])
@pytest.mark.parametrize("fault", ["cut", "gone", "text"])
def test_files_that_cannot_be_read_are_errors_by_name(pictures: Any, path: str, fault: str) -> None:
    file = pictures.root / path
    if fault == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:45] if fault == "cut" else b"not an image")
    trouble = only(pictures.found(Kind.UNREADABLE))
    assert (trouble.severity, trouble.files) == (Severity.ERROR, (path,))
    assert path.split("/")[1] in trouble.message


def test_every_broken_file_is_told_not_the_first_only(pictures: Any) -> None:
    for name in "abd":
        (pictures.root / f"images/{name}.png").write_bytes(b"")
    assert [t.files for t in pictures.found(Kind.UNREADABLE)] == [(f"images/{name}.png",) for name in "abd"]


def test_mask_saved_as_rgb_is_an_error(pictures: Any) -> None:
    pictures.write("labels/a.png", np.dstack([pictures.stripes(0, 128)] * 3))
    assert "colours" in only(pictures.found(Kind.UNREADABLE)).message


def test_grey_image_in_an_rgb_set_is_an_error(pictures: Any) -> None:
    pictures.add("labeled", "grey", image=np.arange(192, dtype=np.uint8).reshape(12, 16))
    assert only(pictures.found(Kind.UNREADABLE)).files == ("images/grey.png",)


@pytest.mark.parametrize("values", [(0, 3), (0, 1, 254)])
def test_values_that_are_no_class_are_errors(pictures: Any, values: tuple[int, ...]) -> None:
    pictures.add("validation", "wrong", label=pictures.stripes(*values))
    trouble = only(pictures.found(Kind.LABEL_VALUES))
    assert (trouble.severity, trouble.files) == (Severity.ERROR, ("labels/wrong.png",))
    assert str(values[-1]) in trouble.message
    assert "0 to 2" in trouble.message


def test_void_is_no_wrong_value(pictures: Any) -> None:
    pictures.add("validation", "void", label=pictures.stripes(0, 255, 1))
    assert pictures.check().troubles == []


def test_values_count_after_the_label_map(pictures: Any) -> None:
    pictures.data_list["label_map"] = {"10": 0, "20": 1, "30": 2}
    for name in "abd":
        pictures.write(f"labels/{name}.png", pictures.stripes(10, 20, 30, 40))
    findings = pictures.check()
    assert findings.troubles == []
    assert {item.left_out for item in findings.facts if item.label} == {frozenset({40})}
    assert findings.facts[0].pixels == (48, 48, 48, 48)


def test_masks_that_are_mapped_already_are_errors(pictures: Any) -> None:
    pictures.data_list["label_map"] = {"7": 0, "8": 1, "11": 2}
    for name in "ad":
        pictures.write(f"labels/{name}.png", pictures.stripes(7, 8, 11))
    pictures.write("labels/b.png", pictures.stripes(0, 1, 2, 255))
    assert only(pictures.found(Kind.LABEL_VALUES)).files == ("labels/b.png",)


def test_label_of_another_size_is_an_error(pictures: Any) -> None:
    pictures.write("labels/b.png", pictures.stripes(0, 1, 2, size=(16, 12)))
    trouble = only(pictures.found(Kind.LABEL_SIZE))
    assert (trouble.severity, trouble.files) == (Severity.ERROR, ("labels/b.png",))
    assert "16 x 12" in trouble.message
    assert "12 x 16" in trouble.message


def test_constant_image_is_an_error(pictures: Any) -> None:
    pictures.add("unlabeled", "flat", image=np.full((12, 16, 3), (9, 99, 200), np.uint8))
    trouble = only(pictures.found(Kind.CONSTANT))
    assert (trouble.severity, trouble.files) == (Severity.ERROR, ("images/flat.png",))


@pytest.mark.parametrize("section", ["labeled", "validation", "test"])
def test_item_without_a_label_is_an_error_where_one_is_needed(pictures: Any, section: str) -> None:
    item = pictures.add("unlabeled", "bare")
    pictures.data_list["unlabeled"].remove(item)
    pictures.data_list[section].append(item)
    assert only(pictures.found(Kind.NO_LABEL)).files == ("images/bare.png",)


def test_label_of_an_unlabelled_item_is_never_opened(pictures: Any) -> None:
    (pictures.root / "labels/c.png").write_bytes(b"broken")
    pictures.data_list["unlabeled"][0]["label"] = "labels/c.png"
    findings = pictures.check()
    assert findings.troubles == []
    assert findings.facts[2].pixels is None


def test_unicode_and_space_in_names(pictures: Any) -> None:
    pictures.add("labeled", "schräge Möwe 1")
    assert pictures.check().troubles == []
    (pictures.root / "images/schräge Möwe 1.png").unlink()
    assert only(pictures.found(Kind.UNREADABLE)).files == ("images/schräge Möwe 1.png",)


# The same image twice


@pytest.mark.parametrize(
    ("sections", "severity"),
    [
        (("labeled", "validation"), Severity.ERROR),
        (("labeled", "test"), Severity.ERROR),
        (("unlabeled", "validation"), Severity.ERROR),
        (("unlabeled", "test"), Severity.ERROR),
        (("validation", "test"), Severity.ERROR),
        (("labeled", "unlabeled"), Severity.WARNING),
        (("labeled", "labeled"), Severity.WARNING),
        (("unlabeled", "unlabeled"), Severity.WARNING),
    ],
)
def test_equal_pixels_are_found_whatever_the_file(pictures: Any, sections: tuple[str, str], severity: Severity) -> None:
    image = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    pictures.add(sections[0], "one", image=image)
    pictures.add(sections[1], "two", image=image, suffix=".bmp")
    trouble = only(pictures.found(Kind.DUPLICATE))
    assert trouble.severity is severity
    assert set(trouble.files) == {"images/one.png", "images/two.bmp"}
    assert all(f"({section})" in trouble.message for section in sections)
    assert "labels differ" not in trouble.message


@pytest.mark.parametrize("sections", [("labeled", "labeled"), ("labeled", "validation")])
def test_different_labels_of_equal_images_are_told(pictures: Any, sections: tuple[str, str]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    pictures.add(sections[0], "one", image=image)
    pictures.add(sections[1], "two", image=image, label=pictures.stripes(2, 1, 0))
    assert "labels differ" in only(pictures.found(Kind.DUPLICATE)).message


def test_three_equal_images_are_one_trouble(pictures: Any) -> None:
    image = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for name in ("one", "two", "three"):
        pictures.add("labeled", name, image=image)
    assert len(only(pictures.found(Kind.DUPLICATE)).files) == 3


def test_the_same_bytes_in_another_shape_are_another_image(pictures: Any) -> None:
    image = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    pictures.add("labeled", "one", image=image, label=pictures.stripes(0, 1, 2, size=(12, 12)))
    pictures.add("validation", "two", image=image.reshape(9, 16, 3), label=pictures.stripes(0, 1, 2, size=(9, 16)))
    assert pictures.found(Kind.DUPLICATE) == []


# The list as a whole


def test_classes_that_cannot_be_learnt_are_warned_of(pictures: Any) -> None:
    for name in "ab":
        pictures.write(f"labels/{name}.png", pictures.stripes(0, 1))
    trouble = only(pictures.found(Kind.CLASSES))
    assert trouble.severity is Severity.WARNING
    assert "cannot be learnt" in trouble.message
    assert trouble.message.endswith(": square.")


def test_classes_that_occur_nowhere_are_warned_of(pictures: Any) -> None:
    for name in "abd":
        pictures.write(f"labels/{name}.png", pictures.stripes(0, 2))
    trouble = only(pictures.found(Kind.CLASSES))
    assert trouble.severity is Severity.WARNING
    assert trouble.message.endswith(": disc.")


def test_classes_that_cannot_be_measured_are_noted(pictures: Any) -> None:
    pictures.write("labels/d.png", pictures.stripes(0, 2))
    trouble = only(pictures.found(Kind.CLASSES))
    assert trouble.severity is Severity.NOTE
    assert trouble.message.endswith(": disc.")


@pytest.mark.parametrize(("background", "expected"), [(True, ["labels/b.png"]), (False, [])])
def test_labels_of_background_only_are_warned_of(pictures: Any, background: bool, expected: list[str]) -> None:
    pictures.data_list["background"] = background
    pictures.write("labels/b.png", pictures.stripes(0, 255))
    assert [file for trouble in pictures.found(Kind.EMPTY_LABEL) for file in trouble.files] == expected


def test_labels_of_void_only_are_warned_of(pictures: Any) -> None:
    pictures.data_list["background"] = False
    pictures.write("labels/b.png", pictures.stripes(255))
    trouble = only(pictures.found(Kind.EMPTY_LABEL))
    assert (trouble.severity, trouble.files) == (Severity.WARNING, ("labels/b.png",))


@pytest.mark.parametrize(("section", "severity"), [("labeled", Severity.ERROR), ("validation", Severity.WARNING)])
def test_empty_sections(pictures: Any, section: str, severity: Severity) -> None:
    pictures.data_list[section] = []
    assert only(pictures.found(Kind.SECTION)).severity is severity


def test_errors_come_first(pictures: Any) -> None:
    pictures.write("labels/b.png", pictures.stripes(0, 255))
    pictures.add("test", "flat", image=np.zeros((12, 16, 3), np.uint8))
    severities = [trouble.severity for trouble in pictures.check().troubles]
    assert severities == [Severity.ERROR, Severity.WARNING]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_channels_are_those_of_the_first_picture_if_the_list_is_silent(pictures: Any, mode: str) -> None:
    del pictures.data_list["channels"]
    for path in (pictures.root / "images").iterdir():
        with Image.open(path) as image:
            image.convert(mode).save(path)
    findings = check_data_list(pictures.data_list, pictures.root)
    assert findings.troubles == []
    assert findings.expected.channels == len(mode)
