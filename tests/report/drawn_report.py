"""Reports made up for the tests; no figure in them was measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_exp.report.claims import CLAIMS, Kind, Metric
from alexnet_exp.report.findings import Comparison, Finding, Report, Verdict
from alexnet_exp.report.pairing import Cell
from alexnet_exp.runs.results import Placement, Replicate, Run

PUBLISHED = {claim.name: claim for claim in CLAIMS}
# With a top-1 error of AlexNet.
CHANGES = tuple(
    claim.changed
    for claim in CLAIMS
    if claim.kind is Kind.experiment and claim.metric is Metric.top1 and not claim.four_layers
)
NOTES = {
    Verdict.helps: "the published figure lies inside the interval",
    Verdict.hurts: "the published figure lies above the interval",
    Verdict.no_effect: "the corrected interval lies within 1.37 points of none",
    Verdict.not_resolved: "about 14 seeds would resolve the published +1.37 points",
    Verdict.reproduced: "the published figure lies inside the interval",
}


def finding(
    name: str, difference: float, half: float = 0.012, seeds: int = 5, **more: Any
) -> Finding:
    """Of a claim, from 734 images, with an interval of twice ``half``."""
    published = PUBLISHED[name]
    several = seeds > 1
    low, high = difference - half, difference + half
    neutral = 1 if published.kind is Kind.speed else 0
    verdict, comparison = Verdict.not_resolved, ()
    if published.kind is Kind.level:
        verdict = Verdict.reproduced
    elif several and not low <= neutral <= high:
        verdict = Verdict.helps if low > neutral else Verdict.hurts
        same = (low > neutral) == (published.sign > 0)
        comparison = (Comparison.same_sign if same else Comparison.opposite_sign,)
    base = 4.2 if published.kind is Kind.speed else 0.1339
    changed = base * difference if published.kind is Kind.speed else base + difference
    found = Finding(
        published, verdict, comparison if published.judged else (), NOTES[verdict], "flowers",
        images=734, replicates=tuple(Replicate(0, seed) for seed in range(seeds)),
        baseline_runs=seeds, baseline=base,
        command=f"make ablations SEEDS={seeds} EXPERIMENTS={published.changed}",
    )  # fmt: skip
    if published.kind is not Kind.level:
        found = replace(found, changed=changed, difference=difference)
    if several:
        found = replace(found, low=low, high=high, freedom=4 * seeds)
        if published.kind is not Kind.level:
            found = replace(found, p_value=0.0123456789, p_adjusted=0.0371)
    return replace(found, **more)


def not_run(name: str) -> Finding:
    return Finding(PUBLISHED[name], note="no such run", command=f"run {name}")


def cell(
    experiment: str,
    place: int,
    seeds: int = 5,
    epochs: int = 60,
    data: str = "flowers",
    words: tuple[str, ...] = (),
) -> Cell:
    """Runs with curves and costs that depend on ``place``; ``synthetic`` data are drawn images."""
    random = np.random.default_rng(place)
    final = 0.13 + 0.004 * place
    decay = {"tanh": 25.0, "sigmoid": 60.0}.get(experiment, 9.0)
    steps = np.arange(1, epochs + 1)

    def curve(start: float, end: float) -> tuple[float, ...]:
        noise = random.normal(0, 0.008, epochs)
        return tuple(np.clip(end + (start - end) * np.exp(-steps / decay) + noise, 0, 1))

    runs = {}
    for seed in range(seeds):
        error = float(final + random.normal(0, 0.006))
        result = {
            "data": data, "synthetic": data == "synthetic", "epochs": epochs, "classes": 5,
            "images": {"train": 3100, "val": 430, "test": 734},
            "metrics": {"test/top1_error": error, "test/top5_error": 0.0}, "views": "ten",
            "images_per_second": float(2100 + 70 * place + random.normal(0, 25)),
            "train_seconds": float(5400 + 60 * place), "peak_memory_bytes": int(3.3 * 2**30),
            "strategy": "single", "devices": 1,
        }  # fmt: skip
        given = ["train.py", f"+experiment={experiment}", f"data={data}"]
        one = Replicate(0, seed)
        runs[one] = Run(
            experiment, one, {"trainer.precision": "bf16-mixed"}, 1, None,
            Path(f"runs/{experiment}/seed_{seed}"), result, np.arange(734), np.zeros(734), {}, None,
            curve(0.8, 0.02), curve(0.75, final + 0.01),
            {"gpus": ["NVIDIA H200"], "command": given}, 0.0,
        )  # fmt: skip
    fields = {"model.name": "paper", "model.width": 1.0, "recipe": "flowers"}
    return Cell(experiment, fields, runs, {Placement(): runs}, words=words)


def small(seeds: int = 5) -> Report:
    """One claim and two experiments on photos."""
    return Report(
        runs="runs/small",
        until="2030-01-02T03:04:05",
        findings=(finding("no_lrn/top1", 0.0142, seeds=seeds),),
        cells=(cell("baseline", 0, seeds), cell("no_lrn", 3, seeds)),
        environment=("torch 2.15.0, lightning 2.6.0", "git 0123abc, clean"),
    )


def big() -> Report:
    """Many findings over nineteen experiments, each of five seeds, and all that can go wrong."""
    points = (
        1.42, 0.2, 0.1, 2.1, 0.3, 0.4, -1.6, 2.2, 1.6, 3.1, 5.2, -8.3, 1.0, 2.5, 0.5, 22.0, 0.3,
    )  # fmt: skip
    drawn = zip(CHANGES, points, strict=True)
    tested = [finding(f"{name}/top1", gain / 100) for name, gain in drawn]
    tested += [
        finding("views/top1", 0.0171, 0.006),
        finding("level_2012/top1", 0.1339),
        finding("tanh/epochs", 5.8, 0.9),
    ]
    skipped = [
        finding(name, 0.0, not_applicable=True, note="five classes")
        for name in ("no_lrn/top5", "views/top5")
    ]
    cells = [cell(name, place) for place, name in enumerate((*CHANGES, "sigmoid"), start=1)]
    absent = [not_run(name) for name in ("one_gpu/top5", "towers_meet_last/top5")]
    return replace(
        small(),
        runs="runs/ablations",
        findings=(*tested, *skipped, *absent),
        cells=(*cells, cell("baseline", 0)),
        refused=("no_lrn-seed3 and baseline-seed3: also optim.lr differs (0.01 and 0.003)",),
        skipped=("runs/ablations/tanh-seed7: unfinished, epoch 12 of 60",),
    )


ODD = "optim.nesterov=<true>&|x|"


def drawn() -> Report:
    """Drawn images in two base configurations, one of them with a name that must be escaped."""
    found, cells = [], []
    given = {"data": "synthetic", "synthetic": True}
    for words in ((), (ODD,)):
        found.append(finding("no_lrn/top1", 0.0142, context=", ".join(words), **given))
        cells += [
            cell(name, place, data="synthetic", words=words)
            for place, name in ((0, "baseline"), (3, "no_lrn"))
        ]
    refused = ("a <b> & c: `model.width` differs",)
    return replace(small(), findings=tuple(found), cells=tuple(cells), refused=refused)


def smaller() -> Report:
    """An idea that helps, by less than published; one that has no effect as large; others."""
    less = (Comparison.same_sign, Comparison.smaller)
    none = {"verdict": Verdict.no_effect, "comparison": (), "note": NOTES[Verdict.no_effect]}
    found = (
        finding("no_lrn/top1", 0.0042, 0.0012, comparison=less),
        finding("no_crops_flips/top1", 0.05),
        finding("one_gpu/top1", 0.001, 0.004, **none),
    )
    return replace(small(), findings=found)


def nothing(*cells: Cell) -> Report:
    """Claims, but no run of any."""
    findings = tuple(not_run(f"{name}/top1") for name in CHANGES)
    return Report("runs/none", "2030-01-02T03:04:05", findings, cells)
