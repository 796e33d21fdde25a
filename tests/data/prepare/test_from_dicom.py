"""Studies in DICOM, with labels as NIfTI or SEG, become a de-identified data set that trains."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from cinestudies import short_axis_files
from highdicom.sr.coding import CodedConcept
from monai.bundle import ConfigWorkflow
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from running import ROOT

from scripts.data.dicom.labels import CODES, read_labels
from scripts.data.dicom.reading import read_dicom
from scripts.data.dicom_phantom import PLANTED, dicom_phantom_images, dicom_phantom_truth, write_dicom_phantom
from scripts.data.prepare.__main__ import main
from scripts.errors import InputError

LABELED = (0, 3)
"""Phases with a label, from 0."""


def truth(patient: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Labels (phases, x, y, S), zero in phases that nobody labelled, and the affine."""
    labels, affine = dicom_phantom_truth(patient, smallest=True)
    known = np.zeros_like(labels)
    known[list(LABELED)] = labels[list(LABELED)]
    return known, affine


def write_label(path: Path, labels: NDArray, affine: NDArray[np.float64]) -> None:
    """(phases, x, y, S) as NIfTI (x, y, S, phases)."""
    nib.save(nib.Nifti1Image(np.moveaxis(labels, 0, -1), affine), path)


def write_segmentation(
    study: Path, phase: int, label: NDArray[np.uint8], codes: dict[str, int] = CODES, kind: str = "BINARY"
) -> None:
    """A DICOM SEG of one phase, beside its sources, as another program would make it."""
    cine = read_dicom(study)
    assert cine.instances is not None
    wanted = [instance.sop_instance_uid for instance in cine.instances[phase]]
    by_uid = {dataset.SOPInstanceUID: dataset for _, dataset in short_axis_files(study)}
    segments = [
        hd.seg.SegmentDescription(
            number,
            f"part {number}",
            CodedConcept("85756007", "SCT", "Tissue"),
            CodedConcept(code, "SCT", "a part of the heart"),
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, code in enumerate(codes, 1)
    ]
    numbers = np.zeros_like(label)
    for number, value in enumerate(codes.values(), 1):
        numbers[label == value] = number
    pixels = np.ascontiguousarray(numbers.transpose(2, 1, 0))  # slices, rows, columns
    if kind == "FRACTIONAL":
        pixels = np.stack([0.3 * (pixels == number) for number in range(1, len(codes) + 1)], -1)
    made = hd.seg.Segmentation(
        [by_uid[uid] for uid in wanted],
        pixels,
        hd.seg.SegmentationTypeValues[kind],
        segments,
        hd.UID(),
        50,
        hd.UID(),
        1,
        "maker",
        "model",
        "1",
        "serial",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=False,
    )
    made.save_as(study / "a segmentation.dcm")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four studies in folders that name patients: labels as NIfTI, as SEG, none, and one without a short axis."""
    folder = tmp_path_factory.mktemp("archive") / "Studies of Plantedsurname"
    for number in (1, 2, 3):
        write_dicom_phantom(folder / f"{number} Plantedsurname, Plantedgiven", patient=number, smallest=True)
    write_label(folder / "1 Plantedsurname, Plantedgiven" / "Plantedsurname.nii.gz", *truth(1))
    write_segmentation(folder / "2 Plantedsurname, Plantedgiven", 3, truth(2)[0][3])
    write_dicom_phantom(folder / "4 none", patient=4, smallest=True, fault="no_short_axis")
    return folder


@pytest.fixture(scope="module")
def converted(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "own"
    key = out.with_name("key.csv")
    assert main(["--from_dicom", str(studies), "--output_dir", str(out), "--key", str(key), "--name", "ours"]) == 0
    return out


def test_the_data_list_has_who_is_labelled_and_who_is_not(converted: Path) -> None:
    made = json.loads((converted / "data_list.json").read_text())
    assert {*made["patients"]["labeled"], *made["patients"]["validation"]} == {"patient001", "patient002"}
    assert made["patients"]["unlabeled"] == ["patient003"]
    assert (made["name"], made["licence"]) == ("ours", "not for distribution")
    assert made["unlabeled"][0]["phase"] == "all"


def test_images_and_labels_arrive_as_they_were(converted: Path) -> None:
    for number in (1, 2):
        folder = converted / "training" / f"patient00{number}"
        cine = nib.load(folder / f"{folder.name}_4d.nii.gz")
        np.testing.assert_array_equal(
            np.moveaxis(np.asarray(cine.dataobj), -1, 0), dicom_phantom_images(number, smallest=True)
        )
        assert cine.get_data_dtype() == np.int16
        labels, affine = truth(number)
        for phase in LABELED if number == 1 else (3,):
            label = nib.load(folder / f"{folder.name}_frame{phase + 1:02d}_gt.nii.gz")
            np.testing.assert_array_equal(np.asarray(label.dataobj), labels[phase])
            np.testing.assert_allclose(label.affine, affine, atol=1e-3)


def test_info_names_the_labelled_phases_by_volume(converted: Path) -> None:
    info = (converted / "training" / "patient001" / "Info.cfg").read_text()
    volumes = {phase: (truth(1)[0][phase] == 3).sum() for phase in LABELED}
    assert f"ED: {max(volumes, key=volumes.__getitem__) + 1}\n" in info
    assert f"ES: {min(volumes, key=volumes.__getitem__) + 1}\n" in info


def test_nothing_identifies_a_patient(converted: Path, studies: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["--from_dicom", str(studies), "--output_dir", str(tmp_path / "again"), "--no_pictures"]) == 0
    assert logging.getLogger("scripts.data.dicom").level == logging.NOTSET, "later readers tell their repairs again"
    printed = capsys.readouterr()
    assert "study 4 (by the order of folder names) was left out: " in printed.out
    written = [printed.out + printed.err]
    for path in converted.rglob("*"):
        written.append(path.relative_to(converted).as_posix())
        if path.is_file():
            content = nib.load(path).header.binaryblock if path.name.endswith(".nii.gz") else path.read_bytes()
            written.append(content.decode("latin-1"))
    for planted in PLANTED:
        assert not any(planted in text for text in written), planted


def test_the_key_names_folders_outside_of_the_data_set(converted: Path) -> None:
    lines = converted.with_name("key.csv").read_text().splitlines()
    assert lines[0] == "patient,folder"
    assert lines[1] == 'patient001,"1 Plantedsurname, Plantedgiven"'
    assert len(lines) == 4


def test_it_trains(converted: Path, make_training: Callable[..., ConfigWorkflow]) -> None:
    """As docs/prepare.md has it, tiny."""
    configs = [str(ROOT / "configs" / name) for name in ("train.json", "network_unet.json", "method_mean_teacher.json")]
    workflow = make_training(
        config_file=configs,
        dataset_dir=str(converted),
        split=str(converted / "data_list.json"),
        labeled_fraction=None,
        max_epochs=1,
        epoch_length=3,
    )
    workflow.run()
    assert workflow.trainer.state.iteration == 3
    assert workflow.parser.get_parsed_content("model_card").trained_on == "ours"


# Labels that do not fit


@pytest.fixture
def study(studies: Path, tmp_path: Path) -> Path:
    """The unlabelled study, to be given labels."""
    return Path(shutil.copytree(studies / "3 Plantedsurname, Plantedgiven", tmp_path / "study"))


def test_axes_of_a_label_may_come_in_any_order(study: Path) -> None:
    labels, affine = truth(3)
    turned = nib.Nifti1Image(np.moveaxis(labels, 0, -1), affine).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, study / "turned.nii.gz")
    found = read_labels(study, read_dicom(study))
    assert sorted(found) == list(LABELED)
    for phase in LABELED:
        np.testing.assert_array_equal(found[phase], labels[phase])


def test_a_single_phase_is_named_by_its_file(study: Path) -> None:
    labels, affine = truth(3)
    nib.save(nib.Nifti1Image(labels[3], affine), study / "drawn_phase04.nii.gz")
    found = read_labels(study, read_dicom(study))
    assert list(found) == [3]
    np.testing.assert_array_equal(found[3], labels[3])


def shifted(study: Path) -> None:
    labels, affine = truth(3)
    affine[0, 3] += 3
    write_label(study / "l.nii.gz", labels, affine)


def other_values(study: Path) -> None:
    labels, affine = truth(3)
    write_label(study / "l.nii.gz", 2 * labels, affine)


def unnamed_phase(study: Path) -> None:
    labels, affine = truth(3)
    nib.save(nib.Nifti1Image(labels[0], affine), study / "label.nii.gz")


def absent_phase(study: Path) -> None:
    labels, affine = truth(3)
    nib.save(nib.Nifti1Image(labels[0], affine), study / "label_phase99.nii.gz")


def twice(study: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_label(study / name, *truth(3))


def no_nifti(study: Path) -> None:
    (study / "l.nii.gz").write_bytes(b"no NIfTI")


def no_volume(study: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 8), np.uint8), np.eye(4)), study / "l.nii.gz")


def no_place(study: Path) -> None:
    volume = nib.Nifti1Image(truth(3)[0][0], None)
    volume.header.set_sform(np.diag([0.0, 0.0, 0.0, 1.0]), code=1)
    nib.save(volume, study / "l_phase01.nii.gz")


def cut_short(study: Path) -> None:
    write_segmentation(study, 0, truth(3)[0][0])
    whole = (study / "a segmentation.dcm").read_bytes()
    (study / "a segmentation.dcm").write_bytes(whole[:-300])


def fractional(study: Path) -> None:
    write_segmentation(study, 0, truth(3)[0][0], kind="FRACTIONAL")


def label_map(study: Path) -> None:
    write_segmentation(study, 0, truth(3)[0][0], kind="LABELMAP")


def nameless(study: Path) -> None:
    write_segmentation(study, 0, truth(3)[0][0])
    segmentation = dcmread(study / "a segmentation.dcm")
    del segmentation.PerFrameFunctionalGroupsSequence[2].DerivationImageSequence
    segmentation.save_as(study / "a segmentation.dcm")


def other_code(study: Path) -> None:
    write_segmentation(study, 0, truth(3)[0][0], {"80891009": 3})


def of_another_study(study: Path) -> None:
    other = study.with_name("other")
    write_dicom_phantom(other, patient=5, smallest=True)
    write_segmentation(other, 0, truth(5)[0][0])
    segmentation, own = dcmread(other / "a segmentation.dcm"), next(dataset for _, dataset in short_axis_files(study))
    segmentation.PatientID = own.PatientID  # another study of the same patient; of others, the reader knows
    segmentation.save_as(study / "a segmentation.dcm")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shifted, "does not lie on the cine's grid"),
        (other_values, "has the values .*; expected 0 background, 1 right ventricle cavity"),
        (unnamed_phase, "or 3-D with phaseNN"),
        (absent_phase, "or 3-D with phaseNN"),
        (twice, "phase 1 has two labels"),
        (no_nifti, "NIfTI label map cannot be read"),
        (no_volume, "label map is 2-D of shape"),
        (no_place, "has no usable affine"),
        (cut_short, "cannot be read as a segmentation"),
        (fractional, "is of the type FRACTIONAL; expected BINARY"),
        (label_map, "is of the type LABELMAP; expected BINARY"),
        (nameless, "does not name the images"),
        (other_code, "segment of the type 80891009; expected the SNOMED codes"),
        (of_another_study, "names an image that is not in the short-axis cine"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(study: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(study)
    with pytest.raises(InputError, match=message) as raised:
        read_labels(study, read_dicom(study))
    assert not any(planted in str(raised.value) for planted in PLANTED)


def test_enhanced_sources_are_found_by_frame(studies: Path, tmp_path: Path) -> None:
    """A segmentation of the classic objects, its references turned to the frames of the enhanced one."""
    study = write_dicom_phantom(tmp_path / "study", patient=2, smallest=True, enhanced=True)
    classic, enhanced = read_dicom(studies / "2 Plantedsurname, Plantedgiven"), read_dicom(study)
    assert classic.instances is not None
    assert enhanced.instances is not None
    frames = {old.sop_instance_uid: new for old, new in zip(classic.instances[3], enhanced.instances[3], strict=True)}
    segmentation = dcmread(studies / "2 Plantedsurname, Plantedgiven" / "a segmentation.dcm")
    segmentation.PatientID = next(dataset for _, dataset in short_axis_files(study)).PatientID
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        instance = frames[source.ReferencedSOPInstanceUID]
        source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = instance.sop_instance_uid, instance.frame
    segmentation.save_as(study / "segmentation.dcm")
    found = read_labels(study, enhanced)
    assert list(found) == [3]
    np.testing.assert_array_equal(found[3], truth(2)[0][3])


# Studies that cannot be used


def test_one_labelled_study_is_too_few_for_a_list_and_says_so(studies: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(studies / "1 Plantedsurname, Plantedgiven", tmp_path / "in" / "one")
    assert main(["--from_dicom", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "1 labelled studies: a training needs two at least" in capsys.readouterr().err
    assert (tmp_path / "out" / "training" / "patient001" / "patient001_4d.nii.gz").is_file()


def no_folder(tmp_path: Path) -> str:
    return "is not a folder"


def empty_folder(tmp_path: Path) -> str:
    (tmp_path / "in").mkdir()
    return "is empty"


def nothing_usable(tmp_path: Path) -> str:
    (tmp_path / "in" / "Plantedsurname").mkdir(parents=True)
    (tmp_path / "in" / "Plantedsurname" / "notes.txt").write_text("no DICOM")
    return "none of the 1 studies can be used:\n  study 1: the study holds no DICOM object"


def output_in_use(tmp_path: Path) -> str:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    return "holds something already"


@pytest.mark.parametrize("spoil", [no_folder, empty_folder, nothing_usable, output_in_use])
def test_nothing_half_written_is_left(spoil: Callable[[Path], str], tmp_path: Path, capsys: Any) -> None:
    message = spoil(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["--from_dicom", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(re.escape(message), error)
    assert "Plantedsurname" not in error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_share_for_validation_outside_its_range_is_refused(studies: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["--from_dicom", str(studies), "--output_dir", str(tmp_path / "out"), "--validation_fraction", "1.5"]
    assert main(arguments) == 2
    assert "--validation_fraction must lie in (0, 1)" in capsys.readouterr().err
