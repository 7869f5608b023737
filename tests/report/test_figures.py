"""Figures show the values of the report, and their SVGs can stand in one page."""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure as Canvas

from alexnet_exp.report import curves, svg
from alexnet_exp.report.curves import activation_groups
from alexnet_exp.report.figures import figures
from alexnet_exp.report.findings import Metric, Report
from alexnet_exp.report.forest import differences
from alexnet_exp.report.svg import Figure
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
    assert forest is not None
    root = ElementTree.fromstring(forest.svg)
    ticks = {}
    for text in root.iter(f"{SVG}text"):
        label = "".join(text.itertext()).replace("\N{MINUS SIGN}", "-")
        if re.fullmatch(r"[+-]\d(\.\d)?|0", label) and "middle" in text.get("style", ""):
            ticks[float(label)] = float(text.get("x", "nan"))
    per_point = (ticks[2] - ticks[-2]) / 4
    expected = ticks[0] + per_point * 100 * report.findings[0].difference
    published = ticks[0] + per_point * 1.37
    places = [float(use.get("x", "nan")) for use in root.iter(f"{SVG}use")]
    assert min(abs(x - expected) for x in places) < 0.02
    assert min(abs(x - published) for x in places) < 0.02


def test_forest_plot_says_which_are_smaller() -> None:
    forest = differences(drawn.smaller(), Metric.top1)
    assert forest is not None
    assert texts(forest.svg).count("smaller than published") == 2
    assert "+0.4 [+0.3, +0.5], smaller" in texts(forest.narrow_svg)
    assert "leaves out the published size" in forest.caption
    plain = differences(drawn.small(), Metric.top1)
    assert plain is not None
    assert "smaller" not in plain.caption + plain.svg


def test_epochs_without_a_row_leave_a_gap() -> None:
    groups = tuple(
        replace(
            group,
            train_curves=tuple(
                (curve[0], float("nan"), *curve[2:]) for curve in group.train_curves
            ),
        )
        for group in drawn.small().groups
    )
    figure = curves.learning_curves(replace(drawn.small(), groups=groups), "flowers", 0)
    assert figure is not None
    assert "nan" not in figure.svg.lower()


def test_one_seed_has_a_point_without_a_bar() -> None:
    def bars(report: Report) -> int:
        forest = differences(report, Metric.top1)
        assert forest is not None
        assert ("one seed" in forest.caption) == (len(report.groups[0].seeds) == 1)
        return forest.svg.count("stroke-width: 1.6")

    assert bars(drawn.small(5)) == 1
    assert bars(drawn.small(1)) == 0


def test_a_far_row_does_not_squeeze_the_others(big: dict[str, Figure]) -> None:
    ticks = [text for text in texts(big["differences-top1"].svg) if re.fullmatch(r"\+\d+", text)]
    assert max(map(int, ticks)) < 15  # the logistic costs 22 points


def test_learning_curves_have_a_panel_for_each_changed_network(big: dict[str, Figure]) -> None:
    shown = texts(big["curves-0"].svg)
    assert [name for name in shown if name in drawn.CHANGES] == list(drawn.CHANGES)
    assert "baseline" not in shown


def test_activations_are_drawn_when_tanh_or_the_logistic_was_run(big: dict[str, Figure]) -> None:
    assert {"ReLU", "tanh", "logistic", "25 %"} <= set(texts(big["activations-0"].svg))
    assert activation_groups(drawn.small()) == {}


def test_activations_show_the_fastest_learning_rate() -> None:
    report = drawn.big()
    tanh = next(group for group in report.groups if group.experiment == "tanh")
    slow = tuple(tuple(0.9 for _ in curve) for curve in tanh.train_curves)
    rates = (
        replace(tanh, context="optim.lr=0.1", train_curves=slow),
        replace(tanh, context="optim.lr=0.01"),
    )
    others = tuple(group for group in report.groups if group.experiment in ("baseline", "sigmoid"))
    found = activation_groups(replace(report, groups=others + rates, findings=()))
    assert list(found) == ["flowers"]
    assert [group.experiment for group in found["flowers"]] == ["baseline", "tanh", "sigmoid"]
    assert found["flowers"][1].context == "optim.lr=0.01"


