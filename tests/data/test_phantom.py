"""The synthetic cine data: reproducible bytes, volumes that agree with the geometry, plausible hearts."""

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_fill_holes
from scipy.ndimage import label as connected_components

from scripts.data.groups import GROUPS
from scripts.data.heart import HeartShape, contraction
from scripts.data.phantom import PhantomPatient, main, write_phantom
from scripts.data.tissues import Tissue, bssfp_signal

Rendered = dict[tuple[str, str], tuple[PhantomPatient, int, np.ndarray, np.ndarray]]
CLASSES = {"rv": 1, "myocardium": 2, "lv": 3}
# Relative error of counting voxels. A cavity's outline is known to a fraction of a pixel, its valve plane to
# 2.5 % of a slice; the right ventricle has the largest valve plane for its volume. Seen over 100 patients: at
# most 3.0 % (rv), 1.7 % (myocardium) and 2.6 % (lv).
TOLERANCE = {"rv": 0.04, "myocardium": 0.03, "lv": 0.03}


def digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    """One full-size patient of each group at ED and ES: patient, frame, image, label."""
    patients = [PhantomPatient.from_seed(7, number) for number in range(1, 6)]
    return {
        (patient.group, phase): (patient, frame, *patient.render(frame))
        for patient in patients
        for phase, frame in (("ED", patient.ed), ("ES", patient.es))
    }


every_frame = pytest.mark.parametrize("phase", ["ED", "ES"])
every_group = pytest.mark.parametrize("group", GROUPS)


# Files


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    first = write_phantom(tmp_path / "first", patients=2, seed=3, cine=True, smallest=True)
    second = write_phantom(tmp_path / "second", patients=2, seed=3, cine=True, smallest=True)
    assert digests(first) == digests(second)
    assert len(digests(first)) == 1 + 2 * (1 + 4 + 1)


def test_another_seed_writes_other_bytes(tmp_path: Path) -> None:
    first = digests(write_phantom(tmp_path / "first", patients=1, seed=3, smallest=True))
    second = digests(write_phantom(tmp_path / "second", patients=1, seed=4, smallest=True))
    shared = set(first) & set(second) - {"phantom.json"}
    assert shared
    assert all(first[name] != second[name] for name in shared)


def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = digests(write_phantom(tmp_path / "few", patients=1, smallest=True))
    many = digests(write_phantom(tmp_path / "many", patients=3, smallest=True))
    few.pop("phantom.json")
    assert few.items() <= many.items()


def test_layout_and_headers_are_those_of_acdc(tmp_path: Path) -> None:
    root = write_phantom(tmp_path / "phantom", patients=2, seed=1, cine=True, smallest=True)
    patient = PhantomPatient.from_seed(1, 2, smallest=True)
    folder = root / "training" / "patient002"
    info = dict(line.split(": ") for line in (folder / "Info.cfg").read_text(encoding="utf-8").splitlines())
    assert list(info) == ["ED", "ES", "Group", "Height", "NbFrame", "Weight"]
    assert info["Group"] == patient.group == "MINF"
    assert (int(info["ED"]), int(info["ES"]), int(info["NbFrame"])) == (1, patient.es, patient.frames)
    assert (float(info["Height"]), float(info["Weight"])) == (patient.height_cm, patient.weight_kg)
    cine = nib.Nifti1Image.from_filename(folder / "patient002_4d.nii.gz")
    assert cine.shape == (*patient.matrix, patient.frames)
    for frame in (patient.ed, patient.es):
        image = nib.Nifti1Image.from_filename(folder / f"patient002_frame{frame:02d}.nii.gz")
        truth = nib.Nifti1Image.from_filename(folder / f"patient002_frame{frame:02d}_gt.nii.gz")
        sx, sy, sz = patient.spacing
        for volume in (image, truth):
            assert volume.shape == patient.matrix
            np.testing.assert_allclose(volume.header.get_zooms(), np.array(patient.spacing), rtol=1e-6)
            np.testing.assert_allclose(volume.affine, np.diag([-sx, -sy, sz, 1.0]), rtol=1e-6)
        packed = (folder / f"patient002_frame{frame:02d}.nii.gz").read_bytes()
        assert packed[3:8] == bytes(5)  # no flags, hence no name, and time 0
        assert (image.get_data_dtype(), truth.get_data_dtype()) == (np.int16, np.uint8)
        np.testing.assert_array_equal(np.asarray(cine.dataobj)[..., frame - 1], np.asarray(image.dataobj))


