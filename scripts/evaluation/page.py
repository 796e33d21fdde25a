"""The summary as a page of Markdown, with aligned columns, since it is read on a console too."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LOWEST = 5
"""How many of the worst cases the page lists."""
MOST = 6
"""How many kinds of error it lists."""

ONE_COMPONENT = (
    "Of each structure one connected component was kept: the largest within the main connected piece of all structures "
    "together, or the largest anywhere if that piece holds less than a tenth of the structure."
)
"""What ``largest_component`` does (``scripts.components``)."""
METHOD = (
    "Measured on the acquired grid; a case is one frame of one patient; means are over cases, ± the standard deviation.",
    "HD95 is the larger of the two directed 95th percentiles, ASSD the mean over the points of both surfaces, of the "
    "distances between the surfaces in 3-D, in mm, with the true spacing in-plane and from slice to slice. A surface is "
    "those voxels of a structure that have a face outside it.",
    "Data-set-level IoU is of the voxels of all cases together, and so are the wrong ones; voxels of all sizes count as one. At a border are "
    "those that have another class, or void, among their eight neighbours in the slice of the truth.",
)


def markdown(summary: Mapping[str, Any]) -> str:
    """The page of ``summary``, as ``evaluate.Evaluation`` completes it."""
    parts = [
        f"# {summary['data_set']}, {summary['section']} section: {summary['case_count']} cases",
        _headline(summary),
        _structures(summary["all"]),
        _phases(summary["phases"]),
        _data_set_iou(summary),
        _errors(summary["errors"]),
        _lowest(summary["ranking"]),
        "\n".join(f"![{name}: {case}]({name}.png)" for name, case in summary["pictures"].items()),
        _method(summary),
        _model(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(summary: Mapping[str, Any]) -> str:
    phases = ", ".join(f"{name} {markdown_number(group['mean']['dice'])}" for name, group in summary["phases"].items())
    classes = len(summary["data_set_iou"])
    return (
        f"**Mean foreground Dice {markdown_number(summary['mean_foreground_dice'])}**{f' ({phases})' if phases else ''}. "
        f"Data-set-level mIoU {markdown_number(summary['foreground_miou'])} over the {classes - 1} foreground classes, "
        f"{markdown_number(summary['miou'])} over all {classes}. "
        f"{_patients(len(summary['patients']), summary['patients_of_section'])}"
    )


def _patients(evaluated: int, listed: int) -> str:
    if evaluated >= listed:
        return f"All {evaluated} patients of the section."
    return f"Only {evaluated} of the section's {listed} patients: the others' files were absent when the run began."


def _structures(group: Mapping[str, Any]) -> str:
    header = ["structure", "Dice", "IoU", "HD95 (mm)", "ASSD (mm)", "missed", "invented"]
    rows = [[name, *_scores(scores)] for name, scores in group["structures"].items()]
    return markdown_table(header, [*rows, ["mean foreground", *_scores(group["mean"])]])


def _scores(scores: Mapping[str, Any]) -> list[str]:
    return [
        f"{markdown_number(scores['dice'])} ± {markdown_number(scores['dice_sd'])}",
        markdown_number(scores["iou"]),
        markdown_number(scores["hd95_mm"], 1),
        markdown_number(scores["assd_mm"], 2),
        str(scores["missed"]),
        str(scores["invented"]),
    ]


def _phases(phases: Mapping[str, Any]) -> str:
    if len(phases) < 2:
        return ""
    header = ["Dice by phase", *(f"{name} ({group['cases']} cases)" for name, group in phases.items())]
    names = next(iter(phases.values()))["structures"]
    rows = [
        [name, *(markdown_number(group["structures"][name]["dice"]) for group in phases.values())] for name in names
    ]
    return markdown_table(
        header, [*rows, ["mean foreground", *(markdown_number(group["mean"]["dice"]) for group in phases.values())]]
    )


def _data_set_iou(summary: Mapping[str, Any]) -> str:
    rows = [[name, markdown_number(value)] for name, value in summary["data_set_iou"].items()]
    count = len(rows)
    means = [
        [f"mIoU, {count - 1} foreground classes", markdown_number(summary["foreground_miou"])],
        [f"mIoU, {count} classes with {rows[0][0]}", markdown_number(summary["miou"])],
    ]
    return markdown_table(["data-set-level", "IoU"], [*rows, *means])


def _errors(errors: Sequence[Mapping[str, Any]]) -> str:
    if not errors:
        return ""
    total = sum(error["voxels"] for error in errors)
    everything = {"voxels": total, "at_border": sum(error["at_border"] for error in errors)}
    named = [(f"{error['truth']} taken for {error['prediction']}", error) for error in errors[:MOST]]
    rows = [
        [name, str(error["voxels"]), f"{error['voxels'] / total:.0%}", f"{error['at_border'] / error['voxels']:.0%}"]
        for name, error in [*named, (f"all {len(errors)} kinds", everything)]
    ]
    return markdown_table(["voxels that are wrong", "voxels", "share", "of them at a border"], rows)


def _lowest(ranking: Sequence[Mapping[str, Any]]) -> str:
    chosen = ranking[:LOWEST]
    names = list(chosen[0]["dice"])
    header = [f"lowest {len(chosen)} of {len(ranking)} cases", "mean Dice", *names]
    rows = [
        [case["case"], markdown_number(case["mean_dice"]), *(markdown_number(case["dice"][name]) for name in names)]
        for case in chosen
    ]
    return markdown_table(header, rows)


def _method(summary: Mapping[str, Any]) -> str:
    kept = ONE_COMPONENT if summary["largest_component"] else "Every predicted voxel counts: no component was removed."
    notes = [*METHOD, summary["empty_structures"], kept]
    if summary["likelihood"]:
        notes.append(
            f"The image counted beside the network: its likelihood, to the power of {summary['likelihood']:g}."
        )
    if summary["section"] == "validation":
        notes.append("The model was chosen by its scores on this section, which are therefore somewhat too good.")
    return "\n".join(f"- {line}" for line in notes)


def _model(summary: Mapping[str, Any]) -> str:
    card = summary["card"]
    network = card["network_def"]
    arguments = ", ".join(f"{key} {value}" for key, value in network.items() if key != "_target_")
    validated = ", ".join(f"{name} {value:.4g}" for name, value in card["scores"].items())
    patients = summary["trained_patients"]
    lines = [
        f"Model: {summary['model']}",
        f"Network: {network['_target_'].rpartition('.')[2]} ({arguments})",
        f"Grid: {card['size'][0]} x {card['size'][1]} at {card['spacing'][0]:g} x {card['spacing'][1]:g} mm",
        f"Trained on: {card['trained_on']}, {patients['labeled']} labelled and {patients['unlabeled']} unlabelled "
        f"patients; licence of the data: {card['licence']}",
        f"Split: {summary['split'] or 'not described'}",
        f"Chosen in training by these scores on the network's grid: {validated or 'none recorded'}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def markdown_number(value: float, digits: int = 3) -> str:
    """``value``, or a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return f"| {' | '.join([first.ljust(widths[0]), *aligned])} |"

    rule = f"|{'|'.join(['-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:])])}|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])
