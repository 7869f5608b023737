"""Every published figure, against a table that was typed apart from the code."""

import pytest

from alexnet_exp.config import conf_folder
from alexnet_exp.config.changes import factor_fields
from alexnet_exp.report.claims import CLAIMS, Kind, Metric

# Percentage points, top-1 and top-5; None: prose.
DIFFERENCES = {
    "no_lrn": (1.37, 1.15, "ILSVRC-2012 validation, ten views"),
    "non_overlapping_repadded": (0.39, 0.30, "ILSVRC-2012 validation, ten views"),
    "one_gpu": (1.70, 1.23, "ILSVRC-2010 test, ten views"),
    "towers_meet_last": (1.16, 1.12, "ILSVRC-2012 validation, ten views"),
    "no_norm2": (-0.18, -0.09, "ILSVRC-2012 validation, ten views"),
}
MIDDLE = [f"no_conv{number}" for number in (2, 3, 4, 5)]
PROSE = {
    "no_color_noise": "> +1",
    **dict.fromkeys(MIDDLE, "about +2"),
    **dict.fromkeys(("no_dropout", "no_crops_flips"), "substantial overfitting"),
}
# Changes of one thing, and the experiment whose network or augmentation the figure was measured on.
MEASURED_AS = {
    "non_overlapping_pooling": "non_overlapping_repadded",
    "no_tower_communication": "towers_meet_last",
    "no_crops": "no_crops_flips",
    "no_flips": "no_crops_flips",
}
# Error rates of the authors' runs, from the notes of layers/layer-params-<run>.cfg.
RUNS = {
    "145": (0.406640, 0.182100), "147": (0.410580, 0.185100), "148": (0.420340, 0.193620),
    "150": (0.418280, 0.193300), "167": (0.404880, 0.181180),
    "145-2010": (0.374727, 0.169987), "145-half": (0.391680, 0.182287),
}  # fmt: skip
AGAINST_145 = {"147": "non_overlapping_repadded", "148": "no_lrn", "150": "towers_meet_last",
               "167": "no_norm2"}  # fmt: skip
# Percent; None: not published.
LEVELS = {
    "level_2010_ten": (37.5, 17.0),
    "level_2010_center": (39.0, 18.3),
    "sparse_coding_2010": (47.1, 28.2),
    "sift_2010": (45.7, 25.7),
    "level_2012": (40.7, 18.2),
    "five_networks": (38.1, 16.4),
    "five_networks_test": (None, 16.4),
    "pretrained": (39.0, 16.6),
    "seven_networks": (36.7, 15.4),
    "seven_networks_test": (None, 15.3),
    "runner_up_2012": (None, 26.2),
    "fall_2009": (67.4, 40.9),
    "caffenet_notes": (100 - 57.4, 100 - 80.4),
    "torchvision": (100 - 56.522, 100 - 79.066),
    "d2l": (100 - 88.4, None),
}
# Top-1 accuracy of caffenet-benchmark without the change and with it, percent.
BENCHMARK = {
    "no_lrn": (47.0, 47.1),
    "non_overlapping_pooling": (47.1, 48.4),
    "no_norm2": (47.1, 49.3),
    "tanh": (47.1, 40.1),
}

by_name = {claim.name: claim for claim in CLAIMS}


def test_names_are_unique_and_every_claim_says_where_it_was_published() -> None:
    assert len(by_name) == len(CLAIMS)
    assert all(c.source and c.seen and c.data and c.figure_text for c in CLAIMS)
    assert "no figure" not in {claim.figure_text for claim in CLAIMS}
    assert "sigmoid" not in {claim.changed for claim in CLAIMS}, "which nobody published"


def test_differences_are_the_published_ones() -> None:
    for experiment, (top1, top5, data) in DIFFERENCES.items():
        one, five = by_name[f"{experiment}/top1"], by_name[f"{experiment}/top5"]
        assert one.figure == pytest.approx(top1 / 100, abs=1e-9)
        assert five.figure == pytest.approx(top5 / 100, abs=1e-9)
        assert (one.metric, five.metric) == (Metric.top1, Metric.top5)
        for claim in (one, five):
            assert (claim.baseline, claim.changed) == ("baseline", experiment)
            assert claim.data == data
            assert float(claim.figure_text) / 100 == pytest.approx(claim.figure)
            assert claim.sign == (1 if top1 > 0 else -1)


