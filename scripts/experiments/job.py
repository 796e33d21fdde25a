"""A cell to be run: which one, where its data are and where everything goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.experiments.grid import CellSpec
from scripts.files import read_json

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class CellJob:
    """A cell and its places.

    Attributes:
        spec: which cell.
        dataset_dir: of its data set.
        output_dir: of the grid; the run's folder is ``output_dir/spec.grid/spec.name``.
        result: the JSON to write.
        tracking: further settings of ``train.json``, for MLflow and the cache; they do not change what comes out.
        one_component: whether labels with one component of each class (of volumes) are scored, too.
    """

    spec: CellSpec
    dataset_dir: str
    output_dir: str
    result: str
    tracking: Mapping[str, Any]
    one_component: bool = False

    @property
    def run_dir(self) -> Path:
        return Path(self.output_dir) / self.spec.grid / self.spec.name


def read_job(path: str | Path) -> CellJob:
    content = read_json(path)
    spec = content.pop("spec")
    return CellJob(CellSpec(**spec | {"configs": tuple(spec["configs"])}), **content)


def config_files(spec: CellSpec) -> list[str]:
    return [str(ROOT / config) for config in ("configs/train.json", *spec.configs)]


def overrides(job: CellJob) -> dict[str, Any]:
    """What the run is told beyond its configs."""
    places = {"bundle_root": str(ROOT), "dataset_dir": job.dataset_dir, "output_dir": str(job.run_dir)}
    own = places | {"ckpt_dir": str(job.run_dir / "models"), "run_name": f"{job.spec.grid}/{job.spec.name}"}
    return {**job.tracking, **job.spec.settings, **own}
