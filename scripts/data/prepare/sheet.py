"""A sheet of samples: each image beside itself with its label over it, in the colours of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from scripts.data.prepare.checks import Findings
from scripts.data.prepare.content import Content, Expected, read_content
from scripts.data.prepare.facts import ItemFacts
from scripts.files import write_atomically
from scripts.labels import VOID
from scripts.palette import COLORS, class_colors

SECTION_ORDER = ("labeled", "validation", "test", "unlabeled")
LONGEST_SIDE = 480
"""Pixels of a drawn panel: more would not be seen."""
WINDOW_PERCENTILES = (0.5, 99.5)
FILL_ALPHA = 0.55
VOID_COLOR = (0.93, 0.93, 0.93)
PANEL_INCHES = 2.9
COLUMNS = 2
GAP = 0.06
"""Width of the space beside a pair, in panels."""
TITLE_LETTERS = 46

Colors = list[tuple[float, float, float] | None]


@dataclass(frozen=True)
class Sample:
    """What is drawn of an item: ``image`` (H, W, 3) in [0, 1] and ``label`` (H, W) uint8 or None, of at most
    ``LONGEST_SIDE`` pixels; ``aspect`` is the height of a pixel over its width."""

    title: str
    image: NDArray
    label: NDArray[np.uint8] | None
    aspect: float = 1.0


def draw_sheet(
    path: Path, data_list: Mapping[str, Any], root: Path, findings: Findings, samples: int = 8
) -> Path | None:
    """Write a PNG of some items, spread over the sections and over each of them; None if nothing can be drawn.

    Args:
        path: of the PNG.
        data_list: the list; ``colors`` in it ({"0": [r, g, b]}) come before the palette.
        root: what its paths are relative to.
        findings: of the list.
        samples: how many at most.

    Raises:
        InputError: ``path`` cannot be written.
    """
    items = {(section, item["image"]): item for section in SECTION_ORDER for item in data_list.get(section, [])}
    drawn = []
    for fact in choose(findings.facts, samples):
        content = read_content(items[fact.section, fact.image], root, findings.expected)
        if content.image is not None:
            drawn.append(sample_of(fact, content))
    if not drawn:
        return None
    colors = colors_of(data_list, findings.expected)
    figure = _figure(drawn, colors, findings.expected)
    return write_atomically(path, lambda partial: figure.savefig(partial, format="png", dpi=110))


def choose(facts: Sequence[ItemFacts], samples: int) -> list[ItemFacts]:
    """Items in turn from each section; within a section one from each of equal stretches, that with most classes."""
    readable = {s: [item for item in facts if item.section == s and item.shape] for s in SECTION_ORDER}
    shares = dict.fromkeys(SECTION_ORDER, 0)
    while sum(shares.values()) < min(samples, sum(map(len, readable.values()))):
        for section in SECTION_ORDER:
            if shares[section] < len(readable[section]) and sum(shares.values()) < samples:
                shares[section] += 1
    chosen = []
    for section, share in shares.items():
        for stretch in np.array_split(np.arange(len(readable[section])), share) if share else []:
            chosen.append(max((readable[section][index] for index in stretch), key=_classes_shown))
    return chosen


def _classes_shown(item: ItemFacts) -> int:
    return 0 if item.pixels is None else sum(count > 0 for count in item.pixels[:-1])


def colors_of(data_list: Mapping[str, Any], expected: Expected) -> Colors:
    """RGB in [0, 1] of each class, None where the image is left to show (background)."""
    own = data_list.get("colors") or {}
    start = 1 if expected.background else 0
    count = expected.num_classes - start
    if count < len(COLORS):
        named = class_colors(count + 1)[1:]
    else:  # the palette would repeat; of tab20 the strong colours come before their pale ones
        scheme = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
        named = [(scheme[::2] + scheme[1::2])[index % len(scheme)] for index in range(count)]
    found: Colors = [None] * start + [to_rgb(color) for color in named]
    for value, color in own.items():
        if start <= int(value) < len(found):
            red, green, blue = (number / 255 for number in color)
            found[int(value)] = (red, green, blue)
    return found


def sample_of(fact: ItemFacts, content: Content) -> Sample:
    """The slice with most foreground, the middle one without a label; of a study its first phase."""
    assert content.image is not None
    image, label = content.image, content.label
    place, aspect = image.shape[3] // 2, 1.0
    if label is not None:
        foreground = ((label > 0) & (label != VOID)).sum(axis=(0, 1))
        place = int(foreground.argmax()) if foreground.any() else place
    picture = image[: content.channels, :, :, place]
    mask = None if label is None else label[:, :, place]
    if content.volume:  # x to the right, y down
        picture, mask = picture.swapaxes(1, 2), None if mask is None else mask.T
        if content.spacing:
            aspect = content.spacing[1] / content.spacing[0]
    name = fact.image if len(fact.image) <= TITLE_LETTERS else "..." + fact.image[3 - TITLE_LETTERS :]
    where = f", slice {place + 1} of {image.shape[3]}" if content.volume else ""
    return Sample(f"{name}\n{fact.section}{where}", *_small(_visible(picture, content.volume), mask), aspect)


def _visible(picture: NDArray, volume: bool) -> NDArray[np.uint8]:
    """(C, H, W) of any intensities as (H, W, 3) uint8; volumes are windowed by percentiles."""
    if volume:
        low, high = np.percentile(picture, WINDOW_PERCENTILES)
        picture = np.clip((picture - low) / max(float(high - low), 1e-6), 0, 1) * 255
    picture = picture if len(picture) == 3 else np.repeat(picture[:1], 3, axis=0)
    return np.ascontiguousarray(picture.astype(np.uint8).transpose(1, 2, 0))


def _small(picture: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> tuple[NDArray, NDArray | None]:
    height, width = picture.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)) / 255
    if mask is None:
        return small, None
    return small, np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize(size, Image.Resampling.NEAREST))


def _figure(samples: Sequence[Sample], colors: Colors, expected: Expected) -> Figure:
    columns = min(COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    heights = [s.image.shape[0] * s.aspect / s.image.shape[1] for s in samples]
    width = (2 + GAP) * columns * PANEL_INCHES
    legend = _legend(samples, colors, expected)
    per_row = max(1, int(width / (0.5 + 0.085 * max((len(str(p.get_label())) for p in legend), default=1))))
    legend_inches = 0.25 * -(-len(legend) // per_row) + 0.2 if legend else 0.0
    row_heights = [max(heights[r * columns : (r + 1) * columns]) * PANEL_INCHES + 0.42 for r in range(rows)]
    figure = Figure(
        figsize=(width, sum(row_heights) + legend_inches),
        layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01),
        facecolor="white",
    )
    ratios = {"height_ratios": row_heights, "width_ratios": [1, 1, GAP] * columns}
    grid = figure.subplots(rows, 3 * columns, squeeze=False, gridspec_kw=ratios).reshape(rows * columns, 3)
    for axes in grid.flat:
        axes.set_axis_off()
        axes.set_anchor("NW")
    for (image, over, _), sample in zip(grid, samples, strict=False):
        _draw(image, over, sample, colors)
    if legend:
        figure.legend(handles=legend, loc="outside lower center", ncols=per_row, fontsize=9, frameon=False)
    return figure


def _draw(left: Axes, right: Axes, sample: Sample, colors: Colors) -> None:
    left.imshow(sample.image, aspect=sample.aspect)
    left.set_title(sample.title, fontsize=8, loc="left")
    if sample.label is not None:
        right.imshow(overlay(sample.image, sample.label, colors), aspect=sample.aspect)
        return
    right.imshow(np.full_like(sample.image, 0.95), aspect=sample.aspect, vmin=0, vmax=1)
    right.text(0.5, 0.5, "no label", transform=right.transAxes, ha="center", va="center", fontsize=9, color="0.45")


def overlay(image: NDArray, label: NDArray[np.uint8], colors: Colors) -> NDArray:
    """``image`` (H, W, 3) in [0, 1] with the classes of ``label`` (H, W) mixed in; void is light."""
    mixed = image.copy()
    for value, color in [*enumerate(colors), (VOID, VOID_COLOR)]:
        here = label == value
        if color is not None and here.any():
            alpha = 0.8 if value == VOID else FILL_ALPHA
            mixed[here] = (1 - alpha) * image[here] + alpha * np.asarray(color)
    return mixed


def _legend(samples: Sequence[Sample], colors: Colors, expected: Expected) -> list[Patch]:
    """The classes that are on the sheet, and void if it is."""
    shown = set().union(*(np.unique(sample.label).tolist() for sample in samples if sample.label is not None))
    classes = [
        Patch(facecolor=color, edgecolor="0.4", linewidth=0.5, label=name)
        for value, (color, name) in enumerate(zip(colors, expected.class_names, strict=True))
        if value in shown and color is not None
    ]
    void = Patch(facecolor=VOID_COLOR, edgecolor="0.4", linewidth=0.5, label="void")
    return [*classes, void] if VOID in shown else classes
