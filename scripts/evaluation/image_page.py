"""The summary of an evaluation on photographs as a page of Markdown."""

from collections.abc import Mapping
from typing import Any

from scripts.evaluation.page import LOWEST, markdown_number, markdown_table

METHOD = (
    "IoU is of the pixels of all images of the section together; a class in neither truth nor prediction has none and is "
    "left out of the mean. Void pixels are not counted.",
    "At file size, probabilities are resized to each image's own size before the class is chosen (the standard way); at "
    "training size, the labels are resized instead, as in Mondal et al. 2019.",
    "Dice is the mean over images and the classes that occur in them.",
)


def markdown(summary: Mapping[str, Any]) -> str:
    """The page of ``summary``, as ``evaluate_images.ImageEvaluation`` completes it."""
    parts = [
        f"# {summary['data_set']}, {summary['section']} section: {summary['case_count']} images",
        _headline(summary),
        _classes(summary),
        _lowest(summary),
        "\n".join(f"![{name}: {case}]({name}.png)" for name, case in summary["pictures"].items()),
        _method(summary),
        _model(summary),
    ]
    return "\n\n".join(parts) + "\n"


def _headline(summary: Mapping[str, Any]) -> str:
    small = summary["training_size"]
    names = list(summary["data_set_iou"])
    at_sizes = {"file size": summary, "training size": small}
    rows = [[f"mIoU, all {len(names)} classes", "miou"], ["pixel accuracy", "pixel_accuracy"]]
    if summary["card"]["background"]:
        rows.insert(0, [f"mIoU, {len(names) - 1} classes without {names[0]}", "foreground_miou"])
    rows.append(["mean Dice of images", "mean_foreground_dice"])
    return markdown_table(
        ["", *at_sizes], [[title, *(markdown_number(s[key]) for s in at_sizes.values())] for title, key in rows]
    )


def _classes(summary: Mapping[str, Any]) -> str:
    small = summary["training_size"]["data_set_iou"]
    rows = [[name, markdown_number(v), markdown_number(small[name])] for name, v in summary["data_set_iou"].items()]
    return markdown_table(["IoU by class", "file size", "training size"], rows)


def _lowest(summary: Mapping[str, Any]) -> str:
    chosen = summary["ranking"][:LOWEST]
    header = [f"lowest {len(chosen)} of {len(summary['ranking'])} images", "mIoU"]
    return markdown_table(header, [[case["case"], markdown_number(case["miou"])] for case in chosen])


def _method(summary: Mapping[str, Any]) -> str:
    chosen = ["The model was chosen by its scores on this section, which are therefore somewhat too good."]
    return "\n".join(f"- {line}" for line in (*METHOD, *(chosen if summary["section"] == "validation" else [])))


def _model(summary: Mapping[str, Any]) -> str:
    card, images = summary["card"], summary["trained_images"]
    network = card["network_def"]
    arguments = ", ".join(f"{key} {value}" for key, value in network.items() if key != "_target_")
    lines = [
        f"Model: {summary['model']}",
        f"Network: {network['_target_'].rpartition('.')[2]} ({arguments})",
        f"Training size: {card['size'][0]} x {card['size'][1]} pixels",
        f"Trained on: {card['trained_on']}, {images['labeled']} labelled and {images['unlabeled']} unlabelled images; "
        f"licence of the data: {card['licence']}",
        f"Split: {summary['split'] or 'not described'}",
    ]
    return "\n".join(f"- {line}" for line in lines)
