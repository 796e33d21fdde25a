"""Pictures of predictions: which runs, which slices, in which colours, the right way up."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from imagesets import write_cityscapes

from scripts.configuration import build
from scripts.data import cityscapes
from scripts.data.slices import SliceDataset
from scripts.errors import InputError
from scripts.evaluation.finished_run import read_run
from scripts.experiments.cells import Cell
from scripts.experiments.qualitative import (
    VOID_COLOR,
    Examples,
    as_picture,
    chosen_runs,
    colored,
    draw_examples,
    examples,
)
from scripts.labels import VOID
from scripts.model_card import ModelCard, read_card

Make = Callable[..., list[Cell]]


@pytest.fixture
def two_runs(finished_run: Path, tmp_path: Path) -> dict[str, Path]:
    """The finished run as two arms, which may be changed."""
    return {arm: shutil.copytree(finished_run, tmp_path / "runs" / arm) for arm in ("Partial", "Ours")}


def mark_run(runs_dir: Path, cell: Cell) -> None:
    folder = runs_dir / str(cell.run_dir)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")


def test_the_seed_with_most_arms_is_shown(make_cells: Make, tmp_path: Path) -> None:
    cells = make_cells({arm: (0.5, 0.5, 0.5) for arm in ("Ours", "Partial", "Full", "w/o mask_cycle")})
    for cell in cells:
        if (cell.arm, cell.seed) not in {("Partial", 0), ("Ours", 2)}:
            mark_run(tmp_path, cell)
    seed, runs = chosen_runs(cells, 10, tmp_path)
    assert seed == 1
    assert list(runs) == ["Full", "Partial", "Ours"]
    assert runs["Ours"] == tmp_path / "small" / "ours-10-seed1"


def test_of_equal_seeds_the_lowest_is_shown(make_cells: Make, tmp_path: Path) -> None:
    cells = make_cells({"Ours": (0.5, 0.5)})
    for cell in cells:
        mark_run(tmp_path, cell)
    assert chosen_runs(cells[::-1], 10, tmp_path)[0] == 0


@pytest.mark.parametrize("run_dir", ["small/ours", None])
def test_without_folders_it_says_so(make_cells: Make, tmp_path: Path, run_dir: str | None) -> None:
    with pytest.raises(InputError, match="no folder of these runs is below"):
        chosen_runs(make_cells({"Ours": (0.5,)}, run_dir=run_dir), 10, tmp_path)


def test_all_arms_show_the_same_slices(two_runs: dict[str, Path]) -> None:
    shown = examples(two_runs, rows=3)
    assert list(shown.predictions) == ["Partial", "Ours"]
    assert [image.shape for image in shown.images] == [(1, 32, 32)] * 3
    assert [truth.shape for truth in shown.truths] == [(32, 32)] * 3
    assert len(set(shown.names)) == 3
    for truth, first, second in zip(shown.truths, *shown.predictions.values(), strict=True):
        assert (truth > 0).any()
        assert torch.equal(first, second)
        assert int(first.max()) < 4
    assert shown.class_names[1] == "right ventricle cavity"
    assert shown.colors[0].tolist() == [0, 0, 0]
    assert shown.pixel_aspect == 1


def test_colours_of_the_data_list_are_used(two_runs: dict[str, Path]) -> None:
    path = two_runs["Ours"] / "data_list.json"
    content = json.loads(path.read_text()) | {"colors": {"1": [0, 0, 255], "2": [255, 0, 51]}}
    path.write_text(json.dumps(content))
    colors = examples({"Ours": two_runs["Ours"]}, rows=1).colors
    assert colors[:2].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert colors[2] == pytest.approx([1, 0, 0.2])
    assert colors.shape == (4, 3)


def test_arms_with_other_validation_items_are_refused(two_runs: dict[str, Path]) -> None:
    path = two_runs["Ours"] / "data_list.json"
    content = json.loads(path.read_text())
    content["validation"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="differ in their validation items") as caught:
        examples(two_runs)
    assert "same data, split and seed" in str(caught.value)


def test_a_run_without_labelled_validation_is_refused(two_runs: dict[str, Path]) -> None:
    path = two_runs["Ours"] / "data_list.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"validation": []}))
    with pytest.raises(InputError, match="no labelled validation items"):
        examples({"Ours": two_runs["Ours"]})


def test_grey_and_colour_images_are_stretched() -> None:
    grey = torch.tensor([[[-1.0, 0.0], [0.5, 1.0]]])
    assert as_picture(grey)[..., 2].tolist() == [[0, 0.5], [0.75, 1]]
    color = torch.stack([grey[0], -grey[0], torch.zeros(2, 2)])
    assert as_picture(color)[0, 0].tolist() == [0, 1, 0.5]
    photograph = torch.tensor([[[51]], [[0]], [[255]]], dtype=torch.uint8)
    assert as_picture(photograph).tolist() == [[[0.2, 0, 1]]]
    assert np.isfinite(as_picture(torch.zeros(1, 2, 2))).all()


def test_void_has_a_colour_of_its_own() -> None:
    picture = colored(torch.tensor([[0, 1, VOID]]), np.array([[0, 0, 0], [1, 0.5, 0]]))
    assert picture.tolist() == [[[0, 0, 0], [1, 0.5, 0], list(VOID_COLOR)]]


@pytest.mark.parametrize("void", [False, True])
def test_the_grid_has_a_column_an_arm_and_names_the_classes(void: bool) -> None:
    truth = torch.zeros(6, 8, dtype=torch.int64)
    truth[0, 0] = VOID if void else 1
    shown = Examples(
        images=(torch.rand(3, 6, 8), torch.rand(3, 6, 8)),
        truths=(truth, truth),
        predictions={"Full": (truth.clamp(max=1),) * 2, "Ours": (truth.clamp(max=1),) * 2},
        colors=np.array([[0, 0, 0], [1, 0, 0]]),
        class_names=("ground", "thing"),
        names=("a.png", "b.png"),
    )
    figure = draw_examples(shown, "title")
    assert len(figure.axes) == 2 * 4
    assert [axes.get_title() for axes in figure.axes[:4]] == ["image", "truth", "Full", "Ours"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == (["ground", "thing", "void"] if void else ["ground", "thing"])
    tall = draw_examples(replace(shown, pixel_aspect=2.0), "title")
    assert tall.get_size_inches()[1] > figure.get_size_inches()[1]


def test_volumes_are_shown_with_x_to_the_right(two_runs: dict[str, Path]) -> None:
    shown = examples({"Ours": two_runs["Ours"]}, rows=1)
    run = read_run(two_runs["Ours"])
    transform = read_card(run.model).grid.preprocessing(("image", "label"), 4)
    dataset = SliceDataset(run.data_list["validation"][:1], transform, base_dir=run.dataset_dir)
    labels = [dataset[index]["label"] for index in range(len(dataset))]
    assert any(torch.equal(label.T, shown.truths[0]) for label in labels)
    assert not any(torch.equal(label, shown.truths[0]) for label in labels)


def test_photographs_are_shown_as_they_are(tmp_path: Path) -> None:
    """Cityscapes: values in files are mapped, the network's void channel is passed over, colours are the data set's."""
    listed = cityscapes.data_list(write_cityscapes(tmp_path / "data"), split="official", labeled_fraction=0.4)
    network_def = {"_target_": "scripts.networks.resnet_generator.ResNetGenerator", "filters": 2, "blocks": 1}
    network_def |= {"in_channels": 3, "out_channels": 20}
    network = build(network_def)
    with torch.no_grad():
        list(network.parameters())[-1][19] = 1000.0  # void would win everywhere
    card = ModelCard(
        network_def, tuple(listed["labels"].values()), None, (16, 32), "", "Cityscapes", "", "", background=False,
        colors=listed["colors"], image_channels=3,
    )  # fmt: skip
    card.save(tmp_path / "run" / "model.pt", network, {})
    (tmp_path / "run" / "data_list.json").write_text(json.dumps(listed), encoding="utf-8")
    record = {"model": "model.pt", "data_list": "data_list.json", "dataset_dir": str(tmp_path / "data")}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    shown = examples({"Full": tmp_path / "run"})
    assert len(shown.images) == 2
    assert (shown.images[0].shape, shown.images[0].dtype) == ((3, 16, 32), torch.uint8)
    assert set(shown.truths[0].unique().tolist()) <= {*range(19), VOID}
    assert shown.truths[0][-1].unique().tolist() != shown.truths[0][0].unique().tolist()  # sky is up
    assert int(shown.predictions["Full"][0].max()) < 19
    assert (shown.colors[0] * 255).round().astype(int).tolist() == listed["colors"]["0"]
