"""Which runs are set against which, and under what names."""

import pytest
from omegaconf import OmegaConf

from alexnet_exp.config import conf_folder, leaves
from alexnet_exp.config.changes import factor_fields
from alexnet_exp.report.pairing import cells, match
from alexnet_exp.runs.read import run_folders
from alexnet_exp.runs.results import read_runs
from tests.conftest import quickly_composed
from tests.report.made_runs import IMAGES


def read_cells(folder):
    return cells(read_runs(run_folders(folder)).runs)


def matched(folder, experiment):
    """Pairs of the baseline with an experiment, and which were refused."""
    found = read_cells(folder)
    sides = ("baseline", experiment)
    return match(*([cell for cell in found if cell.experiment == name] for name in sides))


def test_factor_fields_are_those_that_the_experiment_sets() -> None:
    assert factor_fields("baseline") == {}
    assert factor_fields("no_lrn") == {"model.normalization": "lrn"}
    assert factor_fields("no_dropout") == {"model.dropout": 0.5}
    assert factor_fields("no_dropout+no_lrn") == {
        "model.dropout": 0.5, "model.normalization": "lrn",
    }  # fmt: skip
    for unknown in ("of_another_program", "no_lrn+of_another_program", "../data/flowers", ""):
        assert factor_fields(unknown) == {}


