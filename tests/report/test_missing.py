"""The command of a claim without runs makes runs that pair with those in hand."""

import numpy as np
import pytest

from alexnet_exp.report.__main__ import make_report
from tests.report.made_runs import write_run

TRAIN = "python -m alexnet_exp.train -m"
FLOWERS = ("data=flowers", "data.root=photos/", "optim.lr=0.1", "logger=wandb")


@pytest.fixture
def made(tmp_path, compose_config):
    """``made(name, *overrides, seed)`` writes one run."""

    def make(name, *overrides, seed=0, **more):
        folder = tmp_path / name / f"seed_{seed}"
        write_run(folder, compose_config, *overrides, wrong=np.arange(40) < 9, seed=seed, **more)

    return make


def commands(folder):
    return {f.claim.name: f.command for f in make_report(folder).findings}


def test_it_has_data_overrides_and_seeds_of_the_only_baseline(tmp_path, made) -> None:
    for seed in (3, 5):
        made("baseline", *FLOWERS, seed=seed)
    found = commands(tmp_path)
    given = f"{TRAIN} data=flowers data.root=photos/ optim.lr=0.1"
    assert found["no_lrn/top1"] == f"{given} +experiment=baseline,no_lrn seed=3,5"
    assert found["views/top1"] == f"{given} +experiment=baseline seed=3,5"
    # Claims on data of their own are not about flowers.
    assert found["tanh/epochs"] == f"{TRAIN} +sweep=relu_vs_tanh"
    assert found["level_2012/top1"] == f"{TRAIN} data=imagenet +experiment=baseline seed=0,1,2"


def test_several_baselines_leave_it_to_the_preset(tmp_path, made) -> None:
    made("one", *FLOWERS)
    made("two", "data=flowers", "optim.lr=0.2")
    expected = f"{TRAIN} +experiment=baseline,no_lrn seed=0,1,2"
    assert commands(tmp_path)["no_lrn/top1"] == expected


def test_presets_get_the_folder_of_their_data(tmp_path, made) -> None:
    made("flowers", *FLOWERS)
    made("cifar", "data=cifar10", "data.root=my data", "+experiment=no_flips")
    made("imagenet", "data=imagenet", "data.root=i", "+experiment=no_flips")
    found = commands(tmp_path)
    assert found["tanh/epochs"] == f"{TRAIN} +sweep=relu_vs_tanh 'data.root=my data'"
    assert found["no_lrn_cifar10/top1"] == f"{TRAIN} +sweep=lrn_cifar 'data.root=my data'"
    level = f"{TRAIN} data=imagenet data.root=i +experiment=baseline seed=0,1,2"
    assert found["level_2012/top1"] == level
    assert "data.root" not in found["level_2010_ten/top1"]


def sweep_job(overrides, experiment):
    folder = f"/w/elsewhere/{experiment}/seed_0"
    words = [*overrides, "seed=0", "hydra.mode=RUN", f"hydra.run.dir='{folder}'"]
    return [f"+experiment={experiment}", *words]


def test_it_goes_to_the_sweep_of_the_baseline_where_nothing_is_in_the_way(tmp_path, made) -> None:
    overrides = ["evaluation.views=one"]
    made("a", *overrides, recorded=sweep_job(overrides, "baseline"))
    refused = [*overrides, "optim.lr=0.3"]
    made("b", *refused, "+experiment=no_lrn", recorded=sweep_job(refused, "no_lrn"))
    found = commands(tmp_path)
    given = f"{TRAIN} evaluation.views=one"
    assert found["no_crops/top1"] == (
        f"{given} hydra.sweep.dir=/w/elsewhere +experiment=baseline,no_crops seed=0"
    )
    assert found["no_lrn/top1"] == (f"{given} sweep.name=no_lrn +experiment=baseline,no_lrn seed=0")
    assert found["views/top1"] == f"{TRAIN} sweep.name=views +experiment=baseline seed=0"
