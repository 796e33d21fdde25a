"""The evaluation workflow as a step of another one."""

from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow


def evaluate_run(run_dir: str | Path, **settings: Any) -> None:
    """Do what ``monai.bundle run evaluating --config_file configs/evaluate.json --run_dir`` does, in this process.

    Args:
        run_dir: folder of a finished run.
        **settings: of ``configs/evaluate.json``.
    """
    root = Path(__file__).resolve().parents[2]
    config = root / "configs" / "evaluate.json"
    workflow = ConfigWorkflow(
        str(config),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(root),
        run_dir=str(run_dir),
        **settings,
    )
    workflow.initialize()
    workflow.run()
