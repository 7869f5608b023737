"""A kernel that is new to a machine compares itself with torch's operations there.

It takes milliseconds, and that it went well is remembered in the cache. A kernel that differs or
fails steps aside: torch's operations take its place for the rest of the process, and one line says
so. The comparison runs on the CPU in float64, so that only the kernel itself is in question.
"""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_exp.console import say
from alexnet_exp.network.kernels.build import cache_folder

# bf16 keeps 8 bits, fp16 11; some float32 operations and approximate roots.
_TOLERANCE = {torch.float32: 1e-5, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


def agrees(kernel: str, key: str, check: Callable[[], None]) -> bool:
    """Whether a kernel, by its name for the user, may be used here.

    ``key`` is of all that its numbers depend on: source, versions, device; ``check`` raises where
    it differs from torch's operations.
    """
    folder = cache_folder()
    name = hashlib.sha256(f"{kernel}\0{key}".encode()).hexdigest()[:16]
    mark = None if folder is None else folder / f"checked-{name}"
    if mark is not None and mark.exists():
        return True
    try:
        with torch.inference_mode(False), torch.enable_grad():
            check()
    except Exception as error:  # whatever a compiler or a driver may raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        say(f"{kernel}: torch's operations take its place, for it is not right here: {reason}")
        return False
    if mark is not None:
        mark.touch()
    return True


def check_lrn(normalize: Callable[..., Tensor], x: Tensor, towers: int, size: int = 5) -> None:
    """Raise AssertionError if ``max(x, 0)`` normalized with beta .75, or its gradient, is off.

    Args:
        normalize: ``normalize(x, towers=, alpha=, k=, relu=)``, over ``size`` maps.
        x: (N, C, H, W), in the dtype, layout and place in question; its values are drawn here.
    """
    alpha, k = 1e-2, 2.0
    x = x.copy_(30 * _normal(x.shape)).requires_grad_()
    weight = torch.ones_like(x, requires_grad=False).copy_(_normal(x.shape).flip(0))
    torch.full_like(x, torch.nan)  # freed at once, so that what is left unwritten shows
    y = normalize(x, towers=towers, alpha=alpha, k=k, relu=True)
    torch.full_like(x, torch.nan)
    (grad,) = torch.autograd.grad(y, x, weight)
    leaf = x.detach().cpu().double().requires_grad_()
    apart = leaf.relu().reshape(-1, x.shape[1] // towers, *x.shape[2:])  # a tower, an image
    exact_y = F.local_response_norm(apart, size, size * alpha, 0.75, k).reshape(x.shape)
    (exact_grad,) = torch.autograd.grad(exact_y, leaf, weight.cpu().double())
    _compare("result", y, exact_y)
    _compare("gradient", grad, exact_grad)


def check_crop(
    crop: Callable[..., Tensor], device: torch.device, side: int, size: int, channels: int
) -> None:
    """Raise AssertionError if one of three crops of images (side, side, channels) is off.

    They are ``crop(images, rows, top, left, flip, mean, noise, scale)``, of ``size`` pixels.
    """
    images = (128 + 40 * _normal((4, side, side, channels))).clamp(0, 255).byte()
    mean, noise = 128 + 9 * _normal((side, side, channels)), 9 * _normal((3, channels))
    slack, scale = side - size, 1 / 58
    rows, top, left = torch.tensor([[3, 0, 1], [0, slack, slack // 2], [slack, 0, slack // 3]])
    flip = torch.tensor([False, True, True])
    exact = torch.empty(3, size, size, channels)
    for n in range(3):
        here = slice(top[n], top[n] + size), slice(left[n], left[n] + size)
        pixels = images[rows[n]][here].float() - mean[here]
        exact[n] = ((pixels.flip(1) if flip[n] else pixels) + noise[n]) * scale
    given = (tensor.to(device) for tensor in (images, rows, top, left, flip, mean, noise))
    _compare("result", crop(*given, scale), exact.permute(0, 3, 1, 2))


def _normal(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)  # a run's own draws stay as they were
    return torch.randn(shape, generator=generator, device="cpu", dtype=torch.float32)


def _compare(what: str, found: Tensor, exact: Tensor) -> None:
    tolerance = _TOLERANCE[found.dtype]
    wide = found.detach().cpu().double()
    off = (wide - exact).abs().max() / exact.abs().max()
    if not off <= tolerance:
        raise AssertionError(f"its {what} is off by {off:.1e}")
