"""Runs of the shipped presets reach the claims that the presets were made for."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import yaml

from alexnet_exp.config import conf_folder
from alexnet_exp.report.__main__ import make_report
from alexnet_exp.report.claims import CLAIMS, Kind
from alexnet_exp.report.findings import Report, Verdict
from tests.report.made_runs import wrong_images

IMAGES = 1000
PRESETS = {
    preset: {claim.name for claim in CLAIMS if (claim.sweep or "ablations") == preset}
    - {claim.name for claim in CLAIMS if claim.not_measured or claim.kind is Kind.level}
    - {"average_of_five/top1", "average_of_five/top5"}  # of which made runs record nothing
    - {"no_flips/top1"}  # which +sweep=factorial runs
    for preset in ("ablations", "lrn_cifar", "relu_vs_tanh")
} | {
    "parallel": {
        *("one_gpu/time", "one_gpu/top1", "one_gpu/top5", "views/top1", "views/top5"),
        "specialization",
    }
}
KERNELS = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float16)


def jobs(preset: str) -> Iterator[tuple[int, list[str]]]:
    """Seed and overrides of two seeds of each job; of learning rates only the first."""
    content = yaml.safe_load((conf_folder() / "sweep" / f"{preset}.yaml").read_text())
    swept = {k: v.split(",") for k, v in content["hydra"]["sweeper"]["params"].items()}
    rates = [f"optim.lr={rate}" for rate in swept.get("optim.lr", [])[:1]]
    for experiment, seed in product(swept["+experiment"], range(2)):
        yield seed, [f"+sweep={preset}", f"+experiment={experiment}", *rates]


@pytest.fixture
def report_of(tmp_path, made):
    """``report_of(preset)``: of its runs, in which each change costs about 14 points."""

    def make(preset: str) -> Report:
        for number, (seed, overrides) in enumerate(jobs(preset)):
            wrong = wrong_images(seed, IMAGES, 0.3)
            curve = (0.9, 0.25)
            if overrides[1] not in ("+experiment=baseline", "+experiment=two_gpus"):
                wrong = wrong | wrong_images(9 + seed, IMAGES, 0.2)
                curve = (0.9, 0.8, 0.7, 0.25)
            run = made(f"{number}", *overrides, wrong=wrong, center=wrong, seed=seed,
                       train_curve=curve)  # fmt: skip
            np.save(run / "kernels.npy", KERNELS)
        return make_report(tmp_path)

    return make


def test_every_sweep_of_a_claim_ships() -> None:
    assert {claim.sweep for claim in CLAIMS} - {""} == {"lrn_cifar", "relu_vs_tanh", "parallel"}
    assert PRESETS["lrn_cifar"] == {"no_lrn_cifar10/top1"}
    assert PRESETS["relu_vs_tanh"] == {"tanh/epochs"}
    assert all((conf_folder() / "sweep" / f"{preset}.yaml").exists() for preset in PRESETS)


@pytest.mark.parametrize(
    "preset",
    [
        pytest.param("ablations", marks=pytest.mark.long),
        "lrn_cifar",
        pytest.param("relu_vs_tanh", marks=pytest.mark.long),
        "parallel",
    ],
)
def test_a_preset_reaches_its_claims_and_no_others(report_of, preset: str) -> None:
    report = report_of(preset)
    ran = {f.claim.name for f in report.findings if f.verdict is not Verdict.not_run}
    assert ran == PRESETS[preset]
    assert not report.refused
    found = next(f for f in report.findings if f.claim.name in ran)
    assert found.difference is not None
    assert f"+sweep={preset}" in found.command
