"""The phantom as a DICOM study: geometry, pixels and times read back, every fault really there."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from scripts.data import dicom_phantom
from scripts.data.dicom_faults import NASTY_FOLDERS, NASTY_ID, NASTY_NAME, UNKNOWN_TRANSFER_SYNTAX
from scripts.data.dicom_phantom import (
    FAULTS,
    PLANTED,
    SURVIVABLE,
    TRANSFER_SYNTAXES,
    dicom_phantom_images,
    dicom_phantom_times,
    dicom_phantom_truth,
    dicom_phantom_volumes,
    main,
    phantom_patient,
    write_dicom_phantom,
)
from scripts.data.phantom import PhantomExistsError

CINE: dict[str, dict] = {"classic": {}, "enhanced": {"enhanced": True}, "per_slice": {"enhanced": "per_slice"}}
WritePhantom = Callable[..., Path]
SHORT_AXIS = 5
"""Number of the short-axis series."""


pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # some faults are such values


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> WritePhantom:
    """Write a smallest study with some options once; nobody may change it."""
    known: dict[tuple, Path] = {}

    def cached(**options: object) -> Path:
        key = tuple(sorted(options.items()))
        if key not in known:
            known[key] = write_dicom_phantom(tmp_path_factory.mktemp("dicom") / "study", smallest=True, **options)
        return known[key]

    return cached


@pytest.fixture(scope="module")
def plain(write: WritePhantom) -> Path:
    """The sound study with all defaults but the size."""
    return write()


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(folder: Path, number: int | None = None) -> list[Dataset]:
    """All objects, or those of series ``number``."""
    contents = [pydicom.dcmread(path) for path in files_of(folder)]
    return [content for content in contents if number in (None, content.SeriesNumber)]


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files_of(folder)}


def frames_of(contents: list[Dataset]) -> list[dict]:
    """Pixels after rescaling, position, orientation, spacing and trigger time of each frame of some MR objects."""
    frames = []
    for content in contents:
        if "PerFrameFunctionalGroupsSequence" not in content:
            position, orientation = content.ImagePositionPatient, content.ImageOrientationPatient
            values = (content.pixel_array, position, orientation, content.PixelSpacing, content.get("TriggerTime"))
            frames.append(values)
            continue
        rescale = content.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        stored = content.pixel_array.reshape(-1, content.Rows, content.Columns)
        assert content.NumberOfFrames == len(stored) == len(content.PerFrameFunctionalGroupsSequence)
        for pixels, groups in zip(stored, content.PerFrameFunctionalGroupsSequence, strict=True):
            sync = groups.get("CardiacSynchronizationSequence")
            values = (
                pixels * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept),
                groups.PlanePositionSequence[0].ImagePositionPatient,
                groups.PlaneOrientationSequence[0].ImageOrientationPatient,
                groups.PixelMeasuresSequence[0].PixelSpacing,
                sync[0].NominalCardiacTriggerDelayTime if sync else None,
            )
            frames.append(values)
    names = ("pixels", "position", "orientation", "spacing", "time")
    return [dict(zip(names, (np.array(value, float) for value in values), strict=True)) for values in frames]


def sorted_grid(frames: list[dict]) -> list[list[dict]]:
    """Frames as [slice][phase]: slices along the normal, phases by time."""
    normal = np.cross(frames[0]["orientation"][:3], frames[0]["orientation"][3:])
    stacks = defaultdict(list)
    for frame in frames:
        stacks[round(float(frame["position"] @ normal), 2)].append(frame)
    return [sorted(stacks[level], key=lambda frame: frame["time"]) for level in sorted(stacks)]


def affine_of(grid: list[list[dict]]) -> np.ndarray:
    """Index (x, y, slice) to RAS mm, by the equation C.7.6.2.1-1 of PS3.3."""
    first, last = grid[0][0], grid[-1][0]
    affine = np.eye(4)
    affine[:3, 0] = first["orientation"][:3] * first["spacing"][1]
    affine[:3, 1] = first["orientation"][3:] * first["spacing"][0]
    affine[:3, 2] = (last["position"] - first["position"]) / (len(grid) - 1)
    affine[:3, 3] = first["position"]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


# A sound study


@pytest.mark.parametrize("options", [{}, {"enhanced": True, "transfer_syntax": "rle"}, {"fault": "sunnybrook_quirks"}])
def test_the_same_arguments_give_the_same_bytes(write: WritePhantom, tmp_path: Path, options: dict) -> None:
    again = write_dicom_phantom(tmp_path / "again", smallest=True, **options)
    assert digests(write(**options)) == digests(again)


def test_other_patients_and_seeds_are_other_people_and_objects(write: WritePhantom, plain: Path) -> None:
    studies = [read(plain), read(write(patient=2)), read(write(seed=1))]
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert len({study[0][keyword].value for study in studies if keyword in study[0]}) == 3
    uids = [content.SOPInstanceUID for study in studies for content in study]
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize(("kind", "oblique"), [*((kind, True) for kind in CINE), ("classic", False)])
def test_geometry_is_that_of_the_truth(write: WritePhantom, kind: str, oblique: bool) -> None:
    grid = sorted_grid(frames_of(read(write(**CINE[kind], **({} if oblique else {"oblique": False})), SHORT_AXIS)))
    labels, affine = dicom_phantom_truth(smallest=True, oblique=oblique)
    assert (len(grid[0]), *grid[0][0]["pixels"].T.shape, len(grid)) == labels.shape
    np.testing.assert_allclose(affine_of(grid), affine, atol=1e-6)
    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-9)
    assert (np.abs(direction).max() < 0.99) == oblique


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_every_coding_gives_every_pixel_back(write: WritePhantom, kind: str, syntax: str) -> None:
    folder = write(**CINE[kind], transfer_syntax=syntax)
    contents = read(folder)
    assert {c.file_meta.TransferSyntaxUID for c in contents} == {TRANSFER_SYNTAXES[syntax]}
    grid = sorted_grid(frames_of([c for c in contents if c.SeriesNumber == SHORT_AXIS]))
    pixels = np.array([[frame["pixels"].T for frame in stack] for stack in grid])
    np.testing.assert_array_equal(np.moveaxis(pixels, 0, 3), dicom_phantom_images(smallest=True))
    (capture,) = (c for c in contents if c.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage)
    assert capture.pixel_array.shape == (capture.Rows, capture.Columns, 3)
    coloured = (capture.pixel_array.max(2) != capture.pixel_array.min(2)).mean()
    assert 0.005 < coloured < 0.5


def test_simpleitk_sees_the_same_place(plain: Path) -> None:
    first = {}
    for path in files_of(plain):
        content = pydicom.dcmread(path)
        if content.SeriesNumber == SHORT_AXIS:
            level = tuple(content.ImagePositionPatient)
            if level not in first or content.TriggerTime < first[level][0]:
                first[level] = (content.TriggerTime, content.AcquisitionNumber, str(path))
    in_order = [path for _, _, path in sorted(first.values(), key=lambda entry: -entry[1])]  # apex to base
    volume = SimpleITK.ReadImage(in_order)
    labels, affine = dicom_phantom_truth(smallest=True)
    assert volume.GetSize() == labels.shape[1:]
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(volume).T, dicom_phantom_images(smallest=True)[0])
    for index in ((0, 0, 0), (7, 3, 4), (40, 50, 2)):
        point = affine @ [*index, 1.0] * [-1.0, -1.0, 1.0, 1.0]
        np.testing.assert_allclose(volume.TransformIndexToPhysicalPoint(index), point[:3], atol=1e-3)


def test_slice_thickness_is_not_the_slice_distance(plain: Path) -> None:
    distance = np.linalg.norm(dicom_phantom_truth(smallest=True)[1][:3, 2])
    assert distance == pytest.approx(phantom_patient(smallest=True).spacing[2])
    for content in read(plain, SHORT_AXIS):
        assert content.SliceThickness < 0.9 * distance
        assert "SpacingBetweenSlices" not in content


def test_anatomy_lies_in_the_body_as_it_should() -> None:
    """The apex is left, in front of and below the base; the right ventricle lies on the right."""
    labels, affine = dicom_phantom_truth(smallest=True)

    def centre(of: np.ndarray) -> np.ndarray:
        return affine[:3, :3] @ np.argwhere(of).mean(0) + affine[:3, 3]

    slices = np.flatnonzero((labels[0] == 3).any((0, 1)))
    apex, base = (centre((labels[0] == 3) & (np.arange(labels.shape[3]) == s)) for s in (slices[0], slices[-1]))
    assert (apex - base)[0] < -10.0
    assert (apex - base)[1] > 10.0
    assert (apex - base)[2] < -10.0
    assert centre(labels[0] == 1)[0] > centre(labels[0] == 3)[0] + 10.0


@pytest.mark.parametrize("patient", [1, 2])
def test_volumes_of_the_labels_are_those_of_the_geometry(patient: int) -> None:
    labels, affine = dicom_phantom_truth(patient, smallest=True)
    person, volumes = phantom_patient(patient, smallest=True), dicom_phantom_volumes(patient, smallest=True)
    voxel = abs(np.linalg.det(affine[:3, :3])) / 1000.0
    for name, value in (("rv", 1), ("myocardium", 2), ("lv", 3)):
        counted = (labels == value).sum((1, 2, 3)) * voxel
        at = [person.ed - 1, person.es - 1]
        assert counted[at] == pytest.approx(volumes[name][at], rel=0.13)  # slices are about 20 mm apart
    assert (volumes["lv"].argmax(), volumes["lv"].argmin()) == (person.ed - 1, person.es - 1)
    assert labels.shape == (person.frames, *person.matrix)


@pytest.mark.parametrize("kind", CINE)
def test_each_slice_has_its_own_times(write: WritePhantom, kind: str) -> None:
    grid = sorted_grid(frames_of(read(write(**CINE[kind]), SHORT_AXIS)))
    read_times = np.array([[float(frame["time"]) for frame in stack] for stack in grid]).T
    times, cycle = dicom_phantom_times(smallest=True)
    np.testing.assert_allclose(read_times, times)
    assert len(np.unique(times)) == times.size
    assert len(np.unique(cycle)) == len(cycle)
    np.testing.assert_allclose(np.diff(times, axis=0), np.broadcast_to(cycle / len(times), (7, 5)), atol=0.11)


def test_times_can_be_the_same_in_all_slices(write: WritePhantom) -> None:
    contents = read(write(irregular_times=False), SHORT_AXIS)
    assert set(Counter(float(c.TriggerTime) for c in contents).values()) == {5}
    assert len({c.HeartRate for c in contents}) == 1


def test_heart_rate_and_body_are_the_patients(plain: Path) -> None:
    person, cycle = phantom_patient(smallest=True), dicom_phantom_times(smallest=True)[1]
    assert {c.NominalInterval for c in read(plain, SHORT_AXIS)} == {round(value) for value in cycle}
    for content in read(plain, SHORT_AXIS):
        assert content.HeartRate == pytest.approx(60_000.0 / content.NominalInterval, abs=0.6)
        assert content.PatientSex in ("M", "F")
        assert (float(content.PatientSize), float(content.PatientWeight)) == (person.height_cm / 100, person.weight_kg)


@pytest.mark.parametrize("kind", CINE)
def test_other_series_lie_beside_the_short_axis(write: WritePhantom, kind: str) -> None:
    contents = read(write(**CINE[kind]))
    series = {number: [c for c in contents if c.SeriesNumber == number] for number in (1, 3, 4)}
    labels, affine = dicom_phantom_truth(smallest=True)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    heart = affine[:3, :3] @ np.argwhere(labels[0] == 3).mean(0) + affine[:3, 3]
    localiser = frames_of(series[1])
    normals = [np.cross(f["orientation"][:3], f["orientation"][3:]) for f in localiser]
    np.testing.assert_allclose(sorted(np.abs(normals).tolist()), np.eye(3)[::-1], atol=1e-9)
    assert all(np.isnan(frame["time"]) for frame in localiser)
    for number in (3, 4):
        frames = sorted(frames_of(series[number]), key=lambda frame: frame["time"])
        assert len(frames) == len(labels)
        normal = np.cross(frames[0]["orientation"][:3], frames[0]["orientation"][3:])
        assert abs(normal @ (heart - frames[0]["position"])) < 6.0  # the plane holds the left ventricle
        assert abs(normal @ affine[:3, 2]) < 0.2 * np.linalg.norm(affine[:3, 2])
        assert (frames[0]["pixels"] != frames[3]["pixels"]).any()
        assert frames[0]["pixels"].max() > 100


def test_objects_are_what_their_files_say(plain: Path) -> None:
    contents = read(plain)
    assert len({c.SOPInstanceUID for c in contents}) == len(contents) == 8 * 5 + 2 * 8 + 3 + 1
    assert len({c.StudyInstanceUID for c in contents}) == 1
    assert len({c.SeriesInstanceUID for c in contents}) == len({c.SeriesNumber for c in contents}) == 5
    for content in contents:
        assert content.file_meta.MediaStorageSOPInstanceUID == content.SOPInstanceUID
        assert content.file_meta.MediaStorageSOPClassUID == content.SOPClassUID
        for uid in (content.SOPInstanceUID, content.StudyInstanceUID, content.SeriesInstanceUID):
            assert uid.is_valid
            assert uid.startswith("2.25.")
            assert int(uid[5:]) < 2**128


def test_what_identifies_the_patient_is_in_every_object_but_not_in_a_path(plain: Path) -> None:
    for path in files_of(plain):
        content = path.read_bytes().decode("latin-1")
        assert all(planted in content for planted in PLANTED)
        assert not any(planted in str(path.relative_to(plain)) for planted in PLANTED)
    folders = {path.parent for path in files_of(plain)}
    assert len(folders) == 3
    assert all(len({pydicom.dcmread(p).SeriesNumber for p in folder.iterdir()}) > 1 for folder in folders)


# Faults

FaultTest = Callable[[Path], None]
FAULT_TESTS: dict[str, FaultTest] = {}


def really(fault: str) -> Callable[[FaultTest], FaultTest]:
    """The decorated function looks for ``fault`` in a classic study's folder."""

    def register(test: FaultTest) -> FaultTest:
        FAULT_TESTS[fault] = test
        return test

    return register


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_in_the_files(write: WritePhantom, fault: str) -> None:
    FAULT_TESTS[fault](write(fault=fault))


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_can_be_had_in_multi_frame_objects_too(write: WritePhantom, fault: str) -> None:
    assert digests(write(enhanced=True)) != digests(write(enhanced=True, fault=fault))


