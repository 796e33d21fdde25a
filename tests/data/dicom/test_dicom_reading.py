"""From DICOM files to a cine: the phantom in every coding, what headers may lack, and the Sunnybrook study."""

import numpy as np
import pydicom
import pytest
import SimpleITK
from cinestudies import SHORT_AXIS, assert_is_phantom, change, short_axis_files
from pydicom.uid import generate_uid

from scripts.clinical.study import read_study
from scripts.data.cine import CineStudy
from scripts.data.dicom_phantom import (
    PLANTED,
    TRANSFER_SYNTAXES,
    dicom_phantom_images,
    dicom_phantom_times,
    write_dicom_phantom,
)


@pytest.mark.parametrize(
    "options",
    [
        *({"transfer_syntax": syntax} for syntax in TRANSFER_SYNTAXES),
        {"enhanced": True},
        {"enhanced": "per_slice", "transfer_syntax": "rle"},
        {"oblique": False},
        {"irregular_times": False},
    ],
    ids=str,
)
def test_phantom_comes_back(tmp_path, options):
    study = read_study(write_dicom_phantom(tmp_path / "study", smallest=True, **options))
    assert_is_phantom(study, oblique=options.get("oblique", True))
    assert study.heart_rate == pytest.approx(60, abs=3)
    assert study.body.height_m == pytest.approx(1.72)
    assert study.body.weight_kg == pytest.approx(65)
    assert (study.repairs, study.source, study.given_phases) == ((), "DICOM", {})


@pytest.mark.parametrize("irregular", [True, False])
def test_times_of_each_slice(tmp_path, dicom_phantom, irregular):
    folder = dicom_phantom if irregular else write_dicom_phantom(tmp_path / "s", smallest=True, irregular_times=False)
    times = read_study(folder).times_ms
    assert times is not None
    np.testing.assert_allclose(times, dicom_phantom_times(smallest=True, irregular=irregular)[0], atol=0.05)
    assert (np.ptp(times, axis=1) > 0).all() == irregular


def test_instances_are_the_sources(dicom_phantom):
    study = read_study(dicom_phantom)
    assert study.instances is not None
    for p, s in ((0, 0), (3, 1), (7, 4)):
        source = pydicom.dcmread(study.instances[p][s].path)
        assert source.SOPInstanceUID == study.instances[p][s].sop_instance_uid
        assert source.SOPClassUID == study.instances[p][s].sop_class_uid
        np.testing.assert_array_equal(source.pixel_array.T, study.images[p, :, :, s])


def test_instances_of_multi_frame_objects_count_from_one(tmp_path):
    study = read_study(write_dicom_phantom(tmp_path / "study", smallest=True, enhanced=True))
    assert study.instances is not None
    assert sorted(i.frame for phase in study.instances for i in phase) == list(range(1, 41))
    source = study.instances[2][1]
    assert source.frame is not None
    expected = 0.5 * pydicom.dcmread(source.path).pixel_array[source.frame - 1].T
    np.testing.assert_array_equal(study.images[2, :, :, 1], expected)
    assert_is_phantom(read_study(source.path))  # the one file is a study too


def test_phi_is_apart(dicom_phantom):
    study = read_study(dicom_phantom)
    assert set(study.phi) == {"PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate"}
    assert not any(word in repr(study) for word in PLANTED)


def test_other_files_are_noted(tmp_path):
    study = read_study(write_dicom_phantom(tmp_path / "study", smallest=True, fault="not_dicom_file"))
    assert study.repairs == ("3 file(s) that are not DICOM passed over",)


def test_quirks_are_noted(tmp_path):
    repairs = read_study(write_dicom_phantom(tmp_path / "s", smallest=True, fault="sunnybrook_quirks")).repairs
    for word in ("ImageOrientationPatient", "FrameOfReferenceUID", "leading zeros", "StudyDate and PatientBirthDate"):
        assert any(word in repair for repair in repairs)


def test_series_number_chooses(tmp_path):
    folder = write_dicom_phantom(tmp_path / "study", smallest=True, fault="two_short_axis")
    study = read_study(folder, series_number=15)
    assert_is_phantom(study)
    assert study.instances is not None
    assert {pydicom.dcmread(i.path).SeriesNumber for phase in study.instances for i in phase} == {15}


def test_damaged_file_of_another_series_is_passed_over(dicom_study):
    path, _ = next(short_axis_files(dicom_study))
    (dicom_study / "damaged.dcm").write_bytes(path.read_bytes()[:150])
    assert read_study(dicom_study).repairs == ("1 damaged DICOM file(s) of unknown series passed over",)


