"""The kernel of ``gpu.crop``, apart from it because it needs Triton to be imported."""

# mypy: disable-error-code="no-untyped-def, assignment"
# ruff: noqa: N803, RUF005  # Triton's constants are upper case, and it has no starred tuples

import triton
import triton.language as tl

BLOCK, LINES = 128, 8
"""Elements side by side, one for each thread of four warps, and lines that a program writes.

Threads of a warp read and write neighbors. A tile of more elements than threads would be laid out
for the widest store, with threads eight elements apart, and the loads, which can't be wide, would
take several times as many passes through the cache. Lines share what depends on the column.
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
    CHANNELS: tl.constexpr,
    NOISE: tl.constexpr,  # whether there is noise
    B: tl.constexpr,
    LINES: tl.constexpr,
):
    """Some lines of one output image, in the order of their memory."""
    width: tl.constexpr = SIZE * CHANNELS
    programs: tl.constexpr = (SIZE + LINES - 1) // LINES  # of an image
    n = (tl.program_id(0) // programs).to(tl.int64)
    first = tl.program_id(0) % programs * LINES
    left_over = (SIZE - first) * width  # elements from the first line on

    flip = tl.load(flip_pointer + n)
    corner = (tl.load(top_pointer + n) + first) * side + tl.load(left_pointer + n)
    corner = (corner + tl.where(flip, SIZE - 1, 0)) * CHANNELS
    step = tl.where(flip, -CHANNELS, CHANNELS)
    image = images_pointer + tl.load(rows_pointer + n) * side * side * CHANNELS + corner
    mean = mean_pointer + corner
    out = out_pointer + (n * SIZE + first) * width
    for start in tl.static_range(0, width, B):
        element = start + tl.arange(0, B)
        channel = element % CHANNELS
        place = element // CHANNELS * step + channel
        inside = element < width
        if NOISE:
            noise = tl.load(noise_pointer + n * CHANNELS + channel, mask=inside, other=0.0)
        pixels = ()
        for line in tl.static_range(LINES):
            there = inside & (line * width + element < left_over)
            at = place + line * side * CHANNELS
            pixel = tl.load(image + at, mask=there, other=0).to(tl.float32)
            pixel -= tl.load(mean + at, mask=there, other=0.0)
            if NOISE:
                pixel += noise
            pixels = pixels + ((pixel * scale).to(out_pointer.dtype.element_ty),)
        for line in tl.static_range(LINES):
            there = inside & (line * width + element < left_over)
            tl.store(out + line * width + element, pixels[line], mask=there)
