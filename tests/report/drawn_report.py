"""Reports made up for the tests; no figure in them was measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_exp.report.claims import CLAIMS, Claim, Kind, Metric
from alexnet_exp.report.findings import Finding, Report, Size, Verdict
from alexnet_exp.report.pairing import Cell
from alexnet_exp.report.results import Placement, Run

CHANGES = {
    "no_lrn": ("normalization", "no LRN", 0.0137, "+1.37"),
    "non_overlapping_pooling": ("pooling", "2x2 pooling, stride 2", 0.0039, "+.39"),
    "one_gpu": ("two towers", "net of one GPU", 0.017, "+1.70"),
    "no_tower_communication": ("communication", "no connections between towers", 0.0116, "+1.16"),
    "no_color_noise": ("color noise", "no PCA color noise", 0.01, "> +1"),
    "no_conv3": ("depth", "without conv3", 0.02, "about +2"),
    "no_conv4": ("depth", "without conv4", 0.02, "about +2"),
    "no_conv5": ("depth", "without conv5", 0.02, "about +2"),
    "no_dropout": ("dropout", "no dropout", None, "substantial overfitting"),
    "no_crops": ("crops", "no crops", None, "substantial overfitting"),
    "tanh": ("activation", "tanh for ReLU", None, "several times slower"),
    "sigmoid": ("activation", "logistic for ReLU", None, "several times slower"),
    "no_weight_decay": ("weight decay", "no weight decay", None, "raises training error"),
}


def claim(experiment: str, metric: Metric = Metric.top1) -> Claim:
    factor, change, figure, text = CHANGES[experiment]
    return Claim(
        name=f"{experiment}/{metric.name}", factor=factor, change=change, changed=experiment,
        metric=metric, figure=figure, figure_text=text, data="ILSVRC-2012 val, ten views",
        source="paper, section 3.3; authors' run 148 against 145",
        others="caffenet-benchmark: 0.0 (128 px)" if experiment == "no_lrn" else "",
    )  # fmt: skip


VIEWS, SPEED, LEVEL = (
    next(claim for claim in CLAIMS if claim.name == name)
    for name in ("views/top1", "tanh/epochs", "level_2012/top1")
)
NOTES = {
    Verdict.reproduced: "the published figure lies inside the interval",
    Verdict.contradicted: "the interval lies on the other side of zero",
    Verdict.not_resolved: "about 14 seeds or 4,100 images would resolve +0.4 points",
}


def finding(
    published: Claim, difference: float, half: float = 0.012, seeds: int = 5, **more: Any
) -> Finding:
    """Of five seeds and 734 images, with an interval of twice ``half``."""
    several, level = seeds > 1, published.kind is Kind.level
    low, high = difference - half, difference + half
    verdict = Verdict.not_resolved
    if several and max(low, -high) > 0:
        verdict = Verdict.reproduced if low > 0 else Verdict.contradicted
    base = 4.2 if published.kind is Kind.speed else 0.1339
    changed = base * difference if published.kind is Kind.speed else base + difference
    found = Finding(
        published, verdict, NOTES[verdict], "flowers", seeds=tuple(range(seeds)), images=734,
        baseline=base, changed=None if level else changed,
        difference=None if level else difference, low=low if several else None,
        high=high if several else None, p_value=0.0123456789 if several else None,
        p_holm=0.0371 if several else None,
        command=f"make ablations SEEDS={seeds} EXPERIMENTS=baseline,{published.changed}",
    )  # fmt: skip
    return replace(found, **more)


def not_run(published: Claim) -> Finding:
    return Finding(published, note="no such run", command=f"run {published.changed}")


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
            "metrics": {"test/top1_error": error, "test/top5_error": 0.0}, "views": "ten",
            "images_per_second": float(2100 + 70 * place + random.normal(0, 25)),
            "train_seconds": float(5400 + 60 * place), "peak_memory_bytes": int(3.3 * 2**30),
            "strategy": "single", "devices": 1,
        }  # fmt: skip
        given = ["train.py", f"+experiment={experiment}", f"data={data}"]
        runs[seed] = Run(
            experiment, seed, {"trainer.precision": "bf16-mixed"}, 1,
            Path(f"runs/{experiment}/seed_{seed}"), result, np.zeros(0), np.zeros(0), {}, None,
            curve(0.8, 0.02), curve(0.75, final + 0.01),
            {"gpus": ["NVIDIA H200"], "command": given}, 0.0,
        )  # fmt: skip
    return Cell(experiment, {}, runs, {Placement(): runs}, words=words)


def small(seeds: int = 5) -> Report:
    """One claim and two experiments on photos."""
    return Report(
        runs="runs/small",
        made="2030-01-02T03:04:05",
        findings=(finding(claim("no_lrn"), 0.0142, seeds=seeds),),
        cells=(cell("baseline", 0, seeds), cell("no_lrn", 3, seeds)),
        environment=("torch 2.15.0, lightning 2.6.0", "git 0123abc, clean"),
    )


def big() -> Report:
    """Twenty findings over fourteen experiments, each of five seeds, and all that can go wrong."""
    gains = (0.0142, 0.001, 0.021, 0.004, -0.016, 0.022, 0.016, 0.031, 0.052, 0.083, 0.01, 0.22)
    tested = [
        finding(claim(name), gain) for name, gain in zip(CHANGES, (*gains, 0.003), strict=True)
    ]
    tested += [finding(VIEWS, 0.0171, 0.006), finding(LEVEL, 0.1339), finding(SPEED, 5.8, 0.9)]
    skipped = [
        replace(finding(claim(name, Metric.top5), 0.0), not_applicable=True, note="five classes")
        for name in ("no_lrn", "one_gpu")
    ]
    absent = [not_run(claim(name, Metric.top5)) for name in ("no_conv3", "no_conv4")]
    return replace(
        small(),
        runs="runs/ablations",
        findings=(*tested, *skipped, *absent),
        cells=(*(cell(name, i + 1) for i, name in enumerate(CHANGES)), cell("baseline", 0)),
        refused=("no_lrn-seed3 and baseline-seed3: also optim.lr differs (0.01 and 0.003)",),
        skipped=("runs/ablations/tanh-seed7: unfinished, epoch 12 of 60",),
    )


ODD = "optim.nesterov=<true>&|x|"


def drawn() -> Report:
    """Drawn images in two base configurations, one of them with a name that must be escaped."""
    found, cells = [], []
    given = {"data": "synthetic", "synthetic": True}
    for words in ((), (ODD,)):
        found.append(finding(claim("no_lrn"), 0.0142, context=", ".join(words), **given))
        cells += [
            cell(name, place, data="synthetic", words=words)
            for place, name in ((0, "baseline"), (3, "no_lrn"))
        ]
    refused = ("a <b> & c: `model.width` differs",)
    return replace(small(), findings=tuple(found), cells=tuple(cells), refused=refused)


def smaller(seeds: int = 5) -> Report:
    """A claim that is reproduced at less than its published size, and one that is not resolved."""
    found = finding(claim("no_lrn"), 0.0042, 0.0012)
    other = finding(claim("one_gpu"), 0.001, 0.004)
    return replace(
        small(seeds),
        findings=(
            replace(found, size=Size.smaller),
            finding(claim("no_crops"), 0.05),
            replace(other, size=Size.smaller),
        ),
    )


def nothing(*cells: Cell) -> Report:
    """Claims, but no run of any."""
    findings = tuple(not_run(claim(name)) for name in CHANGES)
    return Report("runs/none", "2030-01-02T03:04:05", findings, cells)
