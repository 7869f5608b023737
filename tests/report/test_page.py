"""The page shows the report, is one file, and holds in any browser what was put into it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

import pytest

from alexnet_exp.report.costs import commands
from alexnet_exp.report.documents import write_page
from alexnet_exp.report.findings import Report
from tests.report import drawn_report as drawn

VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """Text by element, every attribute, and whether elements are closed in order."""

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
        if tag in ("p", "h1", "h2", "h3", "code", "li"):
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


def html(report: Report, folder: Path) -> str:
    write_page(report, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html(drawn.big(), tmp_path_factory.mktemp("big"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html(drawn.drawn(), tmp_path_factory.mktemp("odd"))


def test_every_claim_stands_beside_its_published_figure_interval_and_verdict(big: str) -> None:
    rows = {row[0]: row for row in Page(big).cells}
    for finding in drawn.big().findings[:17]:
        claim = finding.claim
        _, published, measured, outcome = rows[claim.change + claim.factor]
        assert published.startswith(claim.figure_text)
        ends = [f"{100 * end:+.1f}" for end in (finding.difference, finding.low, finding.high)]
        expected = f"{ends[0]} points [{ends[1]}, {ends[2]}]".replace("-", "\N{MINUS SIGN}")
        assert measured.startswith(expected)
        assert ("p = 0.037 (Holm)" in measured) == claim.judged
        assert finding.verdict.value in outcome
        assert finding.note in outcome
    ratio = rows["tanh for ReLU, epochsactivation"]
    assert ratio[2].startswith("5.8 times [4.9, 6.7]")
    level = rows["AlexNet, 2012level"]
    assert level[1].startswith("40.7 %")
    assert level[2].startswith("13.4 % [12.2, 14.6]")


def test_the_first_paragraph_counts_and_what_was_not_run_takes_no_rows(big: str) -> None:
    page = Page(big)
    first = page.text["p"][0]
    assert "19 claims" in first
    tally = "10 reproduced, 1 contradicted, 4 not resolved, 4 not judged, 2 not run"
    assert f"{tally}, 2 not applicable" in first
    assert (
        "one-GPU network, top-5; towers meet at the output, top-5 (no such run)" in page.text["li"]
    )
    assert not [row for row in page.cells if "top-5" in row[0]]


def test_runs_begin_with_the_baseline_and_show_their_cost(big: str) -> None:
    rows = [row for row in Page(big).cells if len(row) == 10]
    assert [row[0] for row in rows] == ["experiment", "baseline", *drawn.CHANGES, "sigmoid"]
    cell = drawn.big().cells[-1]
    errors = [run.top1_error for run in cell.runs.values()]
    speed = sum(cell.each("images_per_second")) / 5
    assert rows[1][1:4] == ["5", f"{100 * fmean(errors):.1f} %", f"{100 * stdev(errors):.1f}"]
    assert rows[1][5:] == ["n/a", "60", f"{speed:,.0f}", "1.5 h", "3.3"]


def test_the_spread_of_the_baseline_comes_before_the_table_of_runs(big: str) -> None:
    baseline = drawn.big().cells[-1]
    each = ", ".join(f"{100 * run.top1_error:.1f}" for run in baseline.runs.values())
    sentence = next(text for text in Page(big).text["p"] if text.startswith("baseline on flowers"))
    assert f"seeds 0, 1, 2, 3, 4: {each} %." in sentence
    assert big.index(sentence) < big.index('<table class="runs">')


def test_nothing_is_fetched_and_ids_are_unique(big: str, odd: str) -> None:
    for page in (big, odd):
        attributes = Page(page).attributes
        ids = [value for _, name, value in attributes if name == "id"]
        assert len(ids) == len(set(ids)) > 5
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
    assert "<b>" not in odd
    page = Page(odd)
    assert "synthetic, drawn images, optim.nesterov=<true>&|x|" in page.text["h3"]
    assert "a <b> & c: `model.width` differs" in page.text["li"]


def test_commands_can_be_copied(big: str) -> None:
    shown = Page(big).text["code"]
    for command in (*commands(drawn.big()), *(row.command for row in drawn.big().findings[:19])):
        assert command in shown
    assert len(shown) == len(set(shown))


def test_drawn_images_carry_a_banner(big: str, odd: str, tmp_path: Path) -> None:
    says = "saw images drawn by the program, not photos: they say nothing about photos."
    assert f"These runs {says}" in Page(odd).text["p"][0]
    assert says not in big
    photos, synthetic = drawn.small(), drawn.drawn()
    mixed = replace(photos, cells=photos.cells + synthetic.cells[:1], findings=())
    assert f"The runs on synthetic {says}" in Page(html(mixed, tmp_path)).text["p"][0]


def test_a_report_without_runs_says_so(tmp_path: Path) -> None:
    page = Page(html(drawn.nothing(), tmp_path))
    assert "svg" not in {tag for tag, _, _ in page.attributes}
    assert page.text["p"][0] == "None of 16 claims was run: no finished runs found."
    assert page.cells == []
