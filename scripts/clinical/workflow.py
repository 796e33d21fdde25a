"""From the phases of a segmented study to its report: the handler that ``configs/clinical.json`` is built around."""

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import Dataset
from rich.progress import Progress

from scripts.clinical.dicom_sources import instances_of
from scripts.clinical.function import measure
from scripts.clinical.outputs import check_output_dir, write_outputs
from scripts.clinical.page_print import find_browser
from scripts.clinical.quality import Case, has_failed, quality_flags
from scripts.clinical.report import About
from scripts.clinical.segmentation import PhaseImaged
from scripts.clinical.structures import Structures
from scripts.clinical.wall_thickness import right_handed, wall_thickness
from scripts.data.cine import CineStudy
from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError
from scripts.model_card import ModelCard, file_sha256

FAILED_EXIT_CODE = 2
"""Of a study that failed a hard check: there are no numbers."""
SOFTWARE = ("torch", "monai", "numpy", "pydicom", "SimpleITK", "nibabel")


def phases_of(study: CineStudy, card: ModelCard) -> Dataset:
    """A MONAI data set of the study's phases, each ready for the network.

    Raises:
        InputError: the model is one of photographs.
    """
    if not isinstance(card.grid, SliceGrid):
        raise InputError("the model is one of photographs, and a study needs one of volumes: give another --model.")
    return Dataset([{"phase": phase} for phase in range(len(study.images))], PhaseImaged(study, card.grid))


class CardiacReport:
    """Collect the labels of every phase, measure, check, and write the report when all are there.

    Attach to an evaluator over ``phases_of`` whose postprocessing is ``PhaseLabelsd``.

    Args:
        study: what was read. card: of the model. model: the file.
        output_dir: the folder to make; ``overwrite``: also in place of a former report.
        structures: the label values.
        ed_phase, es_phase: counted from 1; None takes what the study names, else the largest and smallest LV volume.
        include_phi: say in the report who the patient is. pdf: print it, too.
        dicom: masks and numbers as DICOM objects, too.
        device: for the record.

    Attributes:
        failed: whether a hard check failed, once the report is written.

    Raises:
        InputError: before anything is computed: an output folder that cannot be used, no browser for a PDF, DICOM asked for
            of a study that is not DICOM, a phase that the study has not.
    """

    def __init__(
        self,
        study: CineStudy,
        card: ModelCard,
        model: str | Path,
        output_dir: str | Path,
        structures: Structures,
        ed_phase: int | None = None,
        es_phase: int | None = None,
        include_phi: bool = False,
        pdf: bool = False,
        dicom: bool = False,
        overwrite: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        check_output_dir(output_dir, overwrite)
        if pdf:
            find_browser()
        if dicom:
            instances_of(study)
        self.chosen = {"ed": _from_zero(ed_phase, "ed_phase", study), "es": _from_zero(es_phase, "es_phase", study)}
        self.study = study
        self.card = card
        self.model = Path(model)
        self.output_dir = Path(output_dir)
        self.structures = structures
        self.options: dict[str, bool] = {
            "include_phi": include_phi,
            "pdf": pdf,
            "dicom": dicom,
            "overwrite": overwrite,
        }
        self.device = torch.device(device)
        self.failed = False
        self._began = time.perf_counter()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._report)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._stop)

    def _begin(self, engine: Engine) -> None:
        self.labels = np.zeros(self.study.images.shape, np.uint8)
        self.confidence = {name: np.full(len(self.labels), np.nan) for name in self.structures.items()}
        self._progress = Progress(transient=True)
        self._task = self._progress.add_task("Segmenting", total=len(self.labels))
        self._progress.start()

    def _stop(self, engine: Engine, error: BaseException) -> None:
        self._progress.stop()
        raise error

    def _collect(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for item, output in zip(batch, outputs, strict=True):
            phase = int(item["phase"])
            self.labels[phase] = output["pred"][0].cpu().numpy()
            for name, value in output["confidence"].items():
                self.confidence[name][phase] = float(value)
            self._progress.advance(self._task)

    def _report(self, engine: Engine) -> None:
        self._progress.stop()
        study, body = self.study, self.study.body
        known: Any = {"heart_rate_per_min": study.heart_rate, "height_m": body.height_m, "weight_kg": body.weight_kg}
        function = measure(
            self.labels,
            study.spacing,
            self.structures,
            **self.chosen,
            given_phases=study.given_phases,
            **known,
        )
        case = Case(self.labels, study.spacing, self.structures, function, self.confidence, **known)
        flags = quality_flags(case)
        self.failed = has_failed(flags)
        # Of NIfTI and ACDC nobody knows whether the affine tells left from right.
        handed = right_handed(study.affine) if study.source == "DICOM" else None
        wall = wall_thickness(self.labels[function.phases.ed], study.spacing, self.structures, handed)
        write_outputs(
            self.output_dir,
            study,
            self.labels,
            self.confidence,
            None if self.failed else function,
            flags,
            None if self.failed else wall,
            self._about(),
            structures=self.structures,
            **self.options,
        )
        engine.state.metrics |= {"failed": float(self.failed), "flags": float(len(flags))}
        told = "no numbers: a hard check failed, see the flags" if self.failed else f"{len(flags)} flags"
        print(f"Report written to {self.output_dir} ({told}).")

    def _about(self) -> About:
        card = self.card
        facts = {
            "network": card.network_def.get("_target_", "").rpartition(".")[2],
            "trained_on": card.trained_on,
            "licence": card.licence,
            "grid": f"{card.size[0]} x {card.size[1]} pixels at {card.spacing} mm",
            "scores": card.scores,
        }
        return About(
            model_file=self.model.name,
            weights_sha256=card.weights_sha256 or file_sha256(self.model) or "",
            model=facts,
            bundle_version=card.bundle_version,
            software={"python": platform.python_version()} | {name: version(name) for name in SOFTWARE},
            seconds=round(time.perf_counter() - self._began, 2),
            device=torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
        )


def exit_if_failed(report: CardiacReport) -> None:
    """End the process with ``FAILED_EXIT_CODE`` if a hard check failed."""
    if report.failed:
        raise SystemExit(FAILED_EXIT_CODE)


def _from_zero(phase: int | None, name: str, study: CineStudy) -> int | None:
    if phase is None:
        return None
    if isinstance(phase, bool) or not isinstance(phase, int) or not 1 <= phase <= len(study.images):
        raise InputError(
            f"--{name} must be a whole number in 1 to {len(study.images)}, the study's phases, got {phase!r}."
        )
    return phase - 1
