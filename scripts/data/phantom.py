"""A synthetic short-axis cine data set in the ACDC layout, made from geometry and physics alone.

    python -m scripts.data.phantom --output_dir DIR [--patients 20] [--seed 0] [--cine]

The anatomy is analytic (:mod:`scripts.data.heart`), so the volume of every structure is known without
counting voxels. The image is the balanced steady-state free precession signal of the tissues, averaged over
each voxel, times a smooth receive-coil sensitivity, with Rician noise. The patients are healthy or ill in the
five ways of ACDC, NOR, MINF, DCM, HCM and RV (Bernard et al., IEEE Transactions on Medical Imaging 37:2514,
2018).
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scripts.data.acdc import PHANTOM_RECORD
from scripts.data.heart import RANGES, FloatArray, HeartShape, Part, Thorax, contraction, draw_heart

VERSION = 2  # raise when the same parameters give other bytes
GROUPS = tuple(RANGES)
_FINE = 3  # points in each direction of a heart voxel

# Structures of the ACDC label by part; papillary muscles and trabeculae belong to their cavity.
_LABELS = {
    Part.RV_BLOOD: 1,
    Part.RV_TRABECULA: 1,
    Part.LV_WALL: 2,
    Part.LV_BLOOD: 3,
    Part.PAPILLARY: 3,
}


@dataclass(frozen=True)
class Tissue:
    """Relaxation times in ms at 1.5 T and proton density relative to water."""

    t1: float
    t2: float
    proton_density: float


# T1 and T2 at 1.5 T: blood, heart muscle and skeletal muscle from Stanisz et al., Magnetic Resonance in
# Medicine 54:507 (2005); liver, spleen, fat and marrow from de Bazelaire et al., Radiology 230:652 (2004).
# Lung and fluid (liquor, bile) are round values. Proton densities are approximate water or lipid contents;
# the lung is mostly air, and the liver is lowered for the magnetisation transfer the signal equation omits.
_BLOOD = Tissue(1441.0, 290.0, 0.85)
_HEART_MUSCLE = Tissue(1030.0, 40.0, 0.80)
_TISSUES = {
    Part.OUTSIDE: Tissue(1000.0, 50.0, 0.0),
    Part.FAT: Tissue(343.0, 58.0, 0.95),
    Part.MUSCLE: Tissue(1008.0, 44.0, 0.75),
    Part.MARROW: Tissue(549.0, 49.0, 0.60),
    Part.LUNG: Tissue(1200.0, 40.0, 0.15),
    Part.LIVER: Tissue(586.0, 46.0, 0.60),
    Part.SPLEEN: Tissue(1057.0, 79.0, 0.80),
    Part.FLUID: Tissue(3000.0, 900.0, 0.95),
    Part.VESSEL: _BLOOD,
    Part.RV_BLOOD: _BLOOD,
    Part.RV_TRABECULA: _HEART_MUSCLE,
    Part.THIN_WALL: _HEART_MUSCLE,
    Part.LV_WALL: _HEART_MUSCLE,
    Part.LV_BLOOD: _BLOOD,
    Part.PAPILLARY: _HEART_MUSCLE,
}
_LABEL_OF = np.array([_LABELS.get(part, 0) for part in Part], np.uint8)


def bssfp_signal(tissue: Tissue, flip_angle: float, repetition_time: float = 3.0) -> float:
    """Steady-state signal of on-resonant balanced SSFP with echo time = repetition time / 2.

    Bernstein, King and Zhou, Handbook of MRI Pulse Sequences (2004), section 14.1. ``flip_angle`` in degrees,
    ``repetition_time`` in ms; the result is relative to the magnetisation of water.
    """
    e1, e2 = np.exp(-repetition_time / tissue.t1), np.exp(-repetition_time / tissue.t2)
    angle = np.deg2rad(flip_angle)
    steady = np.sin(angle) * (1.0 - e1) / (1.0 - (e1 - e2) * np.cos(angle) - e1 * e2)
    return float(tissue.proton_density * steady * np.sqrt(e2))


@dataclass(frozen=True)
class PhantomPatient:
    """One synthetic patient: everything but the pixels.

    Lengths in mm, angles in rad, frames counted from 1. ``first_slice`` is the z of slice 0 in the heart
    frame; ``centre`` is where the axis of the left ventricle lies half-way along the heart, from the image's
    centre; ``blood_level`` and ``noise`` are brightness and standard deviation in units of the image.
    """

    seed: int
    number: int
    group: str
    height_cm: float
    weight_kg: float
    frames: int
    ed: int
    es: int
    spacing: tuple[float, float, float]
    matrix: tuple[int, int, int]
    slice_thickness: float
    first_slice: float
    diastole: HeartShape
    systole: HeartShape
    thorax: Thorax
    centre: tuple[float, float]
    axis_slope: tuple[float, float]
    body_angle: float
    rv_angle: float
    flip_angle: float
    blood_level: float
    noise: float

    @classmethod
    def from_seed(
        cls,
        seed: int,
        number: int,
        group: str | None = None,
        smallest: bool = False,
    ) -> PhantomPatient:
        """Draw patient ``number`` (from 1); how many others there are has no influence.

        Without ``group`` the groups take turns. ``smallest`` gives 48 to 64 pixels of about 5 mm and 5 thick
        slices. Raises ValueError for a number below 1 or an unknown group.
        """
        if number < 1:
            raise ValueError(f"Patients are numbered from 1, got {number}.")
        group = GROUPS[(number - 1) % len(GROUPS)] if group is None else group
        if group not in RANGES:
            raise ValueError(f"Expected a group of {', '.join(GROUPS)}, got {group!r}.")
        rng = np.random.default_rng([seed, number])
        height = float(np.clip(rng.normal(171.0, 8.0), 150.0, 195.0).round())
        weight = float((np.clip(rng.normal(25.5, 3.5), 18.5, 36.0) * (height / 100.0) ** 2).round())
        surface = (height * weight / 3600.0) ** 0.5  # Mosteller 1987, m2
        slices = 5 if smallest else None
        diastole, systole, stack = draw_heart(rng, RANGES[group], surface / 1.9, slices, group == "MINF")
        landscape = bool(rng.random() < 0.2)
        in_plane, size = _draw_plane(rng, landscape, smallest)
        frames = int(rng.integers(25, 31))
        blood_level = float(rng.uniform(100.0, 300.0))
        return cls(
            seed=seed,
            number=number,
            group=group,
            height_cm=height,
            weight_kg=weight,
            frames=frames,
            ed=1,
            es=int(rng.integers(10, 14)),
            spacing=(in_plane, in_plane, stack.spacing),
            matrix=(*size, stack.slices),
            slice_thickness=stack.spacing if smallest else min(stack.spacing, 8.0),
            first_slice=stack.first,
            diastole=diastole,
            systole=systole,
            thorax=Thorax.draw(rng, diastole, fat=max(6.0, 1.6 * weight / (height / 100.0) ** 2 - 26.0)),
            centre=(float(rng.uniform(-12.0, 22.0)), float(rng.uniform(-22.0, 14.0))),
            axis_slope=(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.12, 0.12))),
            body_angle=float(rng.normal(0.0, 0.08)) + (1.25 if landscape else 0.0),
            rv_angle=float(np.clip(rng.normal(2.8, 0.25), 2.3, 3.3)),
            flip_angle=float(rng.uniform(45.0, 60.0)),
            blood_level=blood_level,
            noise=blood_level / float(rng.uniform(40.0, 80.0)),
        )

    def shape(self, frame: int) -> HeartShape:
        """The heart at ``frame`` in [1, frames]; raises ValueError outside."""
        if not 1 <= frame <= self.frames:
            raise ValueError(f"Expected a frame from 1 to {self.frames}, got {frame}.")
        phase, end_systole = (frame - self.ed) / self.frames, (self.es - self.ed) / self.frames
        return self.diastole.between(self.systole, contraction(phase, end_systole))

    def analytic_volumes_ml(self, frame: int) -> dict[str, float]:
        """Volumes in mL of 'rv', 'myocardium' and 'lv' at ``frame``, from the geometry, not from voxels."""
        return self.shape(frame).volumes_ml()

    def render(self, frame: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Image and label of ``frame`` in [1, frames], each (x, y, z) on ``matrix``.

        The image is int16 with minimum 0. The label holds 0 background, 1 RV cavity, 2 LV myocardium, 3 LV
        cavity: what fills most of the voxel.
        """
        shape = self.shape(frame)
        signal = self._surroundings.copy()
        label = np.zeros(self.matrix, np.uint8)
        rng = np.random.default_rng([self.seed, self.number, frame])
        for index in range(self.matrix[2]):
            self._render_heart(shape, index, rng, signal, label)
        signal *= self._shading
        signal = gaussian_filter(signal, (0.55, 0.55, 0.0))  # the point spread of a zero-filled acquisition
        noise = rng.standard_normal((2, *self.matrix), np.float32) * self.noise
        image = np.rint(np.hypot(signal + noise[0], noise[1])).astype(np.int16)
        return image - image.min(), label

    @cached_property
    def _signals(self) -> NDArray[np.float32]:
        """Brightness of each :class:`Part`, with blood at ``blood_level``."""
        relative = np.array([bssfp_signal(_TISSUES[part], self.flip_angle) for part in Part])
        return (relative * (self.blood_level / relative[Part.LV_BLOOD])).astype(np.float32)

    def _axis(self, z: float) -> tuple[float, float]:
        """Where the axis of the left ventricle meets the plane ``z``, in mm from the image's centre."""
        along = z - 0.5 * self.diastole.epi_apex
        return self.centre[0] + self.axis_slope[0] * along, self.centre[1] + self.axis_slope[1] * along

    def _grid(
        self,
        origin: tuple[float, float],
        angle: float,
        fine: int,
        window: tuple[slice, slice] | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Coordinates of ``fine`` x ``fine`` points a pixel, in a frame at ``origin`` turned by ``angle``."""
        axes = []
        for axis in (0, 1):
            chosen = slice(0, self.matrix[axis]) if window is None else window[axis]
            points = chosen.start + (np.arange((chosen.stop - chosen.start) * fine) + 0.5) / fine - 0.5
            axes.append((points - 0.5 * (self.matrix[axis] - 1)) * self.spacing[axis] - origin[axis])
        right, down = axes[0][:, None], axes[1][None, :]
        cos, sin = np.cos(angle), np.sin(angle)
        return right * cos + down * sin, down * cos - right * sin

    def _render_heart(
        self,
        shape: HeartShape,
        index: int,
        rng: np.random.Generator,
        signal: NDArray[np.float32],
        label: NDArray[np.uint8],
    ) -> None:
        """Average the heart over the voxels of slice ``index`` into ``signal``, its majority into ``label``.

        ``rng`` gives the flow that makes the blood uneven.
        """
        z = self.first_slice + index * self.spacing[2]
        origin = self._axis(z)
        reach = shape.epi_radius + shape.rv_width + 14.0
        bounds = []
        for axis in (0, 1):
            at = origin[axis] / self.spacing[axis] + 0.5 * (self.matrix[axis] - 1)
            low, high = at - reach / self.spacing[axis], at + reach / self.spacing[axis]
            bounds.append(slice(max(0, int(low)), min(self.matrix[axis], int(high) + 2)))
        window = (bounds[0], bounds[1])
        planes = z + ((np.arange(_FINE) + 0.5) / _FINE - 0.5) * self.slice_thickness
        grid = np.stack(self._grid(origin, self.body_angle + self.rv_angle, _FINE, window))
        size = (grid.shape[1] // _FINE, grid.shape[2] // _FINE)
        grid = grid.reshape(2, size[0], _FINE, size[1], _FINE).transpose(0, 2, 4, 1, 3)
        x, y = np.ascontiguousarray(grid)  # the points of a voxel come first: fast to sum
        parts = shape.parts(x, y, planes).reshape(-1, *size)
        covered = (parts != Part.OUTSIDE).mean(0, dtype=np.float32)
        inside = self._signals[parts].mean(0)
        classes = _LABEL_OF[parts]
        counts = np.stack([(classes == value).sum(0, dtype=np.uint8) for value in range(4)])
        flow = gaussian_filter(rng.standard_normal(covered.shape, np.float32), 1.3)
        flow *= 0.22 * (inside / self.blood_level) ** 2
        target = signal[(*window, index)]
        target *= 1.0 - covered
        target += inside * (1.0 + flow)
        label[(*window, index)] = counts.argmax(axis=0)

    @cached_property
    def _surroundings(self) -> NDArray[np.float32]:
        """Brightness of everything but the heart, (x, y, z): the same in all frames."""
        planes = self.first_slice + np.arange(self.matrix[2]) * self.spacing[2]
        x, y = self._grid(self.centre, self.body_angle, 2)
        parts = self.thorax.parts(x, y, planes)
        signal = self._signals[parts].reshape(self.matrix[2], self.matrix[0], 2, self.matrix[1], 2)
        return np.ascontiguousarray(np.moveaxis(signal.mean((2, 4)), 0, 2))

    @cached_property
    def _shading(self) -> NDArray[np.float32]:
        """Receive sensitivity (1 at the heart, high near the coils) times the unevenness of the tissues."""
        x, y = self._grid(self.centre, self.body_angle, 1)
        coils = ((-100.0, -50.0), (-95.0, 50.0), (0.0, -135.0), (150.0, 20.0), (60.0, 150.0))
        coil = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2.0 * 85.0**2)) for a, b in coils)
        at_heart = sum(np.exp(-(a**2 + b**2) / (2.0 * 85.0**2)) for a, b in coils)
        rng = np.random.default_rng([self.seed, self.number, 0])
        texture = gaussian_filter(rng.standard_normal(self.matrix, np.float32), (2.5, 2.5, 0.0))
        return (coil / at_heart)[:, :, None].astype(np.float32) * (1.0 + 0.045 * texture / texture.std())


def _draw_plane(rng: np.random.Generator, landscape: bool, smallest: bool) -> tuple[float, tuple[int, int]]:
    """In-plane spacing in mm and matrix size (x, y): portrait unless ``landscape``."""
    long = int(rng.choice([56, 60, 64] if smallest else [224, 240, 256]))
    field_of_view = rng.uniform(290.0, 320.0) if smallest else rng.uniform(330.0, 410.0)
    short = 2 * round(0.5 * long * float(rng.uniform(0.86, 0.92) if smallest else rng.uniform(0.72, 0.88)))
    spacing = round(float(field_of_view) / long, 4)
    return spacing, ((long, short) if landscape else (short, long))


def write_phantom(
    directory: str | Path,
    patients: int = 20,
    seed: int = 0,
    cine: bool = False,
    smallest: bool = False,
) -> Path:
    """Write a data set in the ACDC layout to ``directory`` and return ``directory``.

    ``directory/training/patientXXX`` gets Info.cfg, image and label of the frames ED and ES and, with
    ``cine``, the whole cycle as ``patientXXX_4d.nii.gz``. The same arguments give the same bytes. A directory
    that holds this very phantom is left as it is; a new one appears only when it is complete.

    Raises:
        ValueError: fewer than one patient, or more than the layout's three digits can number.
        FileExistsError: the directory holds something else.
    """
    if not 1 <= patients <= 999:
        raise ValueError(f"Expected 1 to 999 patients, got {patients}.")
    directory = Path(directory)
    parameters = {"patients": patients, "seed": seed, "cine": cine, "smallest": smallest, "version": VERSION}
    if _holds(directory, parameters):
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.partial")
    try:
        for number in range(1, patients + 1):
            patient = PhantomPatient.from_seed(seed, number, smallest=smallest)
            _write_patient(partial / "training" / f"patient{number:03d}", patient, cine)
        (partial / PHANTOM_RECORD).write_text(json.dumps(parameters, indent=2) + "\n")
        if not _holds(directory, parameters):  # somebody else may have been faster
            if directory.exists():
                directory.rmdir()
            partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _holds(directory: Path, parameters: dict[str, int]) -> bool:
    """Whether ``directory`` holds the phantom of ``parameters``; FileExistsError if it holds others."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    record = directory / PHANTOM_RECORD
    if not record.is_file():
        found = "something that is not a phantom (no phantom.json)"
    else:
        found = " ".join(record.read_text().split())
        try:
            if json.loads(found) == parameters:
                return True
        except json.JSONDecodeError:
            pass
    raise FileExistsError(
        f"{directory} holds {found}, but the phantom asked for is {json.dumps(parameters)}. "
        "Choose another directory or remove this one first."
    )


def _write_patient(folder: Path, patient: PhantomPatient, cine: bool) -> None:
    folder.mkdir(parents=True)
    info = {
        "ED": patient.ed,
        "ES": patient.es,
        "Group": patient.group,
        "Height": patient.height_cm,
        "NbFrame": patient.frames,
        "Weight": patient.weight_kg,
    }
    (folder / "Info.cfg").write_text("".join(f"{key}: {value}\n" for key, value in info.items()))
    for frame in (patient.ed, patient.es):
        image, label = patient.render(frame)
        stem = f"{folder.name}_frame{frame:02d}"
        _write_nifti(folder / f"{stem}.nii.gz", image, patient.spacing)
        _write_nifti(folder / f"{stem}_gt.nii.gz", label, patient.spacing)
    if cine:
        phases = np.stack([patient.render(frame)[0] for frame in range(1, patient.frames + 1)], axis=3)
        _write_nifti(folder / f"{folder.name}_4d.nii.gz", phases, patient.spacing)


def _write_nifti(path: Path, array: NDArray[np.generic], spacing: tuple[float, float, float]) -> None:
    """Write ``array`` with an affine of spacing only, as ACDC; no time or name in the gzip header."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    volume = nib.Nifti1Image(array, affine)
    volume.header.set_xyzt_units("mm")
    with path.open("wb") as file, gzip.GzipFile("", "wb", 4, file, mtime=0) as packed:
        packed.write(volume.to_bytes())


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of :func:`write_phantom`; ``arguments`` without the program's name."""
    parser = argparse.ArgumentParser(description="Write a synthetic cine data set in the ACDC layout.")
    parser.add_argument("--output_dir", type=Path, required=True, help="the folder to make")
    parser.add_argument("--patients", type=int, default=20, help="how many patients (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (default 0)")
    parser.add_argument("--cine", action="store_true", help="also write all phases as patientXXX_4d.nii.gz")
    options = parser.parse_args(arguments)
    try:
        print(write_phantom(options.output_dir, options.patients, options.seed, options.cine))
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