@pytest.mark.parametrize("first", [0, 1])
def test_an_epoch_without_a_row_does_not_choose_the_learning_rate(first: int) -> None:
    report = drawn.big()
    base, tanh = (
        next(group for group in report.groups if group.experiment == name)
        for name in ("baseline", "tanh")
    )
    rates = [
        replace(tanh, context="optim.lr=0.1", train_curves=((0.9, 0.8, float("nan")),)),
        replace(tanh, context="optim.lr=0.01", train_curves=((0.9, 0.7, 0.6),)),
    ]
    groups = (base, rates[first], rates[1 - first])
    (found,) = activation_groups(replace(report, groups=groups, findings=())).values()
    assert found[1].context == "optim.lr=0.01"


@pytest.mark.parametrize("width", [svg.WIDE, svg.NARROW])
def test_the_legend_of_the_activations_covers_no_curve(
    width: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(*arguments: Any) -> Any:
        drawings.append(arguments[-1](width))
        return real(*arguments)

    drawings: list[Canvas] = []
    real = curves.draw_both
    monkeypatch.setattr(curves, "draw_both", kept)
    groups = [
        replace(group, context="optim.lr=0.0003")
        for group in drawn.big().groups
        if group.experiment in curves.ACTIVATIONS
    ]
    curves.activations("flowers", groups, 0)
    (canvas,) = drawings
    canvas.draw_without_rendering()
    (legend,) = canvas.legends
    box = legend.get_window_extent()
    assert not box.overlaps(canvas.axes[0].get_window_extent())
    assert 0 <= box.x0 < box.x1 <= canvas.bbox.x1
    assert 0 <= box.y0 < box.y1 <= canvas.bbox.y1


def test_throughput_shows_the_mean_over_seeds(big: dict[str, Figure]) -> None:
    shown = texts(big["throughput"].svg)
    for group in drawn.big().groups:
        mean = sum(group.images_per_second) / len(group.images_per_second)
        assert f"{mean:,.0f}" in shown


def test_figures_without_data_are_left_out() -> None:
    assert figures(drawn.nothing()) == []
    no_curves = tuple(
        replace(group, train_curves=((),) * 5, val_curves=((),) * 5, images_per_second=())
        for group in drawn.small().groups
    )
    assert [f.name for f in figures(replace(drawn.small(), groups=no_curves))] == [
        "differences-top1"
    ]


def test_ids_do_not_clash_and_all_references_are_met(big: dict[str, Figure]) -> None:
    drawings = [one for figure in big.values() for one in (figure.svg, figure.narrow_svg)]
    ids = [i for one in drawings for i in re.findall(r'\bid="([^"]+)"', one)]
    assert len(ids) == len(set(ids))
    for one in drawings:
        own = set(re.findall(r'\bid="([^"]+)"', one))
        assert set(re.findall(r"url\(#([^)]+)\)", one)) <= own
        assert set(re.findall(r'href="#([^"]+)"', one)) <= own
        assert "<style" not in one  # it would reach beyond the figure


def test_the_same_report_gives_the_same_figures() -> None:
    report = drawn.small()
    assert differences(report, Metric.top1) == differences(report, Metric.top1)


def test_a_long_sweep_says_how_many_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MOST", 2)
    monkeypatch.setattr(svg, "MOST", 2)
    groups = tuple(
        replace(drawn.group("baseline", 0, 1, 3), context=f"optim.lr=0.{i}") for i in range(5)
    )
    figure = curves.learning_curves(replace(drawn.nothing(), groups=groups), "flowers", 0)
    assert figure is not None
    assert texts(figure.svg).count("baseline") == 2
    assert figure.caption.endswith("3 more are not drawn.")