def test_a_finished_phantom_is_left_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "phantom"
    directory.mkdir()  # empty, hence free
    write_phantom(directory, patients=1, smallest=True)
    marker = directory / "training" / "patient001" / "Info.cfg"
    marker.write_text("touched\n")
    assert write_phantom(directory, patients=1, smallest=True) == directory
    assert marker.read_text(encoding="utf-8") == "touched\n"
    assert [path.name for path in tmp_path.iterdir()] == ["phantom"]


@pytest.mark.parametrize("content", [{"notes.txt": "mine"}, {"phantom.json": "{"}, {"phantom.json": "{}"}])
def test_a_foreign_directory_is_refused_and_untouched(tmp_path: Path, content: dict[str, str]) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    for name, text in content.items():
        (directory / name).write_text(text)
    with pytest.raises(FileExistsError, match="Choose another directory"):
        write_phantom(directory, patients=1, smallest=True)
    assert {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()} == content


def test_a_phantom_of_other_parameters_is_refused(tmp_path: Path) -> None:
    write_phantom(tmp_path / "phantom", patients=1, smallest=True)
    with pytest.raises(FileExistsError, match='"seed": 5'):
        write_phantom(tmp_path / "phantom", patients=1, seed=5, smallest=True)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: PhantomPatient, frame: int) -> None:
        raise RuntimeError("no space")

    monkeypatch.setattr(PhantomPatient, "render", fail)
    with pytest.raises(RuntimeError, match="no space"):
        write_phantom(tmp_path / "phantom", patients=1, smallest=True)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "deep" / "phantom"
    main(["--output_dir", str(directory), "--patients", "1", "--seed", "2"])
    assert capsys.readouterr().out.strip() == str(directory)
    record = json.loads((directory / "phantom.json").read_text(encoding="utf-8"))
    assert (record["patients"], record["seed"], record["cine"], record["smallest"]) == (1, 2, False, False)
    assert len(list(directory.glob("training/patient001/*.nii.gz"))) == 4
    with pytest.raises(SystemExit):
        main(["--output_dir", str(directory), "--patients", "0"])
    with pytest.raises(SystemExit):
        main(["--output_dir", str(directory), "--seed", "3"])


# Geometry


def test_volume_of_a_plain_heart_is_that_of_truncated_ellipsoids() -> None:
    """Widest at 20 % of the length, cut at 0: pi r^2 L (1 - (0.8^3 + 0.2^3) / (3 * 0.8^2))."""
    shape = HeartShape(
        lv_base=0.0, endo_apex=80.0, epi_apex=90.0, endo_radius=25.0, epi_radius=33.0,
        rv_base=0.0, rv_apex=75.0, rv_width=25.0, rv_span=1.4,
    )  # fmt: skip
    factor = np.pi * (1.0 - (0.8**3 + 0.2**3) / (3.0 * 0.8**2)) / 1000.0
    volumes = shape.volumes_ml()
    assert volumes["lv"] == pytest.approx(factor * 25.0**2 * 80.0, rel=1e-3)
    assert volumes["lv"] + volumes["myocardium"] == pytest.approx(factor * 33.0**2 * 90.0, rel=1e-3)
    finer = shape.volumes_ml(angles=1500, planes=1500)
    assert volumes == pytest.approx(finer, rel=2e-3)


@every_group
@every_frame
def test_counting_voxels_finds_the_analytic_volumes(rendered: Rendered, group: str, phase: str) -> None:
    patient, frame, _, label = rendered[group, phase]
    voxel_ml = np.prod(patient.spacing) / 1000.0
    for name, expected in patient.analytic_volumes_ml(frame).items():
        counted = np.count_nonzero(label == CLASSES[name]) * voxel_ml
        assert counted == pytest.approx(expected, rel=TOLERANCE[name]), name


