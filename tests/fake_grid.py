"""A grid whose cells only pretend to work, light to import: runners of processes of their own run it."""

from pathlib import Path

from scripts.experiments.grid import Block, Grid
from scripts.experiments.job import CellJob

FAKE_CELL = """
import json, os, pathlib, sys, time
job = json.load(open(sys.argv[1]))
spec = job["spec"]
folder = pathlib.Path(job["output_dir"])
with open(folder / "started.txt", "a") as file:
    file.write(spec["name"] + " " + os.environ.get("CUDA_VISIBLE_DEVICES", "-") + "\\n")
print("working on", spec["name"])
if spec["arm"] in os.environ.get("FAIL", "").split(","):
    sys.exit("this arm fails")
while os.environ.get("HOLD") and not (folder / "go").exists():
    time.sleep(0.02)
time.sleep(float(os.environ.get("WORK", "0")))
spec["cell"] = spec.pop("name")
result = pathlib.Path(job["result"])
result.parent.mkdir(parents=True, exist_ok=True)
(result.parent / (result.name + ".part")).write_text(json.dumps(spec))
os.replace(result.parent / (result.name + ".part"), result)
"""
ARMS = ["Full", "Partial", "Hung et al.", "Ours"]


def jobs_in(folder: Path, **settings: object) -> list[CellJob]:
    grid = Grid("tiny", [Block(["ACDC"], ARMS, [0.1], [0])], settings)
    return [
        CellJob(cell, "data", str(folder), str(folder / "cells" / f"{cell.name}.json"), {}) for cell in grid.cells()
    ]
