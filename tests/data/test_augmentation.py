import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet_exp.config.training import AugmentationConfig, Views
from alexnet_exp.data.augmentation import Augmentation
from alexnet_exp.data.pixels import InMemory
from alexnet_exp.network.kernels import cpu
from tests.data.test_draws import chi_square_score

SIDE, SIZE = 40, 8
SLACK = SIDE - SIZE
COVARIANCE = torch.tensor(
    [[4900.0, 4300.0, 3800.0], [4300.0, 4600.0, 4200.0], [3800.0, 4200.0, 5200.0]],
    dtype=torch.float64,
)


def random_mean(side: int = SIDE, channels: int = 3) -> Tensor:
    return 255 * torch.rand(side, side, channels, generator=torch.Generator().manual_seed(1))


def random_images(count: int, side: int = SIDE, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (count, side, side, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def positions(count: int, step: int = 1) -> Tensor:
    """Images whose pixels say where they stand: row, column and a constant."""
    image = torch.full((SIDE, SIDE, 3), 200, dtype=torch.uint8)
    image[..., 0] = step * torch.arange(SIDE)[:, None]
    image[..., 1] = step * torch.arange(SIDE)
    return image.expand(count, -1, -1, -1)


def augmentation(
    mean: Tensor | None = None,
    covariance: Tensor = COVARIANCE,
    input_size: int = SIZE,
    seed: int = 0,
    upscale_to: int | None = None,
    **fields: Any,
) -> Augmentation:
    """An augmentation with everything off but ``fields``."""
    off = {"crops": False, "flips": False, "color_noise": False}
    config = AugmentationConfig(**{**off, **fields})
    mean = torch.zeros(SIDE, SIDE, 3) if mean is None else mean
    return Augmentation(config, mean, covariance, input_size, seed, upscale_to)


def augmented(
    augmentation: Augmentation,
    images: Tensor,
    index: Tensor,
    epoch: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What becomes of images (N, S, S, C) whose indices in a store are ``index``."""
    rows = torch.arange(len(images), device=images.device)
    return augmentation.train(InMemory(images), rows, augmentation.draw(index, epoch), dtype)


def places(out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Top, left and flip of every crop of ``positions``, (N, 3, s, s)."""
    left, right = out[:, 1, 0, 0], out[:, 1, 0, -1]
    return out[:, 0, 0, 0].long(), torch.minimum(left, right).long(), left > right


def test_every_output_is_a_crop_minus_the_mean_of_the_same_place() -> None:
    images, mean, index = random_images(50), random_mean(), torch.arange(50)
    fields = {"crops": True, "flips": True}
    out = augmented(augmentation(mean, **fields), images, index, 1)
    tops, lefts, flips = places(augmented(augmentation(**fields), positions(50), index, 1))
    assert len(set(tops.tolist())) > 5
    for i in range(50):
        top, left = int(tops[i]), int(lefts[i])
        centered = images[i].float() - mean
        crop = centered[top : top + SIZE, left : left + SIZE].permute(2, 0, 1)
        assert torch.equal(out[i], crop.flip(2) if flips[i] else crop), i


def test_crops_reach_every_place_alike_and_half_are_mirrored() -> None:
    count = 30_000
    out = augmented(augmentation(crops=True, flips=True), positions(count), torch.arange(count), 0)
    tops, lefts, flips = places(out)
    counts = torch.bincount(tops * (SLACK + 1) + lefts, minlength=(SLACK + 1) ** 2)
    assert len(counts) == 33 * 33  # as many places as 224 pixels have in 256
    assert counts.min() > 0
    assert chi_square_score(counts) < 4.5
    mirrored = flips.double().mean().item()
    assert abs(mirrored - 0.5) < 5 * 0.5 / math.sqrt(count)
    both = torch.bincount((tops // 11) * 6 + (lefts // 11) * 2 + flips, minlength=18)
    assert chi_square_score(both) < 4.5


ALL = {"crops": True, "flips": True, "color_noise": True}


@pytest.mark.skipif(cpu.why_not() is not None, reason=f"{cpu.why_not()}")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fields", [{}, ALL, {**ALL, "scale": 1 / 1.1}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_compiled_way_gives_the_same_bits(
    fields: dict[str, Any], channels: int, dtype: torch.dtype
) -> None:
    config = AugmentationConfig(**{"crops": False, "flips": False, "color_noise": False, **fields})
    covariance = COVARIANCE[:channels, :channels]
    fast, slow = (
        Augmentation(config, random_mean(SIDE, channels), covariance, SIZE, 0, None, way)
        for way in (True, False)
    )
    images, index = random_images(40, SIDE, channels), torch.arange(100, 140)
    found, expected = (augmented(one, images, index, 3, dtype) for one in (fast, slow))
    assert torch.equal(found, expected)
    assert found.dtype == expected.dtype == dtype
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in (found, expected))


@pytest.mark.parametrize("fields", [ALL, {**ALL, "min_scale": 0.3}])
def test_an_image_does_not_depend_on_its_batch(fields: dict[str, Any]) -> None:
    images, index = random_images(30), torch.arange(100, 130)
    cropper = augmentation(random_mean(), **fields)
    whole = augmented(cropper, images, index, 4)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    for order in (shuffled, torch.tensor([17])):
        found = augmented(cropper, images[order], index[order], 4)
        torch.testing.assert_close(found, whole[order], rtol=0, atol=1e-4)


@pytest.mark.parametrize("part", ["crops", "flips", "color_noise"])
def test_epochs_seeds_and_images_differ(part: str) -> None:
    images, index = positions(200), torch.arange(200)

    def drawn(seed: int, epoch: int, first: int = 0) -> Tensor:
        cropper = augmentation(seed=seed, **{part: True})
        return augmented(cropper, images, index + first, epoch).flatten(1)

    base = drawn(0, 1)
    assert torch.equal(base, drawn(0, 1))
    for other in (drawn(0, 2), drawn(1, 1), drawn(0, 1, 200)):
        same = (base == other).all(1).double().mean().item()
        chance = 0.5 if part == "flips" else 0.0
        assert abs(same - chance) < 5 * math.sqrt(0.25 / 200) if chance else same < 0.05


@pytest.mark.parametrize("std", [0.1, 0.3])
def test_color_noise_has_the_covariance_of_the_pixels(std: float) -> None:
    count = 40_000
    images = torch.full((1, 2, 2, 3), 100, dtype=torch.uint8).expand(count, -1, -1, -1)
    noisy = augmented(
        augmentation(torch.zeros(2, 2, 3), input_size=2, color_noise=True, color_noise_std=std),
        images,
        torch.arange(count),
        0,
    )
    noise = noisy - 100
    assert torch.equal(noise, noise[:, :, :1, :1].expand_as(noise))
    constants = noise[:, :, 0, 0].double()
    expected = std**2 * COVARIANCE
    variances = expected.diagonal()
    assert (constants.mean(0).abs() < 5 * (variances / count).sqrt()).all()
    # A covariance of normal numbers has the variance (C_ii C_jj + C_ij^2) / n.
    error = ((variances[:, None] * variances + expected**2) / count).sqrt()
    assert ((torch.cov(constants.T) - expected).abs() < 5 * error).all()


def test_switching_one_part_off_leaves_the_others_as_they_were() -> None:
    images, index = positions(300), torch.arange(300)
    tops, lefts, flips = places(augmented(augmentation(crops=True, flips=True), images, index, 1))
    only_crops = places(augmented(augmentation(crops=True), images, index, 1))
    only_flips = places(augmented(augmentation(flips=True), images, index, 1))
    assert torch.equal(only_crops[0], tops)
    assert torch.equal(only_crops[1], lefts)
    assert not only_crops[2].any()
    assert torch.equal(only_flips[2], flips)
    assert (only_flips[0] == SLACK // 2).all()
    assert (only_flips[1] == SLACK // 2).all()
    blank = torch.zeros(300, SIDE, SIDE, 3, dtype=torch.uint8)
    for min_scale in (1, 0.4):
        noise = augmented(augmentation(color_noise=True), blank, index, 1)
        crops = {"crops": True, "flips": True, "min_scale": min_scale}
        plain = augmented(augmentation(**crops), images, index, 1)
        with_all = augmented(augmentation(**crops, color_noise=True), images, index, 1)
        torch.testing.assert_close(with_all - plain, noise, rtol=0, atol=1e-3)


# Views


@pytest.mark.parametrize("input_size", [8, 9])
def test_ten_views_are_corners_center_and_their_mirrors(input_size: int) -> None:
    """The center is what training sees with everything off."""
    images, mean = random_images(4), random_mean()
    cutter = augmentation(mean, input_size=input_size, **ALL)
    slack = SIDE - input_size
    centered = (images.float() - mean).permute(0, 3, 1, 2)
    expected = []
    for top, left in ((slack // 2,) * 2, (0, 0), (0, slack), (slack, 0), (slack, slack)):
        view = centered[:, :, top : top + input_size, left : left + input_size]
        expected += [view, view.flip(3)]
    ten = cutter.views(images, Views.ten)
    assert torch.equal(ten, torch.stack(expected, 1))
    assert ten.dtype == torch.float32
    assert ten.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(cutter.views(images, Views.one), expected[0])
    off = augmentation(mean, input_size=input_size)
    assert torch.equal(augmented(off, images, torch.arange(4), 3), expected[0])


# Resized crops


def spans(out: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Width, height (shares of the side) and flip of resized crops of ``positions``."""
    middle = SIZE // 2
    across = (out[:, 1, middle, middle] - out[:, 1, middle, middle - 1]) / step
    down = (out[:, 0, middle, middle] - out[:, 0, middle - 1, middle]) / step
    return across.abs() * SIZE / SIDE, down * SIZE / SIDE, across < 0


@pytest.mark.parametrize(
    ("min_scale", "max_aspect"), [(0.35, 1.333), (0.1, 2.0), (0.6, 1.0), (0.9, 1.333)]
)
def test_resized_crops_cover_the_area_they_are_told_to(min_scale: float, max_aspect: float) -> None:
    """A wide crop of nearly the whole area does not fit: its aspect gives way, not its area."""
    count, widest = 4000, min(max_aspect, 1 / min_scale)
    cropper = augmentation(crops=True, flips=True, min_scale=min_scale, max_aspect=max_aspect)
    index = torch.arange(count)
    width, height, flips = spans(augmented(cropper, positions(count, 6), index, 0), 6)
    area, aspect = width * height, width / height
    tolerance = 1e-3
    assert area.min().item() == pytest.approx(min_scale, abs=0.01)
    assert area.min().item() >= min_scale - tolerance
    assert area.max().item() <= 1 + tolerance
    assert width.max().item() <= 1 + tolerance
    assert height.max().item() <= 1 + tolerance
    assert aspect.max().item() == pytest.approx(widest, rel=0.02)
    assert 1 / aspect.min().item() == pytest.approx(widest, rel=0.02)
    _, _, expected = places(augmented(augmentation(flips=True), positions(count), index, 0))
    assert torch.equal(flips, expected)


def test_resized_crops_of_the_whole_image_are_the_image() -> None:
    images, mean = random_images(6, SIZE), random_mean(SIZE)
    almost_all = math.nextafter(1.0, 0.0)
    cropper = augmentation(mean, crops=True, min_scale=almost_all, max_aspect=1.0)
    out = augmented(cropper, images, torch.arange(6), 0)
    expected = (images.float() - mean).permute(0, 3, 1, 2)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-3)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_without_crops_min_scale_does_nothing() -> None:
    images, index = random_images(5), torch.arange(5)
    assert torch.equal(
        augmented(augmentation(flips=True, min_scale=0.3), images, index, 0),
        augmented(augmentation(flips=True), images, index, 0),
    )


# Size, mean and scale


def test_upscale_to_enlarges_images_and_mean_bilinearly() -> None:
    images, mean = random_images(3, 6), random_mean(6)
    cutter = augmentation(mean, input_size=10, upscale_to=12)
    places = (np.arange(12) + 0.5) / 2 - 0.5  # pixel centers at half
    weights = torch.from_numpy(np.array([np.interp(places, range(6), one) for one in np.eye(6)]).T)
    large = torch.einsum("yr,xc,nrck->nkyx", weights, weights, images.double() - mean.double())
    expected = large[:, :, 1:11, 1:11].float()
    torch.testing.assert_close(
        augmented(cutter, images, torch.arange(3), 0), expected, rtol=0, atol=1e-4
    )
    torch.testing.assert_close(cutter.views(images, Views.one), expected, rtol=0, atol=1e-4)


def test_mean_image_false_leaves_the_pixels() -> None:
    images = random_images(3, SIZE)
    cutter = augmentation(random_mean(SIZE), mean_image=False)
    expected = images.float().permute(0, 3, 1, 2)
    assert torch.equal(augmented(cutter, images, torch.arange(3), 0), expected)
    assert torch.equal(cutter.views(images, Views.one), expected)


def test_scale_multiplies_what_the_network_sees() -> None:
    images, index, mean = random_images(3), torch.arange(3), random_mean()
    plain, scaled = augmentation(mean, **ALL), augmentation(mean, **ALL, scale=1 / 64)
    assert torch.equal(augmented(scaled, images, index, 0) * 64, augmented(plain, images, index, 0))
    assert torch.equal(scaled.views(images, Views.ten) * 64, plain.views(images, Views.ten))


@pytest.mark.parametrize("upscale_to", [None, 6])
def test_too_small_images_name_the_overrides(upscale_to: int | None) -> None:
    side = upscale_to or 5
    with pytest.raises(ValueError, match=rf"are {side} pixels .*data\.image_size") as raised:
        augmentation(random_mean(5), upscale_to=upscale_to)
    assert "data.upscale_to to 8" in str(raised.value)
    assert str(raised.value).endswith(f"model.input_size={side}")
    augmentation(random_mean(5), upscale_to=8)
    augmentation(random_mean(8))