@every_group
def test_volumes_and_ejection_fractions_are_those_of_the_group(group: str) -> None:
    for number in range(1, 7):
        patient = PhantomPatient.from_seed(11, number, group=group)
        full, empty = (patient.analytic_volumes_ml(frame) for frame in (patient.ed, patient.es))
        lv_ejection, rv_ejection = 1.0 - empty["lv"] / full["lv"], 1.0 - empty["rv"] / full["rv"]
        assert empty["myocardium"] == pytest.approx(full["myocardium"], rel=0.01)  # incompressible
        assert (lv_ejection < 0.40) == (group in ("MINF", "DCM"))
        assert (lv_ejection > 0.55) or group not in ("NOR", "HCM")
        assert (rv_ejection < 0.45) == (group in ("RV", "DCM"))
        assert (full["lv"] > 185.0) or group != "DCM"
        assert (full["rv"] > 1.5 * full["lv"]) == (group == "RV")
        assert (full["myocardium"] > full["lv"]) == (group == "HCM")


def test_the_cycle_is_smooth_from_end_diastole_to_end_systole_and_back() -> None:
    patient = PhantomPatient.from_seed(0, 1)
    volumes = np.array([patient.analytic_volumes_ml(f)["lv"] for f in range(1, patient.frames + 1)])
    assert np.argmax(volumes) + 1 == patient.ed == 1
    assert np.argmin(volumes) + 1 == patient.es
    assert 10 <= patient.es <= 13 <= 25 <= patient.frames <= 30
    assert np.abs(np.diff(np.append(volumes, volumes[0]))).max() < 0.25 * np.ptp(volumes)
    assert contraction(0.0, 0.4) == 0.0
    assert contraction(0.4, 0.4) == pytest.approx(1.0)
    assert contraction(1.0 - 1e-9, 0.4) == pytest.approx(0.0, abs=1e-6)


def test_an_infarct_stands_still_while_the_opposite_wall_moves() -> None:
    patient = PhantomPatient.from_seed(0, 2)
    angle = patient.diastole.infarct_angle + np.array([0.0, np.pi])
    level = 0.45 * patient.diastole.endo_apex
    motion = patient.diastole.boundaries(angle, level)[0] - patient.systole.boundaries(angle, level)[0]
    assert abs(motion[0]) < 0.25 * motion[1]


