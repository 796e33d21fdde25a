"""DICOM results: read back equal, on the source's grid, valid for dciodvfy, and naming the true images."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK
from cinestudies import expert_labels, short_axis_files
from numpy.typing import NDArray

from scripts.clinical.dicom_sources import Sources
from scripts.clinical.function import measure
from scripts.clinical.measurement_object import OWN_SCHEME
from scripts.clinical.outputs import write_outputs
from scripts.clinical.quality import Flag
from scripts.clinical.structures import Structures
from scripts.data.cine import CineStudy
from scripts.data.dicom.files import quiet_pydicom
from scripts.data.dicom.grid import LPS_TO_RAS  # its own inverse
from scripts.data.dicom.labels import read_labels
from scripts.data.dicom.reading import read_dicom
from scripts.data.dicom_phantom import PLANTED, dicom_phantom_truth, write_dicom_phantom
from scripts.errors import InputError

STRUCTURES = Structures(rv=1, myocardium=2, lv=3)
ABOUT: Any = {
    "model_file": "model.pt",
    "weights_sha256": "0123456789abcdef" * 4,
    "model": {},
    "bundle_version": "0.3.0",
    "software": {},
    "seconds": 1.0,
    "device": "cpu",
}
NAMES = ("ed", "es")
OF_SUNNYBROOK = (
    "Leading zeroes in embedded numeric component",
    "Dicom dataset contains invalid data values for Value Representations",  # which sums them up
)
"""Errors that come from identifiers of the study, which results must repeat."""
WARNING = Flag("warning", "stroke volumes", "LV and RV eject different volumes", None, None)


class Results:
    """A study and its report of given labels."""

    def __init__(self, study: CineStudy, labels: NDArray[np.uint8], folder: Path, *flags: Flag) -> None:
        self.study, self.labels, self.folder = study, labels, folder
        self.function = measure(labels, study.spacing, STRUCTURES, heart_rate_per_min=study.heart_rate)
        write_outputs(folder, study, labels, None, self.function, flags, None, ABOUT, structures=STRUCTURES, dicom=True)
        self.phases = {"ed": self.function.phases.ed, "es": self.function.phases.es}

    def segmentation(self, name: str) -> hd.seg.Segmentation:
        return hd.seg.segread(self.folder / "dicom" / f"{name}.seg.dcm")


@pytest.fixture(scope="module", params=["classic", "enhanced", "transverse"])
def phantom(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """The study's folder, and its results from true labels."""
    folder = tmp_path_factory.mktemp("results")
    options = {"enhanced": request.param == "enhanced", "oblique": request.param != "transverse"}
    study = write_dicom_phantom(folder / "study", smallest=True, **options)
    return study, Results(read_dicom(study), dicom_phantom_truth(smallest=True)[0], folder / "report", WARNING)


