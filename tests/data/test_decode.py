import numpy as np
import pytest
from PIL import Image

from alexnet_exp.data import decode as decoding
from alexnet_exp.data.decode import DecodeError, decode, resize_and_crop
from tests.data.drawn import TURNED, encoded, picture

RED, GREEN, BLUE = (250, 20, 10), (0, 200, 50), (20, 40, 220)


def flag() -> Image.Image:
    """Red over green on the left, blue on the right; 48 wide, 32 high."""
    pixels = np.empty((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[16:, :24], pixels[:, 24:] = RED, GREEN, BLUE
    return Image.fromarray(pixels)


def without_adobe_marker(jpeg: bytes) -> bytes:
    start = jpeg.index(b"\xff\xee")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


CASES = {
    "jpeg": encoded(flag(), "JPEG", quality=95),
    "progressive": encoded(flag(), "JPEG", quality=95, progressive=True),
    "cmyk": encoded(flag().convert("CMYK"), "JPEG", quality=95),
    "cmyk not by adobe": without_adobe_marker(encoded(flag().convert("CMYK"), "JPEG", quality=95)),
    "exif turned": encoded(flag(), "JPEG", quality=95, exif=TURNED),
    "palette": encoded(flag().quantize(8), "PNG"),
    "palette with transparency": encoded(flag().quantize(8), "PNG", transparency=0),
    "rgba": encoded(np.dstack([flag(), np.full((32, 48), 90, np.uint8)])),
    "gif": encoded(flag(), "GIF"),
    "animated gif": encoded(
        flag(), "GIF", save_all=True, append_images=[Image.new("RGB", (48, 32), "white")] * 2
    ),
    "bmp": encoded(flag(), "BMP"),
    "webp": encoded(flag(), "WEBP", lossless=True),
    "tiff": encoded(flag(), "TIFF"),
    "ppm": encoded(flag(), "PPM"),
}


@pytest.fixture(params=["torchcodec", "pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pillow":
        monkeypatch.setattr(decoding, "_torchcodec", lambda: None)
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_colors_are_right_in_every_kind_of_file(case: str, decoder: str) -> None:
    pixels = decode(CASES[case], "flag.jpg")
    assert pixels.shape == (32, 48, 3)
    assert pixels.dtype == np.uint8
    for (row, column), color in (((4, 6), RED), ((28, 6), GREEN), ((16, 42), BLUE)):
        assert np.abs(pixels[row, column].astype(int) - color).max() <= 5


@pytest.mark.parametrize("case", ["gray", "jpeg", "cmyk", "palette", "rgba", "bmp"])
def test_gray_is_luma(case: str, decoder: str) -> None:
    gray = encoded(flag().convert("L"), "JPEG", quality=95)
    pixels = decode(gray, case) if case == "gray" else decode(CASES[case], case, channels=1)
    assert pixels.shape == (32, 48, 3 if case == "gray" else 1)
    for (row, column), (r, g, b) in (((4, 6), RED), ((28, 6), GREEN), ((16, 42), BLUE)):
        level = 0.299 * r + 0.587 * g + 0.114 * b
        assert np.abs(pixels[row, column] - level).max() <= (3 if case == "gray" else 4)


def test_sixteen_bit_gray_is_scaled_not_clipped(decoder: str) -> None:
    wide = (np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)
    pixels = decode(encoded(wide), "wide.png").astype(int)
    np.testing.assert_allclose(pixels, np.repeat(wide[:, :, None] / 257, 3, axis=2), atol=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_truncated_files_are_errors(kind: str, decoder: str) -> None:
    whole = encoded(picture(0, (64, 64, 3)), kind)
    with pytest.raises(DecodeError, match=r"daisy/cut\.jpg: "):
        decode(whole[: len(whole) // 2], "daisy/cut.jpg")


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", b"\xff\xd8\xff\xe0"])
def test_what_is_no_image_is_an_error(content: bytes, decoder: str) -> None:
    with pytest.raises(DecodeError, match=r"x\.jpg"):
        decode(content, "x.jpg")


def test_torchcodec_is_the_decoder_under_test() -> None:
    assert decoding.decoder_name() == "torchcodec"


@pytest.mark.parametrize("shape", [(100, 37, 3), (37, 100, 3), (5, 9, 1), (16, 40, 3)])
def test_resize_agrees_with_pillow(shape: tuple[int, ...]) -> None:
    image = picture(3, shape)
    size = [16 * side // min(shape[:2]) for side in (shape[1], shape[0])]
    whole = Image.fromarray(image.squeeze()).resize(size, Image.Resampling.BILINEAR)
    expected = np.asarray(whole).reshape(size[1], size[0], shape[2])
    top, left = round((size[1] - 16) / 2), round((size[0] - 16) / 2)
    expected = expected[top : top + 16, left : left + 16]
    assert np.abs(resize_and_crop(image, 16).astype(int) - expected).max() <= 1