@every_group
@every_frame
def test_myocardium_surrounds_the_left_cavity(rendered: Rendered, group: str, phase: str) -> None:
    _, _, _, label = rendered[group, phase]
    with_cavity = np.flatnonzero((label == 3).any((0, 1)))
    middle = with_cavity[len(with_cavity) // 3 : -(len(with_cavity) // 4)]
    assert middle.size >= 2
    for index in middle:
        plane = label[:, :, index]
        filled = binary_fill_holes(plane == 2)
        np.testing.assert_array_equal(filled & (plane != 2), plane == 3)
        around = binary_dilation(plane == 3) & (plane != 3)
        assert np.unique(plane[around]).tolist() == [2]


@every_group
def test_the_right_cavity_is_one_crescent_on_the_septum(rendered: Rendered, group: str) -> None:
    _, _, _, label = rendered[group, "ED"]
    plane = label[:, :, np.flatnonzero((label == 1).any((0, 1)))[2]]
    assert connected_components(plane == 1)[1] == 1
    rim = binary_dilation(plane == 1) & (plane != 1)
    assert 0.2 < np.mean(plane[rim] == 2) < 0.6
    # Concave: the middle of the chord between its horns lies in the left ventricle's wall or cavity.
    points = np.argwhere(plane == 1)
    away = points - np.argwhere(plane >= 2).mean(0)
    turn = np.cross(np.append(away.mean(0), 0.0), np.c_[away, np.zeros(len(away))])[:, 2]
    turn = turn / np.hypot(*away.T)
    horns = points[[turn.argmin(), turn.argmax()]]
    assert plane[tuple(horns.mean(0).round().astype(int))] != 0


def test_base_descends_and_apex_closes(rendered: Rendered) -> None:
    for group in GROUPS:
        diastole, systole = rendered[group, "ED"][3], rendered[group, "ES"][3]
        first = [np.flatnonzero((label == 3).any((0, 1)))[0] for label in (diastole, systole)]
        assert first[1] >= first[0]
        areas = [np.count_nonzero(diastole[:, :, k] == 3) for k in range(first[0], diastole.shape[2])]
        assert areas[-1] < 0.25 * max(areas)


@pytest.mark.parametrize("smallest", [False, True])
def test_hearts_lie_in_the_central_288_mm(smallest: bool) -> None:
    for number in range(1, 6 if smallest else 4):
        patient = PhantomPatient.from_seed(5, number, smallest=smallest)
        label = patient.render(patient.ed)[1]
        at = np.argwhere(label)[:, :2]
        offset = (at - 0.5 * (np.array(patient.matrix[:2]) - 1)) * patient.spacing[0]
        assert np.abs(offset).max() < 144.0
        assert np.abs(offset.mean(0)).max() > 1.0  # not exactly centred
        assert at.min() > 0
        assert (at.max(0) < np.array(patient.matrix[:2]) - 1).all()


def test_acquisitions_vary_within_the_ranges_of_acdc() -> None:
    patients = [PhantomPatient.from_seed(2, number) for number in range(1, 11)]
    for patient in patients:
        assert 1.2 <= patient.spacing[0] == patient.spacing[1] <= 1.9
        assert 5.0 <= patient.spacing[2] <= 10.0
        assert 160 <= min(patient.matrix[:2]) < max(patient.matrix[:2]) <= 256
        assert 6 <= patient.matrix[2] <= 12
    assert len({patient.spacing for patient in patients}) == len(patients)
    assert len({patient.matrix for patient in patients}) > len(patients) // 2
    smallest = PhantomPatient.from_seed(2, 1, smallest=True)
    assert 48 <= min(smallest.matrix[:2]) <= max(smallest.matrix[:2]) <= 64
    assert smallest.matrix[2] == 5


# Image


def test_bssfp_signal_tends_to_its_limit_for_short_repetition_times() -> None:
    """For TR << T2: sin a / (1 + cos a + (1 - cos a) T1 / T2)."""
    angle = np.deg2rad(50.0)
    for t1, t2 in ((1441.0, 290.0), (1030.0, 40.0)):
        limit = np.sin(angle) / (1.0 + np.cos(angle) + (1.0 - np.cos(angle)) * t1 / t2)
        assert bssfp_signal(Tissue(t1, t2, 1.0), 50.0, 0.01) == pytest.approx(limit, rel=1e-3)


@every_group
@every_frame
def test_blood_is_bright_muscle_dark_and_air_darker(rendered: Rendered, group: str, phase: str) -> None:
    patient, _, image, label = rendered[group, phase]
    assert (image.dtype, label.dtype, image.min()) == (np.int16, np.uint8, 0)
    assert image.shape == label.shape == patient.matrix
    assert np.unique(label).tolist() == [0, 1, 2, 3]
    rv, myocardium, lv = (np.median(image[label == value]) for value in (1, 2, 3))
    assert 2.0 < lv / myocardium < 4.5
    assert 0.7 < rv / lv < 1.4
    assert np.percentile(image, 5) < 0.2 * myocardium


def test_papillary_muscles_are_dark_and_belong_to_the_cavity(rendered: Rendered) -> None:
    patient, _, image, label = rendered["DCM", "ED"]
    middle = patient.matrix[2] // 2
    plane, cavity = image[:, :, middle], label[:, :, middle] == 3
    core = ~binary_dilation(~cavity, iterations=2)
    dark = np.mean(plane[core] < 0.6 * np.median(plane[cavity]))
    assert 0.01 < dark < 0.2


def test_noise_differs_between_frames_but_not_between_calls() -> None:
    patient = PhantomPatient.from_seed(0, 1, smallest=True)
    first, second = patient.render(3)[0], patient.render(4)[0]
    air = (slice(0, 6), slice(0, 6))  # nothing moves there
    assert (first[air] != second[air]).any()
    np.testing.assert_array_equal(first, PhantomPatient.from_seed(0, 1, smallest=True).render(3)[0])


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="numbered from 1"):
        PhantomPatient.from_seed(0, 0)
    with pytest.raises(ValueError, match="'ARV'"):
        PhantomPatient.from_seed(0, 1, group="ARV")
    patient = PhantomPatient.from_seed(0, 1, smallest=True)
    for frame in (0, patient.frames + 1):
        with pytest.raises(ValueError, match="Expected a frame"):
            patient.render(frame)
