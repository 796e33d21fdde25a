"""Made-up cells of the semi-supervised benchmark."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.experiments.ssl_rows import METRICS

STRUCTURES = ("right", "wall", "left")


def write(
    folder: Path,
    arm: str,
    seed: int,
    dice: float,
    count: int = 3,
    test: float | None = None,
    tested: Sequence[str] = ("patient001", "patient007"),
    one_component: float | None = None,
    test_one_component: float | None = None,
    unlabeled: float | None = None,
    unlabeled_one_component: float | None = None,
    **changed: Any,
) -> None:
    """Write one into ``folder``: every structure with this Dice, half of it as IoU, and distances of 2; ``test``: its Dice of the patients
    ``tested``; ``one_component``, ``test_one_component``: that with one component of each class; ``unlabeled`` and
    ``unlabeled_one_component``: the same of unlabelled patients; ``changed``: other fields."""

    def group(value: float) -> dict[str, Any]:
        of_one = dict.fromkeys(METRICS, 2.0) | {"dice": value, "iou": value / 2}
        return {"structures": dict.fromkeys(STRUCTURES, of_one), "mean": of_one}

    cell = {
        "cell": f"{arm}-{count}-{seed}",
        "arm": arm,
        "seed": seed,
        "commit": "0123456789",
        "device": "one",
        "configs": [],
        "settings": {"labeled_patients": count, "batch_size": 8, "seed": seed},
        "updates": 300,
        "seconds": 240.0,
        "structures": group(dice),
        "curve": [{"epoch": 1, "mean_dice": dice / 2}, {"epoch": 2, "mean_dice": dice}],
    }
    for split, given, kept in (
        ("test", test, test_one_component),
        ("unlabeled", unlabeled, unlabeled_one_component),
    ):
        if given is not None:
            cell[split] = group(given) | {"patients": list(tested)}
        if kept is not None:
            cell[split]["one_component"] = group(kept)
    if one_component is not None:
        cell["one_component"] = group(one_component)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{arm}-{count}-{seed}.json").write_text(json.dumps(cell | changed))
