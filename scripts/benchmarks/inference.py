"""How fast volumes are labelled: by PyTorch, plainly and with its options, and by other engines.

A volume of the phantom is read, preprocessed, sent through the network, and brought back to the acquired grid as labels, again
and again, as configs/inference.json does it. Each engine has a process of its own, for its memory; they are the median of
--rounds turns. Agreement is the share of voxels with the label that plain PyTorch in float32 gives. An engine that is not
installed is named and left out.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from scripts.benchmarks.measurement import in_own_process, machine, markdown_table, peak_memory_mb
from scripts.data.phantom import write_phantom
from scripts.errors import InputError
from scripts.export import BACKENDS, PYTORCH, backend_network
from scripts.files import write_json
from scripts.model_card import ModelCard, load_model
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.prediction import NativeLabels, NativeStackInferer

UNET: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 4, "features": [16, 32, 64, 128, 256, 16]}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: BasicUNet(**UNET),
    "resnet": lambda: ResNetGenerator(1, 4, 16),
}
"""With random weights: of configs/network_unet.json, and the paper's with 16 filters."""
CLASSES = 4
ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "pytorch": (PYTORCH, {}),
    "pytorch, channels last": (PYTORCH, {"channels_last": True}),
    "pytorch, bfloat16": (PYTORCH, {"precision": "bfloat16"}),
    "pytorch, compiled": (PYTORCH, {"compile": True}),
    **{name: (name, {}) for name in BACKENDS if name != PYTORCH},
}


@dataclass(frozen=True)
class Job:
    """``engine``: of ``ENGINES``; ``network``: of ``NETWORKS``, or the path of a model."""

    engine: str
    network: str
    volume: str
    pixels: int
    rounds: int
    device: str


@dataclass(frozen=True)
class Result:
    """Medians of a volume; ``start_s``: until the network is ready and has labelled the first."""

    engine: str
    start_s: float
    read_s: float
    label_s: float
    volumes_per_second: float
    memory_mb: float | None
    agreement: float | None = None


def measure(job: Job) -> tuple[Result, Tensor]:
    """The numbers, and labels (1, P, x, y, slices) uint8 of the volume."""
    began = perf_counter()
    torch.manual_seed(0)
    network, card = network_and_card(job)
    backend, options = ENGINES[job.engine]
    module = backend_network(network.to(job.device).eval(), card, job.network, backend)
    if options.get("channels_last"):
        nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    if options.get("compile"):
        module.compile()
    precision = options.get("precision", "float32")
    inferer = NativeStackInferer(NativeLabels(CLASSES), precision=precision)
    preprocess: Any = card.grid.preprocessing(("image",), CLASSES)  # of volumes
    read, label = [], []
    with torch.inference_mode():
        for number in range(job.rounds + 1):
            before = perf_counter()
            image = preprocess({"image": job.volume})["image"].to(job.device)
            ready = perf_counter()
            labels = inferer(image.unsqueeze(0), module).cpu()
            read.append(ready - before)
            label.append(perf_counter() - ready)
            if number == 0:
                start = perf_counter() - began
    seconds = median(read[1:]), median(label[1:])
    memory = peak_memory_mb(job.device)
    return Result(job.engine, start, *seconds, 1 / sum(seconds), memory), labels.as_subclass(Tensor)


def network_and_card(job: Job) -> tuple[nn.Module, ModelCard]:
    """The network of ``job`` and what is known of it."""
    if job.network not in NETWORKS:
        return load_model(job.network)
    spacing = 288.0 / job.pixels
    names = tuple(f"class {number}" for number in range(CLASSES))
    pixels = (job.pixels, job.pixels)
    return NETWORKS[job.network](), ModelCard({}, names, (spacing, spacing), pixels, "", "noise", "", "")


def measure_all(jobs: Iterable[Job]) -> tuple[list[Result], dict[str, str]]:
    """Results, and why an engine was left out."""
    results, left_out = [], {}
    plain: Tensor | None = None
    for job in jobs:
        try:
            result, labels = in_own_process(measure, job)
        except InputError as error:
            left_out[job.engine] = str(error)
            continue
        plain = labels if plain is None else plain
        agreement = float((labels == plain).float().mean())
        results.append(Result(**asdict(result) | {"agreement": agreement}))
    return results, left_out


def table(results: Iterable[Result]) -> str:
    header = ("engine", "ready after s", "read s", "label s", "volumes/s", "peak MB", "agreement")
    rows = []
    for r in results:
        numbers = [f"{n:.3g}" for n in (r.start_s, r.read_s, r.label_s, r.volumes_per_second)]
        memory = "unknown" if r.memory_mb is None else f"{r.memory_mb:.0f}"
        rows.append((r.engine, *numbers, memory, f"{r.agreement:.5f}"))
    return markdown_table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="unet", help=f"{', '.join(NETWORKS)}, or the model.pt of a run")
    parser.add_argument("--pixels", type=int, default=192, help="of a network without a model")
    parser.add_argument("--volume", help="NIfTI; default: a volume of the phantom")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[e for e in ENGINES if "compiled" not in e])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the results to this file, too")
    options = parser.parse_args(arguments)
    here = machine(options.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    with tempfile.TemporaryDirectory() as folder:
        volume = options.volume or str(phantom_volume(Path(folder)))
        jobs = [
            Job(engine, options.network, volume, options.pixels, options.rounds, options.device)
            for engine in options.engines
        ]
        results, left_out = measure_all(jobs)
    if options.json:
        write_json(options.json, {"machine": here, "results": [asdict(r) for r in results], "left_out": left_out})
    for engine, reason in left_out.items():
        print(f"{engine} is left out: {reason}")
    print(f"\n{__doc__}\n{table(results)}")


def phantom_volume(folder: Path) -> Path:
    """A volume of the phantom at end-diastole."""
    images = write_phantom(folder / "phantom", patients=1).rglob("*_frame01.nii.gz")
    return next(images)


if __name__ == "__main__":
    main()
