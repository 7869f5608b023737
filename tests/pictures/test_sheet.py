"""Sheets of photos: what stands on them, and what they are written as."""

from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from alexnet_exp.errors import UserError
from alexnet_exp.pictures.saving import check_places, save
from alexnet_exp.pictures.sheet import MOST_ROWS, Tile, sheet
from alexnet_exp.report.drawing import BLUE, ORANGE

FIVE = [("rose", 0.62), ("tulip", 0.21), ("daisy", 0.1), ("sunflower", 0.065), ("dandelion", 0.005)]


def tile(right: str | None = "tulip", names: list[str] | None = None, channels: int = 3) -> Tile:
    bars = list(zip(names, (p for _, p in FIVE), strict=False)) if names else FIVE
    pixels = np.full((32, 32, channels), 90, np.uint8)
    return Tile(pixels, right or "photo.jpg", bars, right)


def words(figure: Figure) -> list[str]:
    texts = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in texts if text.get_text() and text.get_visible()]


def bars(figure: Figure) -> list[Rectangle]:
    return [bar for bar in figure.findobj(Rectangle) if bar in figure.axes[1].patches]


def test_bars_are_as_long_as_probabilities_and_the_true_class_is_marked_without_color() -> None:
    figure = sheet([tile()])
    [_, axes] = figure.axes
    drawn = bars(figure)
    whole = axes.get_xlim()[1]
    assert [bar.get_width() / whole for bar in drawn] == pytest.approx([p for _, p in FIVE])
    colors = [to_hex(bar.get_facecolor()) for bar in drawn]
    assert colors == [BLUE, ORANGE, BLUE, BLUE, BLUE]
    assert [bool(bar.get_hatch()) for bar in drawn] == [False, True, False, False, False]
    percents = ["62 %", "21 %", "10 %", "6 %", "<1 %"]
    assert [word for word in words(figure) if "%" in word] == percents
    assert "✓ tulip" in words(figure)
    assert "rose" in words(figure)


def test_without_a_known_class_nothing_is_marked() -> None:
    figure = sheet([tile(None)])
    assert not any(bar.get_hatch() for bar in bars(figure))
    assert not any("✓" in word for word in words(figure))


def test_long_names_are_shortened_to_what_tells_them_apart_and_stay_within_their_row() -> None:
    names = [
        "tench, Tinca tinca",
        "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias",
        "crane",
        "crane, hoisting crane of a harbor that is very tall and wide",
        "Staffordshire bullterrier",
    ]
    figure = sheet([tile(names[1], names)])
    said = words(figure)
    assert said.count("crane") == 1
    assert "tench, Tinca tinca" in said
    assert "✓ great white shark" in said
    [other] = [word for word in said if word.startswith("crane,")]
    assert other.endswith("…")
    renderer = figure.canvas.get_renderer()
    texts = figure.axes[1].texts
    boxes = [text.get_window_extent(renderer) for text in texts]
    for name, percent in zip(boxes[::2], boxes[1::2], strict=True):
        assert name.x1 < percent.x0


def test_names_of_files_are_no_synonyms_and_their_ends_stay() -> None:
    name = "holiday, the second day, roses of the garden behind the house 0123.jpg"
    for one in (
        Tile(tile().pixels, name, FIVE, None),
        Tile(tile().pixels, "rose", FIVE, "rose", name),
    ):
        [shown] = [word for word in words(sheet([one])) if word.endswith(" 0123.jpg")]
        first, last = shown.split("…")
        assert name.startswith(first)
        assert name.endswith(last)
    short = Tile(tile().pixels, "a, b.jpg", FIVE, None)
    assert "a, b.jpg" in words(sheet([short]))


def test_notes_stand_below_the_title() -> None:
    figure = sheet([tile()] * 4, "Four", ["One note.", "", "Another."])
    said = [text.get_text() for text in figure.texts]
    assert said[:2] == ["Four", "One note. Another."]


def test_four_photos_stand_in_a_row_and_do_not_touch() -> None:
    figure = sheet([tile(channels=1 + 2 * (n % 2)) for n in range(6)], title="Six photos")
    photos = [axes.get_position() for axes in figure.axes if axes.images]
    assert [round(box.x0, 3) for box in photos[:2]] == [round(b.x0, 3) for b in photos[4:6]]
    assert len({round(box.y0, 3) for box in photos}) == 2
    assert not any(one.overlaps(two) for one in photos for two in photos if one is not two)
    assert len(sheet([tile()] * 2).axes) == 4
    assert sheet([tile()] * 2).get_figwidth() < figure.get_figwidth()


def test_the_largest_sheet_can_be_drawn_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    named = Tile(tile().pixels, "", FIVE, None, "photo.jpg")
    [file] = save(sheet([named] * MOST_ROWS, "title", columns=1), tmp_path / "large.png")
    assert Image.open(file).size[1] > MOST_ROWS * 3 * 200
    with pytest.raises(UserError, match=f"{4 * MOST_ROWS + 1} photos don't fit .*{4 * MOST_ROWS}:"):
        sheet([tile()] * (4 * MOST_ROWS + 1))


def test_png_has_200_dots_per_inch_svg_holds_text_and_both_are_the_same_each_time(
    tmp_path: Path,
) -> None:
    files = save(sheet([tile()]), tmp_path / "new" / "sheet")
    assert [file.name for file in files] == ["sheet.png", "sheet.svg"]
    with Image.open(files[0]) as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert image.size[0] == round(200 * sheet([tile()]).get_figwidth())
    drawing = ElementTree.parse(files[1]).iter("{http://www.w3.org/2000/svg}text")
    assert "✓ tulip" in ["".join(element.itertext()) for element in drawing]
    before = [file.read_bytes() for file in files]
    save(sheet([tile()]), tmp_path / "new" / "sheet")
    assert [file.read_bytes() for file in files] == before
    assert sorted(file.name for file in files[0].parent.iterdir()) == ["sheet.png", "sheet.svg"]


def test_what_cannot_be_written_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sheet\.pdf: pictures are written as \.png or \.svg"):
        save(sheet([tile()]), tmp_path / "sheet.pdf")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write .*file/sheet\.png"):
        save(sheet([tile()]), tmp_path / "file" / "sheet.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(UserError, match=r"taken\.png is a folder"):
        save(sheet([tile()]), tmp_path / "taken.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.png"]


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_a_picture_is_written_over_and_a_photo_never(tmp_path: Path, ending: str) -> None:
    own, photo = tmp_path / f"own{ending}", tmp_path / f"photo{ending}"
    save(sheet([tile()]), own)
    check_places([own])
    save(sheet([tile()]), own)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(photo, "PNG")
    before = photo.read_bytes()
    for write in (lambda: check_places([photo]), lambda: save(sheet([tile()]), photo)):
        with pytest.raises(UserError, match="is there, and no picture of alexnet_exp"):
            write()
    assert photo.read_bytes() == before


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "new" / "a.png", Path("/proc/a.png")):
        with pytest.raises(UserError, match=r"can't write .*a\.png"):
            check_places([place])
    check_places([tmp_path / "new" / "folder" / "a.png"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