@really("no_short_axis")
def _(folder: Path) -> None:
    assert {c.SeriesNumber for c in read(folder)} == {1, 3, 4, 99}


@really("two_short_axis")
def _(folder: Path) -> None:
    first, second = read(folder, SHORT_AXIS), read(folder, SHORT_AXIS + 10)
    assert len(first) == len(second) == 40
    assert len({c.SeriesInstanceUID for c in first + second}) == 2
    assert len({c.SOPInstanceUID for c in first + second}) == 80
    assert len({(c.PatientID, c.StudyInstanceUID) for c in first + second}) == 1


@really("missing_slice_in_one_phase")
def _(folder: Path) -> None:
    grid = sorted_grid(frames_of(read(folder, SHORT_AXIS)))
    assert [len(stack) for stack in grid] == [8, 8, 7, 8, 8]
    missing = dicom_phantom_times(smallest=True)[0][2, 2]
    assert missing not in [frame["time"] for frame in grid[2]]


@really("duplicated_instance")
def _(folder: Path) -> None:
    counts = Counter(c.SOPInstanceUID for c in read(folder, SHORT_AXIS))
    assert sorted(counts.values()) == [1] * 39 + [2]


@really("mixed_patients")
def _(folder: Path) -> None:
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID"):
        assert len({str(c[keyword].value) for c in read(folder, SHORT_AXIS)}) == 2
    assert len(read(folder, SHORT_AXIS)) == 80


