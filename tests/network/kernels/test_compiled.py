"""What the compiler makes of the kernels for an H100 or H200; needs Triton and no GPU."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from alexnet_exp.network.kernels import crop_triton, lrn_triton

HOPPER = GPUTarget("cuda", 90, 32)


@pytest.fixture(autouse=True)
def _compiles_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # the default, of which 3.9 warns


def ptx(kernel: Any, types: dict[str, str], constants: dict[str, Any]) -> str:
    """Assembly of a kernel whose pointers are aligned to 16 bytes."""
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    aligned = {
        (names.index(name),): [["tt.divisibility", 16]] for name in types if types[name][0] == "*"
    }
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, places, aligned)
    return triton.compile(source, target=HOPPER).asm["ptx"]


def accesses(assembly: str, kind: str) -> list[str]:
    """Widths of the loads (ld) or stores (st) of global memory, such as v4.b32 or b16."""
    return re.findall(rf"\b{kind}\.global\.((?:v\d\.)?b\d+)", assembly)


@pytest.mark.parametrize(
    ("dtype", "relu"),
    [("bf16", True), ("fp32", False), pytest.param("fp16", True, marks=pytest.mark.long)],
)
@pytest.mark.parametrize(("kernel", "loads"), [("forward_kernel", 3), ("backward_kernel", 6)])
def test_lrn_stays_in_registers(kernel: str, loads: int, dtype: str, relu: bool) -> None:
    """A thread loads groups of 16 bytes, shuffles nothing through shared memory, and stores one."""
    function = getattr(lrn_triton, kernel)
    maps = 4 if dtype == "fp32" else 8
    constants = {"RELU": relu, "G": 48 // maps, "V": maps, "B": lrn_triton.BLOCK}
    types = {name: f"*{dtype}" for name in function.arg_names if name.endswith("pointer")}
    assembly = ptx(function, {**types, "groups": "i32", "alpha": "fp32", "k": "fp32"}, constants)
    assert accesses(assembly, "ld") == ["v4.b32"] * loads
    assert accesses(assembly, "st") == ["v4.b32"]
    assert not re.search(r"\b(ld|st)\.(shared|local)|shfl\.|bar\.sync", assembly)
    if dtype == "bf16":
        assert assembly.count("cvt.rn.bf16x2.f32") == 4, "a GPU rounds, as the interpreter does not"


def test_crop_reads_and_writes_neighbors() -> None:
    """One element a thread at a time, so that a warp's accesses lie side by side."""
    kernel = crop_triton.crop_kernel
    types = dict.fromkeys(("rows_pointer", "top_pointer", "left_pointer"), "*i64")
    types |= {"images_pointer": "*u8", "mean_pointer": "*fp32", "noise_pointer": "*fp32"}
    types |= {"out_pointer": "*bf16", "flip_pointer": "*i1", "scale": "fp32", "side": "i32"}
    constants: dict[str, Any] = {"SIZE": 224, "CHANNELS": 3, "NOISE": False}
    constants |= {"B": crop_triton.BLOCK, "LINES": crop_triton.LINES}
    assembly = ptx(kernel, types, constants)
    runs = 6  # of 128 elements, to a line of 3 * 224
    assert accesses(assembly, "st") == ["b16"] * runs * crop_triton.LINES
    assert accesses(assembly, "ld").count("b32") == runs * crop_triton.LINES, "a float of the mean"
    assert not re.search(r"\b(ld|st)\.(shared|local)|bar\.sync", assembly)
    assert "fma.rn.f32" not in assembly, "the order of operations is the eager code's"