@pytest.fixture(scope="module")
def sunnybrook(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The real study with masks of its expert contours."""
    source = real_data / "sunnybrook"
    study = read_dicom(source / "dicom")
    labels = expert_labels(source / "contours" / "SCD0000301", study)
    return Results(study, labels, tmp_path_factory.mktemp("sunnybrook") / "report")


def assert_on_the_grid(results: Results) -> None:
    """Every voxel of a segmentation lies where the study's lies, by highdicom and by SimpleITK, to 0.01 mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in results.study.images.shape[1:]), indexing="ij"), -1)
    lps = LPS_TO_RAS @ results.study.affine
    expected = index @ lps[:3, :3].T + lps[:3, 3]
    for name in NAMES:
        volume = results.segmentation(name).get_volume(combine_segments=True)
        affine = np.asarray(volume.affine)  # of slice, row, column
        first = np.linalg.solve(lps, affine @ [0, 0, 0, 1])[2]  # the slice of the study that comes first
        direction = 1 if affine[:3, 0] @ lps[:3, 2] > 0 else -1
        got = np.stack([direction * (index[..., 2] - first), index[..., 1], index[..., 0]], -1) @ affine[:3, :3].T
        assert np.abs(got + affine[:3, 3] - expected).max() < 0.01
        _assert_by_simpleitk(results, name, expected)


def _assert_by_simpleitk(results: Results, name: str, expected: NDArray[np.float64]) -> None:
    """SimpleITK reads frames, place and directions; the spacing of an object of several segments it takes for 1 mm (2.5.7), so
    that is set from the object."""
    made = results.segmentation(name)
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    row, column = (float(value) for value in measures.PixelSpacing)
    image = SimpleITK.ReadImage(str(results.folder / "dicom" / f"{name}.seg.dcm"))
    image.SetSpacing((column, row, float(measures.SpacingBetweenSlices)))
    assert image.GetDepth() == len(made.PerFrameFunctionalGroupsSequence)
    places = [g.PlanePositionSequence[0].ImagePositionPatient for g in made.PerFrameFunctionalGroupsSequence]
    assert np.abs(np.array(image.GetOrigin()) - np.array(places[0], float)).max() < 0.01
    corners = [
        (0, 0),
        (image.GetWidth() - 1, 0),
        (0, image.GetHeight() - 1),
        (image.GetWidth() - 1, image.GetHeight() - 1),
    ]
    for frame, place in enumerate(places):
        of_frame = image[:, :, frame : frame + 1]
        of_frame.SetOrigin([float(value) for value in place])
        slice_ = int(np.abs(expected[0, 0] - np.array(place, float)).max(1).argmin())
        for x, y in corners:
            point = np.array(of_frame.TransformIndexToPhysicalPoint((x, y, 0)))
            assert np.abs(point - expected[x, y, slice_]).max() < 0.01


def test_masks_read_back_equal(phantom: tuple[Path, Results]) -> None:
    study, results = phantom
    for name, phase in results.phases.items():
        copy = Path(shutil.copytree(study, results.folder.parent / f"with {name}"))
        shutil.copy(results.folder / "dicom" / f"{name}.seg.dcm", copy)
        found = read_labels(copy, results.study)
        assert list(found) == [phase]
        np.testing.assert_array_equal(found[phase], results.labels[phase])


def test_every_voxel_lies_where_the_source_has_it(phantom: tuple[Path, Results]) -> None:
    assert_on_the_grid(phantom[1])


def test_a_segmentation_says_what_is_what_and_of_whom(phantom: tuple[Path, Results]) -> None:
    study, results = phantom
    source = next(dataset for _, dataset in short_axis_files(study))
    true = {dataset.SOPInstanceUID for _, dataset in short_axis_files(study)}
    for name in NAMES:
        made = results.segmentation(name)
        segments = [made.get_segment_description(number) for number in (1, 2, 3)]
        assert [s.segment_label for s in segments] == ["LV cavity", "LV myocardium", "RV cavity"]
        assert [s.segmented_property_type.value for s in segments] == ["87878005", "49848007", "53085002"]
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
            assert made[keyword].value == source[keyword].value, keyword
        assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert made.SOPInstanceUID.startswith("2.25.")
        named = {
            item.ReferencedSOPInstanceUID
            for groups in made.PerFrameFunctionalGroupsSequence
            for item in groups.DerivationImageSequence[0].SourceImageSequence
        }
        assert named <= true
        assert "research use only" in made.SeriesDescription


def numbers(report: pydicom.Dataset) -> dict[tuple[str, str], tuple[float, str]]:
    """(scheme, code) with the group's site to value and unit."""
    found = {}
    for group in report.ContentSequence[-1].ContentSequence:
        site = next(
            item.ConceptCodeSequence[0].CodeValue
            for item in group.ContentSequence
            if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeMeaning == "Finding Site"
        )
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                value = item.MeasuredValueSequence[0]
                unit = value.MeasurementUnitsCodeSequence[0].CodeValue
                found[item.ConceptNameCodeSequence[0].CodeValue, site] = (float(value.NumericValue), unit)
    return found


def test_the_report_has_the_numbers_with_their_codes_and_units(phantom: tuple[Path, Results]) -> None:
    _, results = phantom
    function, lv, rv = results.function, "87878005", "53085002"
    report = pydicom.dcmread(results.folder / "dicom" / "report.sr.dcm")
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    expected = {
        ("8821-1", lv): (function.lv_edv_ml, "mL"),
        ("8823-7", lv): (function.lv_esv_ml, "mL"),
        ("8811-2", lv): (function.lv_ef_percent, "%"),
        ("18087-7", lv): (function.lv_mass_g, "g"),
        ("8822-9", rv): (function.rv_edv_ml, "mL"),
        ("8824-5", rv): (function.rv_esv_ml, "mL"),
        ("8818-7", rv): (function.rv_ef_percent, "%"),
        ("90096001", lv): (function.lv_sv_ml, "mL"),
        ("90096001", rv): (function.rv_sv_ml, "mL"),
        ("82799009", lv): (function.cardiac_output_l_min, "L/min"),
    }
    found = numbers(report)
    assert found.keys() == expected.keys()
    for key, (value, unit) in expected.items():
        assert found[key] == (pytest.approx(value, abs=0.006), unit)
    text = report.to_json()
    assert OWN_SCHEME in text
    assert "LV and RV eject different volumes" in text
    used = {
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert {results.segmentation(name).SOPInstanceUID for name in NAMES} <= used


def errors_of(path: Path) -> set[str]:
    """What dciodvfy holds against an object, without the values."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        message = "dciodvfy (Debian dicom3tools) is not installed: DICOM objects are not verified"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    done = subprocess.run([tool, str(path)], capture_output=True, text=True, errors="replace", check=False)
    return {line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")}


def test_dciodvfy_finds_no_error_in_results_of_the_phantom(phantom: tuple[Path, Results]) -> None:
    for path in sorted((phantom[1].folder / "dicom").iterdir()):
        assert errors_of(path) == set(), path.name


def test_an_error_would_be_found(phantom: tuple[Path, Results], tmp_path: Path) -> None:
    broken = pydicom.dcmread(phantom[1].folder / "dicom" / "ed.seg.dcm")
    del broken.SegmentSequence
    broken.save_as(tmp_path / "broken.dcm")
    assert errors_of(tmp_path / "broken.dcm")


def test_the_real_study_gives_no_error_but_those_of_its_own_identifiers(sunnybrook: Results) -> None:
    assert_on_the_grid(sunnybrook)
    for path in sorted((sunnybrook.folder / "dicom").iterdir()):
        remaining = [error for error in errors_of(path) if not any(known in error for known in OF_SUNNYBROOK)]
        assert remaining == [], path.name
    instances = [instance for phase in sunnybrook.study.instances or () for instance in phase]
    source = next(instance.path for instance in instances if ".0" in instance.sop_instance_uid)
    assert any("Leading zeroes" in error for error in errors_of(source)), "the sources have that error themselves"
    content = json.loads((sunnybrook.folder / "report.json").read_text())
    assert any("DICOM results have a new one" in repair for repair in content["study"]["repairs"])


def test_every_file_of_the_report_is_in_its_list(phantom: tuple[Path, Results]) -> None:
    content = json.loads((phantom[1].folder / "report.json").read_text())
    assert {"dicom/ed.seg.dcm", "dicom/es.seg.dcm", "dicom/report.sr.dcm"} <= content["files"].keys()


def test_a_failed_check_gives_no_objects(dicom_phantom: Path, tmp_path: Path) -> None:
    hard = Flag("hard", "structure", "no right ventricle", 0, None)
    results = Results(read_dicom(dicom_phantom), dicom_phantom_truth(smallest=True)[0], tmp_path / "report", hard)
    assert not (results.folder / "dicom").exists()
    assert (results.folder / "report.json").is_file()


def test_a_study_that_is_not_dicom_is_refused(dicom_phantom: Path) -> None:
    study = read_dicom(dicom_phantom)
    with pytest.raises(InputError, match="this study is not DICOM"):
        Sources.of(CineStudy(**{**vars(study), "instances": None}))


def test_hard_headers_are_copied_or_emptied_without_a_word_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """A name in two character sets, an invalid birth date and sex, no accession number, each slice a series of its own."""
    source = write_dicom_phantom(tmp_path / "study", smallest=True)
    series = {}
    with quiet_pydicom():
        wanted = {path for path, _ in short_axis_files(source)}
        for path in (path for path in source.rglob("*") if path.is_file() and path not in wanted):
            path.unlink()  # which would be another patient's then
        for path, header in short_axis_files(source):
            header.SpecificCharacterSet, header.PatientName = ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"
            header.PatientBirthDate, header.PatientSex, header.IssuerOfPatientID = "1970-02-30", "male!", "hospital"
            del header.AccessionNumber
            place = round(abs(float(header.ImagePositionPatient[2])) * 1000)
            series[header.SOPInstanceUID] = header.SeriesInstanceUID = f"{header.SeriesInstanceUID}.{place + 1}"
            header.save_as(path)
    caplog.clear()
    recwarn.clear()
    results = Results(read_dicom(source), dicom_phantom_truth(smallest=True)[0], tmp_path / "report")
    told = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert "1970" not in told + (results.folder / "report.json").read_text()
    made = results.segmentation("ed")
    assert (made.PatientName, made.IssuerOfPatientID) == ("Yamada^Tarou=山田^太郎", "hospital")
    assert (made.PatientBirthDate, made.PatientSex, made.AccessionNumber) == ("", "", "")
    report = pydicom.dcmread(results.folder / "dicom" / "report.sr.dcm")
    assert report.PatientName == "Yamada^Tarou=山田^太郎"
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named = {i.ReferencedSOPInstanceUID: s.SeriesInstanceUID for s in evidence for i in s.ReferencedSOPSequence}
    for item in made.ReferencedSeriesSequence:
        for instance in item.ReferencedInstanceSequence:
            uid = instance.ReferencedSOPInstanceUID
            assert item.SeriesInstanceUID == series[uid] == named[uid]


def test_only_the_objects_say_who_the_patient_is(
    phantom: tuple[Path, Results], caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder, tmp_path: Path
) -> None:
    _, results = phantom
    again = Results(results.study, results.labels, tmp_path / "report", WARNING)
    told = caplog.text + "".join(str(warning.message) for warning in recwarn)
    for path in again.folder.rglob("*"):
        told += path.relative_to(again.folder).as_posix()
        if path.is_file() and path.suffix != ".dcm":
            told += path.read_bytes().decode("latin-1")
    assert not [word for word in PLANTED if word in told]
    held = (again.folder / "dicom" / "ed.seg.dcm").read_bytes().decode("latin-1")
    assert PLANTED[0] in held, "a PACS files an object by its patient"