@really("mixed_orientations")
def _(folder: Path) -> None:
    contents = read(folder, SHORT_AXIS)
    counts = Counter(tuple(map(float, c.ImageOrientationPatient)) for c in contents)
    assert sorted(counts.values()) == [8, 32]
    first, second = (np.cross(turn[:3], turn[3:]) for turn in counts)
    assert np.degrees(np.arccos(first @ second)) == pytest.approx(20.0)
    assert len({c.SeriesInstanceUID for c in contents}) == 1


@really("truncated_file")
def _(folder: Path) -> None:
    broken = 0
    for content in read(folder):
        wanted = content.Rows * content.Columns * content.SamplesPerPixel * content.BitsAllocated // 8
        if len(content.PixelData) < wanted:
            assert 0.3 < len(content.PixelData) / wanted < 0.7
            assert content.SeriesNumber == SHORT_AXIS
            broken += 1
    assert broken == 1


@really("not_dicom_file")
def _(folder: Path) -> None:
    others = []
    for path in files_of(folder):
        try:
            pydicom.dcmread(path)
        except (InvalidDicomError, EOFError):
            others.append(path.name)
    assert sorted(others) == ["PREVIEW", "README.TXT", "VERSION"]
    assert len(files_of(folder)) == 60 + 3


@really("burnt_in_capture")
def _(folder: Path) -> None:
    for content in read(folder, SHORT_AXIS):
        assert content.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
        assert (content.BurnedInAnnotation, content.PhotometricInterpretation) == ("YES", "RGB")
        assert "ImagePositionPatient" not in content
    assert len(read(folder, SHORT_AXIS)) == 40