def test_differences_are_those_of_the_authors_notes() -> None:
    pairs = [(run, "145", name) for run, name in AGAINST_145.items()]
    for run, against, name in [*pairs, ("145-half", "145-2010", "one_gpu")]:
        for metric, changed, base in zip(("top1", "top5"), RUNS[run], RUNS[against], strict=True):
            claim = by_name[f"{name}/{metric}"]
            assert claim.figure == pytest.approx(changed - base, abs=5e-5)
            assert f"run {run} against {against}" in claim.source
            assert f"{changed:.6f}"[1:] in claim.seen


def test_a_figure_belongs_to_the_experiment_that_does_all_that_was_measured() -> None:
    for single, whole in MEASURED_AS.items():
        plain, carrier = by_name[f"{single}/top1"], by_name[f"{whole}/top1"]
        assert plain.factor == carrier.factor
        assert (plain.figure, plain.rough, plain.figure_text) == (None, None, "none of its own")
        assert not plain.judged
        assert plain.besides.endswith(f": {whole}")
        assert carrier.judged
        assert set(factor_fields(single)) < set(factor_fields(whole))
        assert f"{single}/top5" not in by_name
    assert {c.changed for c in CLAIMS if not c.judged} == {*MEASURED_AS, "no_norm2"}
    assert "color noise" in by_name["non_overlapping_repadded/top1"].besides
    assert "schedule" in by_name["no_norm2/top5"].besides


def test_views_levels_and_speed_are_the_published_ones() -> None:
    assert by_name["views/top1"].figure == pytest.approx(0.390247 - 0.374727, abs=5e-5)
    assert by_name["views/top5"].figure == pytest.approx(0.182953 - 0.169987, abs=5e-5)
    for name, one, five in (("top1", 40.7, 38.1), ("top5", 18.2, 16.4)):
        claim = by_name[f"average_of_five/{name}"]
        assert claim.figure == pytest.approx((one - five) / 100)
        assert (claim.sign, claim.kind) == (1, Kind.average)
    assert by_name["tanh/epochs"].figure == 6
    assert by_name["tanh/epochs"].four_layers == ("cifar_small",)
    assert by_name["tanh/top1"].figure == pytest.approx(0.471 - 0.401)
    assert by_name["tanh/top1"].source.startswith("caffenet-benchmark")
    assert by_name["no_lrn_cifar10/top1"].figure == pytest.approx(0.13 - 0.11)
    assert by_name["no_lrn_cifar10/top1"].four_layers == ("cifar_local_lrn",)
    remaining = dict(by_name)
    for name, errors in LEVELS.items():
        for short, error in zip(("top1", "top5"), errors, strict=True):
            claim = remaining.pop(f"{name}/{short}", None)
            assert (claim is None) == (error is None)
            if claim is not None:
                assert claim.figure == pytest.approx(error / 100)
                assert claim.figure_text == f"{error:.1f}"
                assert claim.kind is Kind.level
    assert not [name for name, claim in remaining.items() if claim.kind is Kind.level]


def test_prose_has_no_figure() -> None:
    prose = {
        c.changed: c
        for c in CLAIMS
        if c.figure is None and c.kind is Kind.experiment and c.changed not in MEASURED_AS
    }
    assert {name: claim.figure_text for name, claim in prose.items()} == PROSE
    assert all(claim.sign == 1 for claim in prose.values())
    assert {n: c.rough for n, c in prose.items() if c.rough} == {
        "no_color_noise": 0.01, **dict.fromkeys(MIDDLE, 0.02),
    }  # fmt: skip


def test_later_measurements_are_differences_of_accuracy() -> None:
    for experiment, (without, changed) in BENCHMARK.items():
        claim = by_name[f"{experiment}/top1"]
        text = claim.others or f"caffenet-benchmark, 128 px: {claim.figure_text} points"
        assert text.startswith(f"caffenet-benchmark, 128 px: {without - changed:+.1f} points")
    others = by_name["no_dropout/top1"].others
    for share, accuracy in (("with .1", 47.3), ("with .3", 49.7)):
        assert f"{47.1 - accuracy:+.1f} points {share}" in others
    assert f"none at all: {49.9 - 51.3:+.1f} points" in others


def test_experiments_of_claims_ship() -> None:
    shipped = {file.stem for file in (conf_folder() / "experiment").glob("*.yaml")}
    named = {c.changed for c in CLAIMS if not c.not_measured and c.changed != "baseline"}
    assert named <= shipped
