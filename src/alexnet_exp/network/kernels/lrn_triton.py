"""The kernels of ``gpu.lrn`` and the operators around them, apart as they need Triton.

In channels-last memory the maps of a pixel lie side by side, so the tensor is one long row of
groups of 16 bytes, and a window of five maps reaches no further than the groups beside its own. A
thread loads three groups (the outer two come from the cache), takes them apart in registers, and
writes one. Single maps loaded at shifted places would be bound by the number of load instructions
and not by bytes.
"""

# mypy: disable-error-code="no-untyped-def, assignment, var-annotated"
# ruff: noqa: N803, RUF005  # Triton's constants are upper case, and it has no starred tuples

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

BLOCK = 128
"""Groups that a program writes: one for each thread of Triton's default of four warps."""


@triton.jit
def _take_four(tile):
    """(B, 4) to its four columns."""
    even, odd = tl.split(tl.reshape(tile, [tile.shape[0], 2, 2]))
    m0, m2 = tl.split(even)
    m1, m3 = tl.split(odd)
    return m0, m1, m2, m3


@triton.jit
def _take_apart(tile):
    """(B, 4) or (B, 8) to its columns, without leaving the registers."""
    if tile.shape[1] == 4:
        maps = _take_four(tile)
    else:
        even, odd = tl.split(tl.reshape(tile, [tile.shape[0], 4, 2]))
        e = _take_four(even)
        o = _take_four(odd)
        maps = (e[0], o[0], e[1], o[1], e[2], o[2], e[3], o[3])
    return maps


@triton.jit
def _join_four(m0, m1, m2, m3):
    return tl.reshape(tl.join(tl.join(m0, m2), tl.join(m1, m3)), [m0.shape[0], 4])


@triton.jit
def _join(maps, V: tl.constexpr):
    """The inverse of _take_apart."""
    if V == 4:
        tile = _join_four(maps[0], maps[1], maps[2], maps[3])
    else:
        even = _join_four(maps[0], maps[2], maps[4], maps[6])
        odd = _join_four(maps[1], maps[3], maps[5], maps[7])
        tile = tl.reshape(tl.join(even, odd), [maps[0].shape[0], 8])
    return tile


@triton.jit
def _load(pointer, group, inside, V: tl.constexpr):
    """A group of each thread in float32, taken apart; zeros where not ``inside``."""
    if pointer.dtype.element_ty == tl.bfloat16:
        # Two maps in a word: one shift or one mask widens each, half of what a conversion takes.
        words = pointer.to(tl.pointer_type(tl.uint32), bitcast=True)
        at = group[:, None] * 4 + tl.arange(0, 4)[None, :]
        w = _take_four(tl.load(words + at, mask=inside[:, None], other=0))
        maps = ()
        for i in tl.static_range(4):
            even = (w[i] << 16).to(tl.float32, bitcast=True)
            odd = (w[i] & 0xFFFF0000).to(tl.float32, bitcast=True)
            maps = maps + (even, odd)
    else:
        at = group[:, None] * V + tl.arange(0, V)[None, :]
        maps = _take_apart(tl.load(pointer + at, mask=inside[:, None], other=0.0).to(tl.float32))
    return maps


@triton.jit
def _load_three(pointer, group, here, left, right, V: tl.constexpr):
    """The group itself between its neighbors: 3V maps."""
    before = _load(pointer, group - 1, left, V)
    after = _load(pointer, group + 1, right, V)
    return before + _load(pointer, group, here, V) + after


@triton.jit
def _store(pointer, group, inside, maps, V: tl.constexpr):
    """The inverse of _load."""
    at = group[:, None] * V + tl.arange(0, V)[None, :]
    tl.store(pointer + at, _join(maps, V).to(pointer.dtype.element_ty), mask=inside[:, None])


@triton.jit
def _rectify(maps, RELU: tl.constexpr):
    """max(a, 0), which keeps NaN, of each map."""
    out = ()
    for i in tl.static_range(len(maps)):
        if RELU:
            out = out + (tl.maximum(maps[i], 0.0, propagate_nan=tl.PropagateNan.ALL),)
        else:
            out = out + (maps[i],)
    return out