@really("zero_spacing")
def _(folder: Path) -> None:
    assert {tuple(c.PixelSpacing) for c in read(folder, SHORT_AXIS)} == {(0.0, 0.0)}
    assert all(min(c.PixelSpacing) > 0 for c in read(folder) if c.SeriesNumber in (1, 3, 4))


@really("single_phase")
def _(folder: Path) -> None:
    assert [len(stack) for stack in sorted_grid(frames_of(read(folder, SHORT_AXIS)))] == [1] * 5


@really("three_slices")
def _(folder: Path) -> None:
    grid = sorted_grid(frames_of(read(folder, SHORT_AXIS)))
    assert [len(stack) for stack in grid] == [8] * 3
    images = dicom_phantom_images(smallest=True)[:, :, :, 1:4]
    np.testing.assert_array_equal([stack[0]["pixels"].T for stack in grid], np.moveaxis(images[0], 2, 0))


@really("unknown_transfer_syntax")
def _(folder: Path) -> None:
    contents = read(folder, SHORT_AXIS)
    assert {c.file_meta.TransferSyntaxUID for c in contents} == {UNKNOWN_TRANSFER_SYNTAX}
    with pytest.raises((NotImplementedError, RuntimeError), match=r"(?i)transfer syntax"):
        contents[0].pixel_array  # noqa: B018