def test_derived_series_when_named(dicom_study):
    change(dicom_study, lambda dataset: dataset.update({"ImageType": ["DERIVED", "PRIMARY"]}))
    assert_is_phantom(read_study(dicom_study, series_number=SHORT_AXIS))


def test_series_of_one_slice_each(dicom_study):
    def part(dataset: pydicom.Dataset) -> None:
        position = str(dataset.ImagePositionPatient)
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[position])

    change(dicom_study, part)
    read = read_study(dicom_study)
    assert_is_phantom(read)
    assert "5 series of few slices each joined to one stack" in read.repairs


def test_without_trigger_times(dicom_study):
    change(dicom_study, lambda dataset: dataset.pop("TriggerTime"))
    read = read_study(dicom_study)
    assert_is_phantom(read)
    assert read.times_ms is None
    assert any("no usable TriggerTime" in repair for repair in read.repairs)


@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({"HeartRate": 72, "NominalInterval": None}, 72.0),
        ({"HeartRate": 0, "NominalInterval": 800}, 75.0),
        ({"HeartRate": 0, "NominalInterval": 0}, None),
        ({"HeartRate": None, "NominalInterval": None}, None),
    ],
)
def test_heart_rate(dicom_study, attributes, rate):
    change(dicom_study, lambda dataset: dataset.update(attributes))
    assert read_study(dicom_study).heart_rate == rate


@pytest.mark.parametrize(
    ("attributes", "height", "weight", "sex"),
    [
        ({"PatientSize": "172", "PatientSex": "f"}, 1.72, 65.0, "F"),
        ({"PatientSize": "0", "PatientWeight": "0", "PatientSex": "O"}, None, None, None),
        ({"PatientSize": None, "PatientWeight": "7000"}, None, None, "M"),
    ],
)
def test_body(dicom_study, attributes, height, weight, sex):
    change(dicom_study, lambda dataset: dataset.update(attributes))
    body = read_study(dicom_study).body
    assert (body.height_m, body.weight_kg) == (pytest.approx(height), weight)
    assert body.sex == sex


def test_rescaling(dicom_study):
    change(dicom_study, lambda dataset: dataset.update({"RescaleSlope": "2.5", "RescaleIntercept": "-100"}))
    np.testing.assert_allclose(
        read_study(dicom_study).images, 2.5 * dicom_phantom_images(smallest=True) - 100.0, rtol=1e-6
    )


def test_links_that_lead_back(dicom_study):
    (dicom_study / "again").symlink_to(dicom_study, target_is_directory=True)
    assert_is_phantom(read_study(dicom_study))


def assert_agrees_with_simpleitk(study: CineStudy, phase: int) -> None:
    """One phase read as a series by SimpleITK: the same voxels at the same places within 0.01 mm."""
    assert study.instances is not None
    image = SimpleITK.ReadImage([str(instance.path) for instance in study.instances[phase]])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).T, study.images[phase])
    last = np.array(study.images.shape[1:]) - 1
    for index in [(0, 0, 0), (last[0], 0, 0), (0, last[1], 0), (0, 0, last[2]), tuple(last), tuple(last // 2)]:
        lps = image.TransformIndexToPhysicalPoint([int(i) for i in index])
        ras = study.affine @ (*index, 1)
        np.testing.assert_allclose(ras[:3], [-lps[0], -lps[1], lps[2]], atol=0.01)


def test_phantom_agrees_with_simpleitk(dicom_phantom):
    assert_agrees_with_simpleitk(read_study(dicom_phantom), phase=3)


def test_sunnybrook(real_data):
    study = read_study(real_data / "sunnybrook" / "dicom")
    assert study.images.shape == (20, 256, 256, 10)
    assert study.spacing == pytest.approx((1.2891, 1.2891, 8.0), abs=1e-3)
    assert study.heart_rate == 65
    assert study.times_ms is not None
    assert (study.times_ms[0] == 10).all()
    assert (study.times_ms[-1] == 886).all()
    assert study.instances is not None
    files = [[int(instance.path.stem) for instance in phase] for phase in study.instances]
    # Contours are drawn in images 20, 40, ... at end-diastole and in 7, 27, ... at end-systole.
    assert sorted(files[19]) == list(range(20, 201, 20))
    assert sorted(files[6]) == list(range(7, 201, 20))
    for phase in (0, 6, 19):
        assert_agrees_with_simpleitk(study, phase)
    assert not any("SCD0000301" in repair for repair in study.repairs)
