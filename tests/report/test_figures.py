"""Figures show the values of the report, and their SVGs can stand in one page."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from alexnet_exp.report import curves
from alexnet_exp.report.claims import Metric
from alexnet_exp.report.curves import activation_cells, figures
from alexnet_exp.report.drawing import Figure
from alexnet_exp.report.findings import Verdict
from alexnet_exp.report.forest import MARKS, differences
from tests.report import drawn_report as drawn

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def big() -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(drawn.big())}


def texts(drawing: str) -> list[str]:
    return ["".join(e.itertext()) for e in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def test_forest_plot_names_every_difference_and_its_interval(big: dict[str, Figure]) -> None:
    shown = texts(big["differences-top1"].svg)
    for finding in drawn.big().findings:
        if finding.claim.kind not in ("experiment", "views") or finding.not_applicable:
            continue
        if finding.claim.metric is not Metric.top1 or finding.difference is None:
            continue
        ends = (finding.difference, finding.low, finding.high)
        middle, low, high = (f"{100 * end:+.1f}".replace("-", "\N{MINUS SIGN}") for end in ends)
        assert f"{middle} [{low}, {high}]" in shown
    assert sum(text.startswith("+1.4 [") for text in shown) == 1


def test_marks_stand_where_the_axis_says() -> None:
    report = drawn.small()
    forest = differences(report, Metric.top1)
    root = ElementTree.fromstring(forest.svg)
    ticks = {}
    for text in root.iter(f"{SVG}text"):
        label = "".join(text.itertext()).replace("\N{MINUS SIGN}", "-")
        if re.fullmatch(r"[+-]\d(\.\d)?|0", label) and "middle" in text.get("style", ""):
            ticks[float(label)] = float(text.get("x", "nan"))
    per_point = (ticks[2] - ticks[0]) / 2
    expected = ticks[0] + per_point * 100 * report.findings[0].difference
    published = ticks[0] + per_point * 1.37
    places = [float(use.get("x", "nan")) for use in root.iter(f"{SVG}use")]
    assert min(abs(x - expected) for x in places) < 0.02
    assert min(abs(x - published) for x in places) < 0.02


@pytest.mark.parametrize("drawing", ["svg", "narrow_svg"])
def test_each_idea_has_one_line_the_largest_first(big: dict[str, Figure], drawing: str) -> None:
    found = drawn.big().findings
    rows = [f for f in found if f.claim.metric is Metric.top1 and f.claim.kind != "level"]
    names = {f.claim.idea.split(" (")[0] for f in rows}
    root = ElementTree.fromstring(getattr(big["differences-top1"], drawing))
    heights = [
        (float(text.get("y", "nan")), label)
        for text in root.iter(f"{SVG}text")
        for label in ["".join(text.itertext()).split(" (")[0]]
        if label in names
    ]
    assert [label for _, label in sorted(heights)] == [label for _, label in heights]
    expected = [f.claim.idea.split(" (")[0] for f in sorted(rows, key=lambda f: -f.difference)]
    shown = [label for _, label in heights]
    whole = [name for name in expected if name in shown]  # others are broken into two lines
    assert shown == whole
    assert len(whole) >= len(rows) - 3


def test_the_legend_names_each_verdict_and_no_other() -> None:
    shown = texts(differences(drawn.smaller(), Metric.top1).svg)
    verdicts = {"helps", "hurts", "no effect as large as published", "not resolved"}
    assert verdicts & {*shown} == {"helps", "no effect as large as published"}
    assert "published" in shown
    assert MARKS[Verdict.below_margin] == MARKS[Verdict.no_effect]


@pytest.mark.parametrize(("drawing", "widest"), [("svg", 3), ("narrow_svg", 1)])
def test_the_legend_stands_above_all_rows_and_long_names_beside_short_ones(drawing, widest) -> None:
    """Two of the long ones in a line are wider than a phone."""
    verdicts = [verdict for verdict in Verdict if verdict in MARKS]
    names = ("no_lrn", "no_conv2", "no_conv3", "no_conv4", "no_conv5")
    found = [
        drawn.finding(f"{name}/top1", 0.01, verdict=verdict, context=context)
        for context in ("", "model=small")
        for name, verdict in zip(names, verdicts, strict=True)
    ]
    report = replace(drawn.small(), findings=tuple(found))
    root = ElementTree.fromstring(getattr(differences(report, Metric.top1), drawing))
    heights = {
        "".join(text.itertext()): float(text.get("y", "nan")) for text in root.iter(f"{SVG}text")
    }
    legend = [heights[name] for name in (*verdicts, "published")]
    assert max(legend.count(height) for height in legend) <= widest
    assert max(legend) + 10 < heights["flowers"], "points; its letters are 9 high"


def test_one_seed_has_a_point_without_a_bar() -> None:
    for seeds, bars in ((5, 1), (1, 0)):
        forest = differences(drawn.small(seeds), Metric.top1)
        assert ("one seed" in forest.caption) == (seeds == 1)
        assert forest.svg.count("stroke-width: 1.6") == bars


@pytest.mark.parametrize("drawing", ["svg", "narrow_svg"])
def test_what_lies_beyond_the_axis_is_an_arrow_with_its_value(
    big: dict[str, Figure], drawing: str
) -> None:
    shown = texts(getattr(big["differences-top1"], drawing))
    ticks = [int(text) for text in shown if re.fullmatch(r"\+\d+", text)]
    assert max(ticks) < 15  # no crops and no mirror images cost 22 points
    assert "+22.0" in shown
    far = drawn.finding("tanh/top1", 0.003)  # published +7.0
    plain = ("no_dropout/top1", "no_crops/top1", "no_crops_flips/top1")
    near = tuple(drawn.finding(name, 0.004, 0.002) for name in plain)
    report = replace(drawn.small(), findings=(far, *near))
    figure = differences(report, Metric.top1)
    assert "\N{WHITE DIAMOND} +7.0" in texts(getattr(figure, drawing))
    assert "An arrow stands for" in figure.caption
    assert "An arrow" not in differences(drawn.small(), Metric.top1).caption


@pytest.mark.parametrize("drawing", ["svg", "narrow_svg"])
def test_the_axis_reaches_what_lies_near_and_no_label_stands_over_a_mark(drawing: str) -> None:
    plain = ("no_crops", "no_lrn", "no_norm2", "no_color_noise", "no_tower_communication")
    rows = [drawn.finding(f"{name}/top1", 0.01, 0.002) for name in plain]
    wide = drawn.finding("no_dropout/top1", -0.017, 0.08)
    far = drawn.finding("no_conv3/top1", -0.041, 0.012)
    report = replace(drawn.small(), findings=(*rows, wide, far))
    root = ElementTree.fromstring(getattr(differences(report, Metric.top1), drawing))
    labels = {"".join(text.itertext()): text for text in root.iter(f"{SVG}text")}
    assert "\N{MINUS SIGN}9.7" in labels
    assert "\N{MINUS SIGN}5.3" not in labels, "more than four times the usual, but near"
    label = labels["\N{MINUS SIGN}9.7"]
    end, foot = (float(label.get(axis, "nan")) for axis in "xy")
    marks = [[float(use.get(axis, "nan")) for axis in "xy"] for use in root.iter(f"{SVG}use")]
    assert "text-anchor: end" in label.get("style", "")
    assert end < min(x for x, y in marks if abs(y - foot) < 5), "of its own row"


def test_names_are_drawn_as_they_are() -> None:
    name = "optim.lr=0.00125, a$\\frac{<b>&"
    odd = replace(drawn.finding("no_lrn/top1", 0.01), context=name)
    report = replace(drawn.small(), findings=(*drawn.small().findings, odd))
    assert f"flowers, {name}" in texts(differences(report, Metric.top1).svg)


def test_learning_curves_have_a_panel_for_each_changed_network(big: dict[str, Figure]) -> None:
    shown = texts(big["curves-0"].svg)
    assert [name for name in shown if name in drawn.CHANGES] == list(drawn.CHANGES)
    assert "baseline" not in shown


def test_activations_are_drawn_when_tanh_or_the_logistic_was_run(big: dict[str, Figure]) -> None:
    assert {"ReLU", "tanh", "logistic", "25 %"} <= set(texts(big["activations-0"].svg))
    assert activation_cells(drawn.small()) == {}


@pytest.mark.parametrize("first", [0, 1])
def test_activations_show_the_fastest_learning_rate(first: int) -> None:
    rates = []
    # An epoch without a row chooses nothing.
    for rate, curve in ((0.1, (0.9, 0.8, float("nan"))), (0.01, (0.9, 0.7, 0.6))):
        tanh = drawn.cell("tanh", 0, 1, words=(f"optim.lr={rate}",))
        rates.append(replace(tanh, runs={0: replace(tanh.first, train_curve=curve)}))
    cells = (drawn.cell("sigmoid", 2), rates[first], drawn.cell("baseline", 1), rates[1 - first])
    (found,) = activation_cells(drawn.nothing(*cells)).values()
    assert [cell.experiment for cell in found] == ["baseline", "tanh", "sigmoid"]
    assert found[1].context == "optim.lr=0.01"


def test_the_same_report_gives_the_same_figures() -> None:
    report = drawn.small()
    assert differences(report, Metric.top1) == differences(report, Metric.top1)


def test_a_long_sweep_says_how_many_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MOST", 2)
    cells = [drawn.cell("baseline", 0, 1, 3, words=(f"optim.lr=0.{i}",)) for i in range(5)]
    figure = curves.learning_curves(drawn.nothing(*cells), "flowers", 0)
    assert texts(figure.svg).count("baseline") == 2
    assert figure.caption.endswith("3 more are not drawn.")