SHIPPED = sorted(file.stem for file in (conf_folder() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize(
    "experiment",
    ["no_lrn+one_gpu", "no_conv2+no_dropout"]
    + [pytest.param(name, marks=pytest.mark.long) for name in SHIPPED],
)
def test_factor_fields_are_those_in_which_hydra_composes_another_run(experiment: str) -> None:
    names = experiment.replace("+", ",")
    sides = [
        dict(leaves(OmegaConf.to_container(composed, resolve=True, enum_to_str=True)))
        for composed in (
            quickly_composed(["recipe=paper"]),
            quickly_composed(["recipe=paper", f"+experiment=[{names}]"]),
        )
    ]
    before, after = sides
    changed = {
        path: before.get(path, "absent")
        for path in before.keys() | after.keys()
        if before.get(path, "absent") != after.get(path, "absent") and path != "experiment"
    }
    found = {**factor_fields(experiment)}
    if experiment == "finetune":
        assert found.pop("model.weights_digest") is None
    assert found == changed
    assert bool(found) == (experiment != "baseline")


def test_other_test_images_are_refused(tmp_path, made) -> None:
    base = made("baseline", fingerprint="a" * 16)
    other = made("no_lrn", "+experiment=no_lrn", fingerprint="b" * 16)
    fewer = made("no_dropout", "+experiment=no_dropout", fingerprint="a" * 16, images=IMAGES - 1)
    assert matched(tmp_path, "no_lrn")[1] == [
        f"{other} against {base}: also differ in data.fingerprint ({'b' * 16}, {'a' * 16})"
    ]
    assert matched(tmp_path, "no_dropout")[1] == [
        f"{fewer} against {base}: other test images in {fewer}"
    ]


def test_a_run_is_not_paired_with_one_that_lacks_the_factor_too(tmp_path, made) -> None:
    made("same", "model.dropout=0.0")
    made("no_dropout", "+experiment=no_dropout")
    assert matched(tmp_path, "no_dropout")[0] == []


def test_seeds_need_not_agree_and_folds_do(tmp_path, made) -> None:
    made("baseline", seed=0)
    made("no_lrn", "+experiment=no_lrn", seed=5)
    lone = made("flowers", "+experiment=no_lrn", "data=flowers")
    pairs, refused = matched(tmp_path, "no_lrn")
    assert [(*pair.baseline.runs, *pair.changed.runs) for pair in pairs] == [((0, 0), (0, 5))]
    assert refused == [f"{lone}: no baseline run on data=flowers"]


def test_folds_are_matched_fold_by_fold(tmp_path, made) -> None:
    for seed in range(4):
        made("baseline", folds=3, seed=seed)
    base = tmp_path / "baseline"
    for seed in (1, 5):
        made("no_lrn", "+experiment=no_lrn", folds=3, seed=seed)
    (pair,), refused = matched(tmp_path, "no_lrn")
    assert [*pair.baseline.runs] == [(0, 0), (0, 3), (1, 1), (2, 2)]
    assert [*pair.changed.runs] == [(1, 1), (2, 5)]
    assert refused == []
    tested = {run.replicate.fold: {*run.index} for run in pair.baseline.runs.values()}
    assert not set.intersection(*tested.values())
    whole = made("no_dropout", "+experiment=no_dropout")
    assert matched(tmp_path, "no_dropout")[1] == [
        f"{whole} against {base / 'seed_0'}: also differ in data.folds (null, 3)"
    ]
    fewer = made("no_flips", "+experiment=no_flips", folds=3, seed=2, images=IMAGES - 1)
    assert matched(tmp_path, "no_flips")[1] == [
        f"{fewer} against {base / 'seed_2'}: other test images in {fewer}"
    ]


def test_no_fold_in_common_is_refused(tmp_path, made) -> None:
    base = made("baseline", folds=3, seed=0)
    changed = made("no_lrn", "+experiment=no_lrn", folds=3, seed=4)
    assert matched(tmp_path, "no_lrn")[1] == [f"{changed} against {base}: no fold in common"]


def test_many_differing_fields_are_counted(tmp_path, made) -> None:
    made("baseline")
    made("no_lrn", "+experiment=no_lrn", "recipe=paper", "optim.momentum=0.5", "optim.lr=0.5",
         "optim.factor=2", "optim.patience=2")  # fmt: skip
    (refusal,) = matched(tmp_path, "no_lrn")[1]
    assert refusal.endswith("more fields")
    assert refusal.count(" (") == 6


def test_presets_stand_for_their_fields(tmp_path, made) -> None:
    made("paper")
    made("paper_no_lrn", "+experiment=no_lrn")
    made("one_gpu", "+experiment=one_gpu")
    made("caffenet", "model=caffenet")
    made("narrow", "model=caffenet", "model.width=0.5")
    words = {cell.first.path.parent.name: cell.words for cell in read_cells(tmp_path)}
    assert words == {
        "paper": ("model=paper",),
        "paper_no_lrn": ("model=paper",),
        "one_gpu": ("model=paper",),
        "caffenet": ("model=caffenet", "model.width=1.0"),
        "narrow": ("model=caffenet", "model.width=0.5"),
    }


def test_own_experiments_name_all_that_tells_them_from_what_is_nearest(tmp_path, made) -> None:
    made("baseline", "optim.lr=0.1")
    made("slow", "optim.lr=0.02")
    made("both", "+experiment=[no_dropout,no_lrn]", "optim.lr=0.1")
    made("small", "model.width=0.5", "optim.lr=0.02", experiment="my_small")
    made("fast", "model.width=0.5", "optim.lr=0.3", experiment="my_small")
    told = {cell.first.path.parent.name: (cell.words, cell.apart) for cell in read_cells(tmp_path)}
    fast, slow = ("optim.lr=0.1",), ("optim.lr=0.02",)
    assert told == {
        "baseline": (fast, ()),
        "slow": (slow, ()),
        "both": (fast, ()),
        "small": (slow, ("model.width=0.5",)),
        "fast": (fast, ("model.width=0.5", "optim.lr=0.3")),
    }


def test_own_experiments_without_a_baseline_tell_one_another_apart(tmp_path, made) -> None:
    for width in ("0.5", "0.25"):
        made(width, f"model.width={width}", experiment=f"my_{width}")
    told = {cell.experiment: (cell.words, cell.apart) for cell in read_cells(tmp_path)}
    assert told == {f"my_{width}": ((f"model.width={width}",), ()) for width in ("0.5", "0.25")}
