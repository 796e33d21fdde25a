"""Files that are there whole or not at all, also when the disk is full."""

import errno
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from scripts.errors import InputError
from scripts.files import save_tensors, write_atomically, write_json

OLD = "what was there before"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to let a file grow beyond ``size`` bytes, as a full disk does."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def disk_full(path: Path) -> None:
    path.write_bytes(b"partial")
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def interrupted(path: Path) -> None:
    path.write_bytes(b"partial")
    raise KeyboardInterrupt


def test_a_file_is_written_into_a_new_folder(tmp_path: Path) -> None:
    path = write_atomically(str(tmp_path / "new" / "folder" / "file"), lambda p: p.write_text("content"))
    assert path == tmp_path / "new" / "folder" / "file"
    assert path.read_text(encoding="utf-8") == "content"
    assert list(path.parent.iterdir()) == [path]


def test_until_it_is_whole_the_old_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(OLD)

    def write(partial: Path) -> None:
        partial.write_text("new")
        assert partial.parent == path.parent
        assert path.read_text(encoding="utf-8") == OLD

    write_atomically(path, write)
    assert path.read_text(encoding="utf-8") == "new"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(OLD)
    with pytest.raises(InputError, match=r"could not be written: .*No space left on device") as caught:
        write_atomically(path, disk_full)
    assert path.read_text(encoding="utf-8") == OLD
    assert list(tmp_path.iterdir()) == [path]
    assert "free some space or give another folder" in str(caught.value)
    assert "--resume true" in str(caught.value)


def test_a_full_disk_without_an_old_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_atomically(tmp_path / "file", disk_full)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(OLD)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert path.read_text(encoding="utf-8") == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
@pytest.mark.parametrize(
    ("save", "small", "large"),
    [(save_tensors, {"x": torch.ones(3)}, {"x": torch.ones(50_000)}), (write_json, {"x": 1}, {"x": "y" * 50_000})],
    ids=["tensors", "JSON"],
)
def test_a_disk_that_takes_no_more_is_named_as_the_reason(
    tmp_path: Path, save: Callable[[Path, dict], Path], small: dict, large: dict
) -> None:
    path = save(tmp_path / "file", small)
    before = path.read_bytes()
    with pytest.raises(InputError, match="File too large"), largest_file(20_000):
        save(path, large)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(InputError, match="could not be written"):
        write_json(tmp_path / "folder" / "sub" / "file.json", {})
    assert (tmp_path / "folder").read_text(encoding="utf-8") == "a file"


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.json" / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match="could not be written"):
        write_json(tmp_path / "file.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_an_error_of_the_writer_itself_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file", lambda path: path.write_text(3))  # type: ignore[arg-type]


def test_json_and_tensors_come_back(tmp_path: Path) -> None:
    content = {"a": [1, 2.5, None], "path": Path("x")}
    assert json.loads(write_json(tmp_path / "a.json", content).read_text(encoding="utf-8")) == {
        "a": [1, 2.5, None],
        "path": "x",
    }
    tensors = {"x": torch.arange(6.0).view(2, 3), "step": 3}
    loaded = torch.load(save_tensors(tmp_path / "a.pt", tensors), weights_only=True)
    assert torch.equal(loaded["x"], tensors["x"])
    assert loaded["step"] == 3
