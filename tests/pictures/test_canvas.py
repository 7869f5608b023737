"""Lines of text: where they break, what is cut, and how much room they take."""

from itertools import pairwise

import pytest
from matplotlib.text import Text

from alexnet_exp.pictures.canvas import (
    MARGIN,
    SMALL,
    Head,
    broken,
    cut_name,
    new_figure,
    shortened,
    styled,
    trained_on,
    write,
)


def inches(line: str, size: float = SMALL) -> float:
    """As matplotlib draws it."""
    with styled():
        figure = new_figure(20, 1)
        write(figure, 0, 0, line, size)
        [text] = figure.findobj(Text)
        return text.get_window_extent().width / figure.dpi


def test_text_breaks_between_words_and_only_where_the_next_does_not_fit() -> None:
    text = "tench, one of the test photos of some flowers, whose data have a long name, in lines"
    lines = broken(text, 1.5, SMALL)
    assert " ".join(lines) == text
    assert len(lines) > 2
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        assert inches(line) <= 1.51
        if following is not None:
            assert inches(f"{line} {following.split()[0]}") > 1.49
    assert broken("tench, Tinca tinca", 1.5, SMALL) == ["tench, Tinca tinca"]
    assert broken("", 1.5, SMALL) == []
    assert broken("12 % of 64 x 64", 0.01 + inches("of 64 x 64"), SMALL) == ["12 % of", "64 x 64"]
    assert broken("a\nb  c", 9, SMALL) == ["a\\nb  c"]


def test_a_word_that_is_too_long_and_a_file_name_keep_both_ends() -> None:
    path = "runs/flowers/ablations/baseline/seed_0/2026-11-29_22-20-56.ckpt"
    [line, cut] = broken(f"network: {path}", 1.5, SMALL)
    assert line == "network:"
    assert cut == cut_name(path, 1.5, SMALL)
    first, last = cut.split("…")
    assert path.startswith(first)
    assert path.endswith(last)
    assert 1.35 < inches(cut) <= 1.51
    assert len(last) > len(first) > 2
    assert cut_name("a, b, c.jpg", 1.5, SMALL) == "a, b, c.jpg"


def test_only_names_of_classes_have_synonyms() -> None:
    name = "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias"
    assert shortened([name], 1.2, SMALL) == ["great white shark"]
    assert cut_name(name, 1.2, SMALL).endswith("carcharias")


@pytest.mark.parametrize("title", ["Short", "Those test photos, of all there are, that excite it"])
def test_what_follows_a_head_is_below_all_that_it_says(title: str) -> None:
    with styled():
        head = Head(2.5, title, "How to read it, which takes more than one line.", "", "And more.")
        figure = new_figure(2.5, MARGIN + head.height)
        head.write(figure)
    boxes = [text.get_window_extent() for text in figure.texts]
    assert min(box.y0 for box in boxes) >= 0.05 * figure.dpi
    assert max(box.x1 for box in boxes) <= (2.5 - MARGIN + 0.02) * figure.dpi
    for one, following in pairwise(boxes):
        assert following.y1 <= one.y0 + 1
    said = " ".join(text.get_text() for text in figure.texts)
    assert said == f"{title} How to read it, which takes more than one line. And more."
    assert Head(2.5, "").height == 0


def test_a_network_of_drawn_images_is_said_to_be_one() -> None:
    assert trained_on("synthetic") == "Trained on drawn images, not on photos."
    assert trained_on("flowers") == ""


def test_names_with_one_beginning_stay_apart() -> None:
    names = [f"Yorkshire terrier with a long tail, number {number}" for number in range(3)]
    with styled():
        found = shortened(names, 1.2, SMALL)
    assert len({*found}) == 3
    assert all(text.endswith(f"{number}") for number, text in enumerate(found))
