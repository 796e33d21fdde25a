"""Every fault of a DICOM study: a clear error or a note, and nothing that identifies the patient in either."""

import logging
import re

import pydicom
import pytest
from cinestudies import assert_is_phantom, change, short_axis_files

from scripts.clinical.dicom_sources import Sources
from scripts.clinical.study import read_study
from scripts.data.dicom_phantom import FAULTS, PLANTED, SURVIVABLE, write_dicom_phantom
from scripts.errors import InputError

ERRORS = {
    "no_short_axis": r"no short-axis cine was found: .* came: series 1 .* series 3 .* series 4 ",
    "two_short_axis": r"2 series could be the short-axis cine.* series 5 .* series 15 .*--series N",
    "missing_slice_in_one_phase": r"expected 8 phases in each of 5 slices, but the slice at .* mm has 7 \(a gap",
    "duplicated_instance": r"two files of series 5 .* same instance",
    "mixed_patients": r"files of 2 patients .* told apart by PatientID",
    "mixed_orientations": r"mixes orientations: 8 more image.*20 degrees",
    "truncated_file": r"belongs to the short-axis cine, cannot be decoded: they end too early",
    "burnt_in_capture": r"no short-axis cine was found.*40 image\(s\) of series 5 \(not MR images\)",
    "zero_spacing": r"no usable PixelSpacing: expected two positive lengths in mm, came \(0.0, 0.0\)",
    "single_phase": r"no short-axis cine was found.*single phase",
    "three_slices": r"no short-axis cine was found.*The 3 slices found do not cover",
    "unknown_transfer_syntax": r"has the transfer syntax 2\.25\.\d+, which cannot be decoded",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(tmp_path, caplog, fault):
    folder = write_dicom_phantom(tmp_path / "study", smallest=True, fault=fault)
    with caplog.at_level(logging.DEBUG):
        if fault in SURVIVABLE:
            assert_is_phantom(read_study(folder))
            text = ""
        else:
            with pytest.raises(InputError, match=ERRORS[fault]) as error:
                read_study(folder)
            text = str(error.value)
    for word in (*PLANTED, "Othersurname", "OTHER-ID", "Müller"):
        assert word not in text + caplog.text


@pytest.mark.parametrize(
    "fault", ["missing_slice_in_one_phase", "mixed_orientations", "truncated_file", "three_slices"]
)
def test_fault_in_multi_frame_objects(tmp_path, fault):
    folder = write_dicom_phantom(tmp_path / "study", smallest=True, enhanced=True, fault=fault)
    with pytest.raises(InputError, match=ERRORS[fault]):
        read_study(folder)


@pytest.mark.parametrize(
    ("syntax", "lost"), [("explicit", 0.95), ("explicit", 0.8), ("jpegls", 12), ("jpegls", 0.3), ("rle", 60)]
)
def test_file_cut_short_anywhere(tmp_path, syntax, lost):
    """Compressed pixels without an end, too: JPEG-LS decoders fill up in silence."""
    folder = write_dicom_phantom(tmp_path / "study", smallest=True, transfer_syntax=syntax)
    path, _ = list(short_axis_files(folder))[7]
    content = path.read_bytes()
    path.write_bytes(content[: -lost if lost > 1 else int(len(content) * (1 - lost))])
    with pytest.raises(InputError, match=re.escape(path.name)):
        read_study(folder)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"BurnedInAnnotation": "YES"}, r"40 image\(s\) of series 5 \(text burnt into the pixels\)"),
        ({"ImageType": ["DERIVED", "PRIMARY"]}, r"\(derived\)"),
        ({"ImageType": ["DERIVED", "PRIMARY"]}, r"name its series with --series"),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, r"\(secondary\)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, r"\(phase maps\)"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, r"\(colour or inverted\)"),
        ({"Modality": "CT"}, r"\(not MR images\)"),
    ],
)
def test_not_original_mr(dicom_study, attributes, words):
    change(dicom_study, lambda dataset: dataset.update(attributes))
    with pytest.raises(InputError, match=rf"no short-axis cine was found.*{words}"):
        read_study(dicom_study)


def test_one_unusable_image_leaves_a_hole(dicom_study):
    change(dicom_study, lambda dataset: dataset.update({"BurnedInAnnotation": "YES"}), only=1)
    with pytest.raises(InputError, match=r"has 7 .*1 image\(s\) of series 5 \(text burnt"):
        read_study(dicom_study)


def test_names_in_paths_are_blotted_out(dicom_study):
    named = dicom_study.rename(dicom_study.with_name("Plantedsurname, Plantedgiven (PLANTED-ID-4711-0-001)"))
    path, _ = next(short_axis_files(named))
    folder = named / "plantedSURNAME" / "19530419"
    folder.mkdir(parents=True)
    (folder / "copy of it").write_bytes(path.read_bytes())
    with pytest.raises(InputError) as error:
        read_study(named)
    assert "***/***/copy of it" in str(error.value)
    assert not any(word.lower() in str(error.value).lower() for word in PLANTED)


@pytest.mark.parametrize(("name", "folder"), [("Wu^Li", "LI_wu 1"), ("王^伟", "王伟 1")])
def test_short_names_are_blotted_out_and_words_that_hold_them_are_not(dicom_study, name, folder):
    change(dicom_study, lambda dataset: dataset.update({"SpecificCharacterSet": "ISO_IR 192", "PatientName": name}))
    (dicom_study / folder).mkdir()
    _, dataset = next(short_axis_files(dicom_study))
    for other in dicom_study.rglob("*"):
        if other.is_file() and pydicom.dcmread(other).PatientName != name:
            other.unlink()
    dataset.save_as(dicom_study / folder / "slice")
    with pytest.raises(InputError, match="same instance") as error:
        read_study(dicom_study)
    assert re.search(r"\*\*\*_?\*\*\* 1/slice", str(error.value))


def test_broken_values_reach_no_warning(dicom_study, caplog, recwarn):
    broken = {"PatientSex": "Plantedgiven", "StudyDate": "PLANTEDACC"}
    change(dicom_study, lambda dataset: dataset.update(broken))
    recwarn.clear()
    with caplog.at_level(logging.DEBUG):
        Sources.of(read_study(dicom_study))
    messages = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert not any(word in messages for word in PLANTED)


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_study(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("no study")
    with pytest.raises(InputError, match=r"holds no DICOM object \(1 other file"):
        read_study(tmp_path)
    with pytest.raises(InputError, match="holds no DICOM object"):
        read_study(tmp_path / "notes.txt")
