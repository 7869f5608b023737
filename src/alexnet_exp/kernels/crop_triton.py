"""The kernel of crop.py, apart from it because it needs Triton to be imported."""

# mypy: disable-error-code="no-untyped-def, assignment"
# ruff: noqa: N803, RUF005  # Triton's constants are upper case, and it has no starred tuples

import triton
import triton.language as tl

BLOCK = 128
RUNS = 8
"""Elements side by side, one for each thread of four warps, and how many such runs a program does.

Threads of a warp read and write neighbors. A tile of both together would be laid out for the widest
store, with threads eight elements apart, and the loads, which can't be wide, would take several
times as many passes through the cache.
"""


@triton.jit
def crop_kernel(
    images_pointer,
    rows_pointer,
    top_pointer,
    left_pointer,
    flip_pointer,
    mean_pointer,
    noise_pointer,
    out_pointer,
    scale,
    side,
    SIZE: tl.constexpr,  # pixels
    STORED: tl.constexpr,  # channels of the images
    WRITTEN: tl.constexpr,  # channels of the output
    NOISE: tl.constexpr,  # whether there is noise
    B: tl.constexpr,
    RUNS: tl.constexpr,
):
    """RUNS times B elements of one output image, in the order of their memory."""
    width: tl.constexpr = SIZE * WRITTEN
    whole: tl.constexpr = SIZE * width
    programs: tl.constexpr = (whole + B * RUNS - 1) // (B * RUNS)  # of an image
    n = (tl.program_id(0) // programs).to(tl.int64)
    first = tl.program_id(0) % programs * (B * RUNS) + tl.arange(0, B)

    flip = tl.load(flip_pointer + n)
    corner = tl.load(top_pointer + n) * side + tl.load(left_pointer + n)
    corner = (corner + tl.where(flip, SIZE - 1, 0)) * STORED
    step = tl.where(flip, -STORED, STORED)
    image = images_pointer + tl.load(rows_pointer + n) * side * side * STORED + corner
    mean = mean_pointer + corner
    pixels = ()
    for i in tl.static_range(RUNS):
        element = first + i * B
        y = element // width
        x = element % width // WRITTEN
        channel = element % WRITTEN
        place = y * (side * STORED) + x * step + channel
        stored = (element < whole) & (channel < STORED)
        pixel = tl.load(image + place, mask=stored, other=0).to(tl.float32)
        pixel -= tl.load(mean + place, mask=stored, other=0.0)
        if NOISE:
            pixel += tl.load(noise_pointer + n * STORED + channel, mask=stored, other=0.0)
        pixels = pixels + (pixel * scale,)
    for i in tl.static_range(RUNS):
        element = first + i * B
        out = out_pointer + n * whole + element
        tl.store(out, pixels[i].to(out_pointer.dtype.element_ty), mask=element < whole)