@really("nasty_names")
def _(folder: Path) -> None:
    assert {path.parent.name for path in files_of(folder)} == set(NASTY_FOLDERS)
    assert all(path.name.startswith("..") and " " in path.name for path in files_of(folder))
    contents = read(folder)
    assert {(str(c.PatientName), c.PatientID) for c in contents} == {(NASTY_NAME, NASTY_ID)}
    assert len(sorted_grid(frames_of([c for c in contents if c.SeriesNumber == SHORT_AXIS]))) == 5


@really("sunnybrook_quirks")
def _(folder: Path) -> None:
    contents = read(folder, SHORT_AXIS)
    assert len({c.FrameOfReferenceUID for c in contents}) == len(contents) == 40
    assert len({c.SeriesInstanceUID for c in contents}) == 1
    assert not any(c[word].value.is_valid for c in contents for word in ("SOPInstanceUID", "FrameOfReferenceUID"))
    assert {(c.SeriesDescription, c.PatientBirthDate, c.StudyDate) for c in contents} == {("", "00000000", "20120000")}
    assert sorted(c.InstanceNumber for c in contents) == list(range(1, 41))
    assert not any(word in c for c in contents for word in ("RescaleSlope", "PatientSize", "PatientWeight"))
    turns = np.array([c.ImageOrientationPatient for c in contents], float)
    assert 1e-7 < np.ptp(turns, axis=0).max() < 3e-6
    np.testing.assert_allclose(
        affine_of(sorted_grid(frames_of(contents))), dicom_phantom_truth(smallest=True)[1], atol=1e-4
    )


def test_survivable_faults_are_faults() -> None:
    assert set(SURVIVABLE) < set(FAULTS) == set(FAULT_TESTS)


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fault": "no_heart"}, "Expected fault to be one of None, no_short_axis"),
        ({"transfer_syntax": "mpeg"}, "Expected transfer_syntax to be one of explicit"),
        ({"enhanced": "per_phase"}, "Expected enhanced to be one of False"),
        ({"patient": 0}, "numbered from 1"),
    ],
)
def test_unusable_arguments_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_dicom_phantom(tmp_path / "study", smallest=True, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    with pytest.raises(PhantomExistsError, match="Choose another folder"):
        write_dicom_phantom(tmp_path, smallest=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_nothing_is_left_of_a_study_that_could_not_be_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, short_axis: list[str]) -> None:
        assert files_of(folder)
        raise OSError("disk full")

    monkeypatch.setitem(dicom_phantom.FILE_FAULTS, "truncated_file", full)
    with pytest.raises(OSError, match="disk full"):
        write_dicom_phantom(tmp_path / "study", smallest=True, fault="truncated_file")
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--output_dir", str(tmp_path / "study"), "--smallest"])
    assert digests(tmp_path / "study") == digests(plain)
    assert capsys.readouterr().out.strip() == str(tmp_path / "study")
    main(["--output_dir", str(tmp_path / "multi"), "--smallest", "--enhanced", "--transverse", "--regular_times"])
    assert len(files_of(tmp_path / "multi")) == 5
    with pytest.raises(SystemExit):
        main(["--output_dir", str(tmp_path / "study"), "--smallest"])
    assert "holds something already" in capsys.readouterr().err
