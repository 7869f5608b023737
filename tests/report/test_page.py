"""The page shows the report, is one file, and holds in any browser what was put into it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

import pytest

from alexnet_exp.report import costs, wording
from alexnet_exp.report.documents import write_markdown, write_page
from alexnet_exp.report.findings import Report, Verdict
from alexnet_exp.runs.results import Replicate
from tests.report import drawn_report as drawn

VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """Text by element, rows of claims, every attribute; whether elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.cells: list[list[str]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag in ("p", "h1", "h2", "h3", "code", "li", "summary", "dl"):
            self.text.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data
        for tag in set(self.open) & set(self.text):
            self.text[tag][-1] += data

    def rows(self) -> dict[str, tuple[list[str], str]]:
        """By idea: lines (published, measured, interval, verdict, beside it) and details."""
        folded = self.text["summary"][: len(self.text["dl"])]
        lines = [[line.strip() for line in text.split("\n") if line.strip()] for text in folded]
        return {
            name: (rest, details)
            for (name, *rest), details in zip(lines, self.text["dl"], strict=True)
        }


def markdown(report: Report, folder: Path) -> str:
    write_markdown(report, folder / "report.md")
    return (folder / "report.md").read_text(encoding="utf-8")


def html(report: Report, folder: Path) -> str:
    write_page(report, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html(drawn.big(), tmp_path_factory.mktemp("big"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html(drawn.drawn(), tmp_path_factory.mktemp("odd"))


def signed(points: float) -> str:
    return f"{100 * points:+.1f}".replace("-", "\N{MINUS SIGN}")


def test_every_idea_has_one_row_of_three_numbers_and_a_verdict_and_unfolds(big: str) -> None:
    rows = Page(big).rows()
    for finding in drawn.big().findings[:18]:
        claim = finding.claim
        (published, measured, interval, verdict, *beside), details = rows[claim.idea]
        assert beside == [part.value for part in finding.comparison]
        assert published == claim.figure_text.replace("-", "\N{MINUS SIGN}")
        assert measured == signed(finding.difference)
        assert interval == f"[{signed(finding.low)}, {signed(finding.high)}]"
        assert verdict.split(" ", 1)[1] == finding.verdict.value
        for part in (claim.source, claim.change, "p = 0.037", "5 seeds; 734 test images"):
            assert part in details
        assert finding.note.replace("-0", "\N{MINUS SIGN}0") in details
    assert rows["ReLU (epochs)"][0][:3] == ["about 6 times", "5.8 times", "[4.9, 6.7]"]
    assert rows["AlexNet, 2012"][0][:2] == ["40.7 %", "13.4 %"]
    assert len(rows) == 20


def test_rows_stand_in_the_order_of_the_picture(big: str) -> None:
    found = [f for f in drawn.big().findings[:18] if f.difference is not None]
    expected = [f.claim.idea for f in sorted(found, key=lambda f: -f.difference)]
    assert list(Page(big).rows()) == [*expected, "ReLU (epochs)", "AlexNet, 2012"]


def test_the_page_opens_with_the_finding_what_it_rests_on_and_the_picture(big: str) -> None:
    page = Page(big)
    first, second = page.text["p"][:2]
    assert first.startswith(
        "Of 19 ideas 12 have an answer on flowers (photos, 5 seeds): crops and mirror images, "
    )
    assert "; color noise and LRN after conv2 hurt. Not resolved: dropout, " in first
    assert first.endswith(" AlexNet, 2012: error reproduced.")
    assert second == (
        "flowers: photos of 5 classes; 3,100 to train on, 430 to choose the epoch, 734 to test;"
        " seeds 0 to 4; network paper of width 1.0; recipe flowers; ten views."
    )
    assert big.index(second) < big.index("<svg") < big.index("<h2")


def test_what_was_not_run_takes_no_row(big: str) -> None:
    page = Page(big)
    assert "two towers (top-5); tower communication (top-5): no such run" in page.text["li"]
    assert not [idea for idea in page.rows() if "top-5" in idea]
    assert "Not run: 2 claims" in page.text["summary"]


def test_the_margin_is_told_where_a_verdict_rests_on_it(big: str, tmp_path: Path) -> None:
    small = drawn.finding("no_dropout/top1", 0.002, verdict=Verdict.below_margin, margin=0.03)
    report = replace(drawn.small(), findings=(small,))
    page, text = Page(html(report, tmp_path)), markdown(report, tmp_path)
    ends = ": no effect as large as the margin of 3 points: dropout."
    note = "The margin is 3 points, as the runs recorded it before they began."
    assert page.text["p"][0].endswith(ends)
    assert note in page.text["p"]
    assert (ends in text, note in text, "The margin is" in big) == (True, True, False)


def test_ideas_without_an_answer_are_counted_and_one_alone_is_named() -> None:
    found = [drawn.finding(f"{name}/top1", 0.001, 0.03) for name in ("no_lrn", "no_conv2")]
    for findings, whom in ((found, "any of 2 ideas"), (found[:1], "LRN")):
        (said,) = wording.answers(replace(drawn.small(), findings=tuple(findings)))
        assert said == f"No answer yet on flowers (photos, 5 seeds) for {whom}."


def test_that_points_are_a_convention_is_said_once(big: str) -> None:
    assert big.count("1,000 classes") == 1
    (flowers,) = drawn.small().findings
    small = drawn.PUBLISHED["no_lrn_cifar10/top1"]  # measured there
    there = replace(flowers, data="imagenet"), replace(flowers, data="cifar10", claim=small)
    assert wording.convention(replace(drawn.small(), findings=there)) == ""
    every = replace(drawn.small(), findings=(*there, flowers))
    assert "Beside points on flowers they are a convention" in wording.convention(every)


def test_folds_are_said_with_their_seeds(tmp_path: Path) -> None:
    ten = tuple(Replicate(seed % 5, seed) for seed in range(10))
    found = replace(drawn.finding("no_lrn/top1", 0.0142), replicates=ten, resampled=(-0.01, 0.038))
    cells = drawn.small().cells
    for cell in cells:
        cell.runs = {one: replace(cell.first, replicate=one) for one in ten}
        cell.fields["data.folds"] = 5
    page = Page(html(replace(drawn.small(), findings=(found,), cells=cells), tmp_path))
    first, second = page.text["p"][:2]
    assert first == "Of 1 idea 1 has an answer on flowers (photos, 5 folds of 2 seeds): LRN helps."
    assert second.startswith("flowers: photos of 5 classes; 3,670 tested, each once, in 5 folds;")
    assert "in each; seeds 0 to 9;" in second
    assert f"over folds by Nadeau and Bengio [{signed(-0.01)}, +3.8]" in page.rows()["LRN"][1]


def test_runs_begin_with_the_baseline(big: str) -> None:
    heading, baseline, *rest = [row for row in Page(big).cells if len(row) == 7]
    assert [row[0] for row in rest] == [*drawn.CHANGES, "sigmoid"]
    cell = drawn.big().cells[-1]
    errors = [run.top1_error for run in cell.runs.values()]
    expected = ["baseline", "5", f"{100 * fmean(errors):.1f} %", f"{100 * stdev(errors):.1f}"]
    assert baseline[:4] == expected
    assert baseline[5:] == ["60", "3.3"]
    assert "top-5 error" not in heading  # which five classes have not
    assert "images/s" not in heading


@pytest.mark.parametrize(
    ("loads", "shown"),
    [((0.1, 0.1), True), ((0.1, 0.3), True), ((0.1, 0.9), False), ((0.1, None), False)],
)
def test_speeds_are_compared_beside_equal_loads_alone(tmp_path: Path, loads, shown: bool) -> None:
    report = drawn.small()
    for cell, load, speed in zip(report.cells, loads, (1111, 1333), strict=True):
        for seed, run in enumerate(cell.runs.values()):
            run.result.update(other_load=load, images_per_second=speed + 1.0 * seed)
    page = Page(html(report, tmp_path))
    heading, *rows = page.cells
    assert ("images/s" in heading, "training" in heading) == (shown, shown)
    assert ("1.5 h" in rows[0]) == shown
    speeds = [[row[i] for i, title in enumerate(heading) if title == "images/s"] for row in rows]
    assert speeds == ([["1,113"], ["1,335"]] if shown else [[], []])  # of five seeds
    text = html(report, tmp_path) + markdown(report, tmp_path)
    assert text.count("1,113") == text.count("1,335") == 2 * shown
    said = [text for text in page.text["p"] if "training time are left out" in text]
    assert len(said) == (not shown)


def test_nothing_is_fetched_and_ids_are_unique(big: str, odd: str) -> None:
    for page in (big, odd):
        attributes = Page(page).attributes
        ids = [value for _, name, value in attributes if name == "id"]
        assert len(ids) == len(set(ids)) > 3
        for _, name, value in attributes:
            if name in ("src", "href", "action", "data", "srcset", "poster"):
                assert value[:1] == "#"
                assert value[1:] in ids
        assert "<script" not in page
        assert page.count("<style") == 1  # one in a figure would reach beyond it
        assert "@import" not in page
        assert {inner.removeprefix("#") for inner in re.findall(r"url\(([^)]*)\)", page)} <= {*ids}


def test_what_comes_from_runs_is_escaped(odd: str) -> None:
    assert "<true>" not in odd
    assert "a <b>" not in odd
    page = Page(odd)
    assert "synthetic, drawn images, optim.nesterov=<true>&|x|" in page.text["h3"]
    assert "a <b> & c: `model.width` differs" in page.text["li"]


def test_one_command_repeats_a_sweep(big: str) -> None:
    shown = Page(big).text["code"]
    names = ",".join(("baseline", *drawn.CHANGES, "sigmoid"))
    repeats = f"python -m alexnet_exp.train -m data=flowers +experiment={names} seed=0,1,2,3,4"
    lacking = ["run one_gpu/top5", "run towers_meet_last/top5"]
    assert shown == [repeats, *lacking, "runs/ablations"]


def test_commands_that_differ_in_their_experiments_are_one() -> None:
    parts = [("baseline,no_lrn", "0,1"), ("baseline,no_crops", "0,1"), ("no_lrn", "2")]
    lines = [f"train -m a=1 +experiment={names} seed={seeds}" for names, seeds in parts]
    own = "train '+experiment=[no_crops,no_lrn]' seed=0"
    assert costs.merged([lines[0], f"{lines[1]} && {lines[2]}", own]) == [
        "train -m a=1 +experiment=baseline,no_lrn,no_crops seed=0,1", lines[2], own,
    ]  # fmt: skip


def test_drawn_images_carry_a_banner(big: str, odd: str, tmp_path: Path) -> None:
    says = "saw images drawn by the program, not photos: they say nothing about photos."
    assert f"These runs {says}" in Page(odd).text["p"][:4]
    assert says not in big
    photos, synthetic = drawn.small(), drawn.drawn()
    mixed = replace(photos, cells=photos.cells + synthetic.cells[:1], findings=())
    assert f"The runs on synthetic {says}" in Page(html(mixed, tmp_path)).text["p"][:2]


def test_a_report_without_runs_says_so(tmp_path: Path) -> None:
    page = Page(html(drawn.nothing(), tmp_path))
    assert "svg" not in {tag for tag, _, _ in page.attributes}
    assert page.text["p"][0] == "None of 17 claims was run: no finished runs found."
    assert page.cells == []
