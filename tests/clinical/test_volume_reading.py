"""4-D NIfTI and patients of ACDC."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.clinical.study import read_study
from scripts.data.phantom import write_phantom
from scripts.errors import InputError

AFFINE = np.array([[0, -1.5, 0.2, 7], [2, 0, 0, -9], [0, 0.1, 8, 30], [0, 0, 0, 1]], dtype=float)


def write(
    path: Path, shape=(6, 5, 7, 10), affine=AFFINE, step=40.0, units="msec", fill=None
) -> tuple[Path, np.ndarray]:
    voxels = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16 if fill is None else np.float32)
    if fill is not None:
        voxels.flat[3] = fill
    image = nib.Nifti1Image(voxels, None)
    image.header.set_sform(affine, code=1)
    if len(shape) == 4:
        image.header["pixdim"][4] = step
        image.header.set_xyzt_units("mm", units)
    nib.save(image, path)
    return path, voxels


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients of the phantom with their cines."""
    return write_phantom(tmp_path_factory.mktemp("acdc") / "data", patients=2, cine=True, smallest=True) / "training"


@pytest.fixture
def patient(patients: Path, tmp_path: Path) -> Path:
    """A copy of one, to change."""
    return Path(shutil.copytree(patients / "patient001", tmp_path / "patient001"))


@pytest.mark.parametrize("name", ["cine.nii", "cine.nii.gz", "Herz Ä ..nii.gz"])
def test_nifti(tmp_path, name):
    path, voxels = write(tmp_path / name)
    study = read_study(path)
    np.testing.assert_array_equal(study.images, voxels.transpose(3, 0, 1, 2))
    np.testing.assert_allclose(study.affine, AFFINE, atol=1e-6)
    assert study.spacing == pytest.approx(nib.affines.voxel_sizes(AFFINE), rel=0.01)
    assert study.images.dtype == np.float32
    assert (study.source, study.instances, study.given_phases, study.phi) == ("NIfTI", None, {}, {})


@pytest.mark.parametrize(
    ("step", "units", "expected"),
    [
        (40.0, "msec", 40.0),
        (0.04, "sec", 40.0),
        (40000.0, "usec", 40.0),
        (0.04, None, 40.0),
        (40.0, None, 40.0),
        (1.0, "sec", None),  # what software writes that does not know
        (0.0, "sec", None),
        (-0.04, "sec", None),
    ],
)
def test_times_from_pixdim(tmp_path, step, units, expected):
    times = read_study(write(tmp_path / "cine.nii", step=step, units=units)[0]).times_ms
    if expected is None:
        assert times is None
    else:
        np.testing.assert_allclose(times, np.repeat(expected * np.arange(10)[:, None], 7, axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (6, 5, 7)}, "is 3-D, expected a 4-D"),
        ({"shape": (6, 5, 7, 1)}, "has 7 slice.s. x 1 phase"),
        ({"shape": (6, 5, 3, 10)}, "has 3 slice.s. x 10 phase"),
        ({"affine": np.diag([1.5, 1.5, 0.0, 1.0])}, "no usable voxel size"),
        ({"fill": np.nan}, "NaN or infinite"),
    ],
)
def test_unusable_nifti(tmp_path, options, words):
    path, _ = write(tmp_path / "cine.nii", **options)
    with pytest.raises(InputError, match=words):
        read_study(path)


def test_truncated_nifti(tmp_path):
    path, _ = write(tmp_path / "cine.nii.gz")
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(InputError, match="cannot be read"):
        read_study(path)


def test_series_number_is_for_dicom(tmp_path, patients):
    for path in (write(tmp_path / "cine.nii")[0], patients / "patient001"):
        with pytest.raises(InputError, match="not DICOM and has no series"):
            read_study(path, series_number=5)


def test_acdc_with_cine(patients):
    study = read_study(patients / "patient002")
    cine = nib.load(patients / "patient002" / "patient002_4d.nii.gz")
    np.testing.assert_array_equal(study.images, np.asarray(cine.dataobj).transpose(3, 0, 1, 2))
    info = dict(line.split(": ") for line in (patients / "patient002" / "Info.cfg").read_text().splitlines())
    assert study.given_phases == {"ED": int(info["ED"]) - 1, "ES": int(info["ES"]) - 1}
    assert study.body.height_m == pytest.approx(float(info["Height"]) / 100)
    assert (study.body.weight_kg, study.body.sex, study.source) == (float(info["Weight"]), None, "ACDC")
    for name, phase in study.given_phases.items():
        frame = nib.load(patients / "patient002" / f"patient002_frame{int(info[name]):02d}.nii.gz")
        np.testing.assert_array_equal(study.images[phase], frame.get_fdata())


def test_acdc_without_cine_is_two_phases(patient):
    (patient / "patient001_4d.nii.gz").unlink()
    study = read_study(patient)
    frames = sorted(path for path in patient.glob("*frame??.nii.gz"))
    np.testing.assert_array_equal(study.images, [nib.load(path).get_fdata() for path in frames])
    assert (study.given_phases, study.times_ms, study.repairs) == ({"ED": 0, "ES": 1}, None, ())


@pytest.mark.parametrize("cine", [True, False])
def test_acdc_with_a_placeholder_for_es(patient, cine):
    """As in data sets from which the cine was taken away: the file names tell."""
    expected = read_study(patient).given_phases if cine else {"ED": 0, "ES": 1}
    info = patient / "Info.cfg"
    info.write_text(
        "".join("ES: 2\n" if line.startswith("ES") else f"{line}\n" for line in info.read_text().splitlines())
    )
    if not cine:
        (patient / "patient001_4d.nii.gz").unlink()
    study = read_study(patient)
    assert study.given_phases == expected
    assert any("ES of Info.cfg" in repair for repair in study.repairs)


def test_acdc_with_the_cine_alone(patient):
    expected = read_study(patient).given_phases
    for path in patient.glob("*frame*"):
        path.unlink()
    assert read_study(patient).given_phases == expected
    (patient / "Info.cfg").write_text("ED: 1\nES: 99\n")
    study = read_study(patient)
    assert study.given_phases == {"ED": 0}
    assert study.repairs == ("ES lies outside the cine: not used",)


def test_acdc_of_one_frame(patient):
    for path in (patient / "patient001_4d.nii.gz", *sorted(patient.glob("*frame*"))[2:]):
        path.unlink()
    with pytest.raises(InputError, match=r"neither a cine .* found 1 frame"):
        read_study(patient)


def test_acdc_frames_of_two_grids(patient):
    (patient / "patient001_4d.nii.gz").unlink()
    last = sorted(patient.glob("*frame??.nii.gz"))[-1]
    image = nib.load(last)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:-1], image.affine), last)
    with pytest.raises(InputError, match="do not lie on one grid"):
        read_study(patient)


@pytest.mark.parametrize("name", ["training/patient009", "validation/patient002"])
def test_real_acdc(real_data, name):
    folder = real_data / "acdc" / name
    study = read_study(folder)
    ed, es = sorted(int(path.name[-9:-7]) for path in folder.glob("*frame??.nii.gz"))
    for phase, frame in ((0, ed), (1, es)):
        expected = nib.load(folder / f"{folder.name}_frame{frame:02d}.nii.gz").get_fdata()
        np.testing.assert_array_equal(study.images[phase], expected.astype(np.float32))
    assert study.given_phases == {"ED": 0, "ES": 1}