@triton.jit
def _window_sums(maps, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Sums of five maps around ``FIRST`` and the ``COUNT - 1`` next, COUNT being even.

    Two windows share the four maps in their middle, and these are two pairs.
    """
    pairs = ()
    for i in tl.static_range(COUNT // 2 + 1):
        pairs = pairs + (maps[FIRST - 1 + 2 * i] + maps[FIRST + 2 * i],)
    sums = ()
    for i in tl.static_range(COUNT // 2):
        middle = pairs[i] + pairs[i + 1]
        sums = sums + (maps[FIRST - 2 + 2 * i] + middle, middle + maps[FIRST + 3 + 2 * i])
    return sums


@triton.jit
def _inverse_roots(maps, alpha, k, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """base ** -.5 of ``COUNT`` maps from ``FIRST``; the other powers follow from it."""
    squares = ()
    for i in tl.static_range(len(maps)):
        squares = squares + (maps[i] * maps[i],)
    energies = _window_sums(squares, FIRST, COUNT)
    roots = ()
    for i in tl.static_range(COUNT):
        roots = roots + (tl.rsqrt(tl.fma(energies[i], alpha, k)),)
    return roots


@triton.jit
def _place(groups, G: tl.constexpr, B: tl.constexpr):
    """Start of this program, its groups from there, which of them and their neighbors exist."""
    start = tl.program_id(0).to(tl.int64) * B
    group = tl.arange(0, B)
    here = group < groups - start
    of_tower = ((start % G).to(tl.int32) + group) % G
    left = here & (of_tower != 0)
    right = here & (of_tower != G - 1)
    return start, group, here, left, right


@triton.jit
def forward_kernel(
    x_pointer,
    y_pointer,
    groups,
    alpha,
    k,
    RELU: tl.constexpr,
    G: tl.constexpr,  # groups of a tower
    V: tl.constexpr,  # maps of a group
    B: tl.constexpr,  # groups of a program
):
    """y = a / base ** .75."""
    start, group, here, left, right = _place(groups, G, B)
    a = _rectify(_load_three(x_pointer + start * V, group, here, left, right, V), RELU)
    root = _inverse_roots(a, alpha, k, V, V)
    y = ()
    for i in tl.static_range(V):
        y = y + (a[V + i] * root[i] * tl.sqrt(root[i]),)
    _store(y_pointer + start * V, group, here, y, V)


@triton.jit
def backward_kernel(
    x_pointer,
    grad_pointer,
    out_pointer,
    groups,
    alpha,
    k,
    RELU: tl.constexpr,
    G: tl.constexpr,
    V: tl.constexpr,
    B: tl.constexpr,
):
    """Gradient by x: g_i base_i^-.75 - 1.5 alpha a_i sum_j g_j a_j base_j^-1.75."""
    start, group, here, left, right = _place(groups, G, B)
    x = _load_three(x_pointer + start * V, group, here, left, right, V)
    grad = _load_three(grad_pointer + start * V, group, here, left, right, V)
    a = _rectify(x, RELU)
    root = _inverse_roots(a, alpha, k, V - 2, V + 4)
    direct = ()
    shares = ()
    for i in tl.static_range(V + 4):
        scaled = grad[V - 2 + i] * root[i] * tl.sqrt(root[i])
        direct = direct + (scaled,)
        shares = shares + (scaled * a[V - 2 + i] * root[i] * root[i],)
    spread = _window_sums(shares, 2, V)
    gradients = ()
    for i in tl.static_range(V):
        gradient = tl.fma(a[V + i] * spread[i], -1.5 * alpha, direct[2 + i])
        if RELU:
            gradient = tl.where(x[V + i] <= 0, 0.0, gradient)
        gradients = gradients + (gradient,)
    _store(out_pointer + start * V, group, here, gradients, V)


@triton_op("alexnet_exp::lrn", mutates_args={})
def normalize(x: Tensor, towers: int, alpha: float, k: float, relu: bool) -> Tensor:
    """The operator behind ``gpu.lrn``."""
    y = torch.empty_like(x, memory_format=torch.channels_last)
    grid, groups, sizes = _launch(x, towers)
    wrap_triton(forward_kernel)[grid](x, y, groups, alpha, k, RELU=relu, **sizes)
    return y


@triton_op("alexnet_exp::lrn_backward", mutates_args={})
def differentiate(
    x: Tensor, grad: Tensor, towers: int, alpha: float, k: float, relu: bool
) -> Tensor:
    """Gradient by ``x``; ``grad`` has its shape, dtype and memory format."""
    out = torch.empty_like(x, memory_format=torch.channels_last)
    grid, groups, sizes = _launch(x, towers)
    wrap_triton(backward_kernel)[grid](x, grad, out, groups, alpha, k, RELU=relu, **sizes)
    return out


def _launch(x: Tensor, towers: int) -> tuple[tuple[int], int, dict[str, int]]:
    """Grid, number of groups, and the kernels' constants."""
    maps = 16 // x.element_size()
    groups = x.numel() // maps
    channels = int(x.shape[1])  # never symbolic: it is a constant of the kernels
    sizes = {"G": channels // towers // maps, "V": maps, "B": BLOCK}
    return (-(-groups // BLOCK),), groups, sizes


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.constants = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    grad = grad.to(x.dtype).contiguous(memory_format=torch.channels_last)
    return differentiate(x, grad, *ctx.constants), None, None, None, None


normalize.register_autograd(_backward, setup_context=_setup)
