"""Number formats of a step."""

import pytest
import torch
from torch import nn

from scripts.training.precision import Precision


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("auto", torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ],
)
def test_format_of_a_convolution_on_the_cpu(name: str, dtype: torch.dtype) -> None:
    with Precision(name, "cpu").autocast():
        assert nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8)).dtype == dtype


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_on_cuda_is_bfloat16_where_there_is_any(
    monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    assert Precision("auto", torch.device("cuda", 0)).name == expected


def test_float32_holds_inside_a_surrounding_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), Precision("float32", "cpu").autocast():
        assert nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("capability", "name", "warned"), [("AVX2", "bfloat16", 1), ("AVX512", "bfloat16", 0), ("AVX2", "auto", 0)]
)
def test_emulated_bfloat16_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, capability: str, name: str, warned: int
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    Precision(name, "cpu")
    assert [str(w.message)[:31] for w in recwarn] == ["bfloat16 is emulated on this pr"] * warned


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"precision must be 'auto' or one of .*'float32'.*, got 'half'"):
        Precision("half", "cpu")


@pytest.mark.parametrize(("name", "expected"), [("float32", False), ("bfloat16", False), ("float16", True)])
def test_only_float16_scales_gradients(name: str, expected: bool) -> None:
    assert Precision(name, "cpu").scaler().is_enabled() is expected
