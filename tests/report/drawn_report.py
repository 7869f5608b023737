"""Reports made up for the tests; no figure in them was measured."""

from dataclasses import replace

import numpy as np

from alexnet_exp.report.findings import Claim, Finding, Group, Kind, Metric, Report, Size, Verdict

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
        name=f"{experiment}/{metric.name}",
        factor=factor,
        change=change,
        baseline="baseline",
        changed=experiment,
        metric=metric,
        kind=Kind.experiment,
        figure=figure,
        figure_text=text,
        source="paper, section 3.3; authors' run 148 against 145",
        data="ILSVRC-2012 val, ten views",
        others="caffenet-benchmark: 0.0 (128 px)" if experiment == "no_lrn" else "",
    )


VIEWS = replace(
    claim("no_crops"),
    name="views/top1",
    factor="test-time views",
    change="center crop for ten views",
    changed="baseline",
    kind=Kind.views,
    figure=0.0155,
    figure_text="+1.55",
)
SPEED = replace(
    claim("tanh"),
    name="tanh/epochs",
    metric=Metric.epochs,
    kind=Kind.speed,
    figure=6.0,
    figure_text="about 6",
    data="CIFAR-10, four-layer net",
)
LEVEL = replace(
    claim("no_crops"),
    name="baseline/top1",
    factor="the whole network",
    change="the paper's network",
    changed="baseline",
    kind=Kind.level,
    figure=0.407,
    figure_text="40.7",
)


def finding(
    published: Claim,
    difference: float,
    half: float = 0.012,
    seeds: int = 5,
    data: str = "flowers",
    context: str = "",
    synthetic: bool = False,
    verdict: Verdict | None = None,
) -> Finding:
    several = seeds > 1
    low, high = difference - half, difference + half
    if verdict is None:
        verdict = Verdict.not_resolved
        if several and low > 0:
            verdict = Verdict.reproduced
        elif several and high < 0:
            verdict = Verdict.contradicted
    base = 4.2 if published.kind is Kind.speed else 0.1339
    changed = base * difference if published.kind is Kind.speed else base + difference
    return Finding(
        claim=published,
        verdict=verdict,
        note={
            Verdict.reproduced: "the published figure lies inside the interval",
            Verdict.contradicted: "the interval lies on the other side of zero",
            Verdict.not_resolved: "about 14 seeds or 4,100 images would resolve +0.4 points",
        }[verdict],
        data=data,
        context=context,
        synthetic=synthetic,
        seeds=tuple(range(seeds)),
        images=734,
        baseline=base,
        changed=None if published.kind is Kind.level else changed,
        difference=None if published.kind is Kind.level else difference,
        low=low if several else None,
        high=high if several else None,
        p_value=0.0123456789 if several else None,
        p_holm=0.0371 if several else None,
        command=f"make ablations DATA={data} SEEDS={seeds}"
        f" EXPERIMENTS=baseline,{published.changed}",
    )


def not_run(published: Claim) -> Finding:
    return Finding(published, Verdict.not_run, "no such run", command=f"run {published.changed}")


def group(
    experiment: str,
    place: int,
    seeds: int = 5,
    epochs: int = 60,
    data: str = "flowers",
    context: str = "",
    synthetic: bool = False,
    classes: int = 5,
) -> Group:
    random = np.random.default_rng(place)
    final = 0.13 + 0.004 * place
    decay = {"tanh": 25.0, "sigmoid": 60.0}.get(experiment, 9.0)
    steps = np.arange(1, epochs + 1)

    def curve(start: float, end: float) -> tuple[float, ...]:
        noise = random.normal(0, 0.008, epochs)
        return tuple(np.clip(end + (start - end) * np.exp(-steps / decay) + noise, 0, 1))

    top1 = tuple(float(final + random.normal(0, 0.006)) for _ in range(seeds))
    mean = float(np.mean(top1))
    deviation = float(np.std(top1, ddof=1)) if seeds > 1 else None
    half = 2.776 * deviation / seeds**0.5 if deviation is not None else 0.0
    return Group(
        experiment=experiment,
        data=data,
        context=context,
        synthetic=synthetic,
        classes=classes,
        test_images=734,
        views="ten",
        seeds=tuple(range(seeds)),
        top1=top1,
        top5=tuple(0.0 if classes <= 5 else error / 3 for error in top1),
        images_per_second=tuple(float(2100 + 70 * place + random.normal(0, 25)) for _ in top1),
        train_seconds=tuple(float(5400 + 60 * place) for _ in top1),
        peak_memory_bytes=tuple(int(3.3 * 2**30) + place * 2**24 for _ in top1),
        epochs=tuple(epochs for _ in top1),
        train_curves=tuple(curve(0.8, 0.02) for _ in top1),
        val_curves=tuple(curve(0.75, final + 0.01) for _ in top1),
        hardware="NVIDIA H200, bf16-mixed",
        command=f"python -m alexnet_exp.train -m +experiment={experiment} data={data}"
        f" 'seed=range({seeds})'",
        mean=mean,
        deviation=deviation,
        low=mean - half if deviation is not None else None,
        high=mean + half if deviation is not None else None,
    )


METHODS = (
    "Runs are paired by seed and by test image; the interval of a difference comes from a"
    " bootstrap that draws seeds and, within them, images.",
    "p-values are corrected for all claims by Holm's method.",
)


def small(seeds: int = 5) -> Report:
    """One claim and two experiments on photos."""
    return Report(
        runs="runs/small",
        made="2030-01-02T03:04:05",
        findings=(finding(claim("no_lrn"), 0.0142, seeds=seeds),),
        groups=(group("baseline", 0, seeds), group("no_lrn", 3, seeds)),
        environment=("torch 2.15.0, lightning 2.6.0", "git 0123abc, clean"),
        methods=METHODS,
    )


def big() -> Report:
    """Twenty findings over fourteen experiments, each of five seeds, and all that can go wrong."""
    gains = (0.0142, 0.001, 0.021, 0.004, -0.016, 0.022, 0.016, 0.031, 0.052, 0.083, 0.01, 0.22)
    tested = [
        finding(claim(name), gain) for name, gain in zip(CHANGES, (*gains, 0.003), strict=True)
    ]
    tested += [finding(VIEWS, 0.0171, 0.006), finding(LEVEL, 0.1339), finding(SPEED, 5.8, 0.9)]
    skipped = [
        replace(
            finding(claim(name, Metric.top5), 0.0),
            not_applicable=True,
            verdict=Verdict.not_run,
            note="five classes",
        )
        for name in ("no_lrn", "one_gpu")
    ]
    absent = [not_run(claim(name, Metric.top5)) for name in ("no_conv3", "no_conv4")]
    groups = [group("baseline", 0), *(group(name, i + 1) for i, name in enumerate(CHANGES))]
    return Report(
        runs="runs/ablations",
        made="2030-01-02T03:04:05",
        findings=(*tested, *skipped, *absent),
        groups=tuple(groups[1:] + groups[:1]),
        refused=("no_lrn-seed3 and baseline-seed3: also optim.lr differs (0.01 and 0.003)",),
        skipped=("runs/ablations/tanh-seed7: unfinished, epoch 12 of 60",),
        environment=("torch 2.15.0, lightning 2.6.0", "git 0123abc, clean"),
        methods=METHODS,
    )


def drawn() -> Report:
    """Drawn images in two base configurations, one of them with a name that must be escaped."""
    odd = "optim.nesterov=<true>&|x|"
    sections = [
        (
            finding(claim("no_lrn"), 0.0142, data="synthetic", context=context, synthetic=True),
            group("baseline", 0, data="synthetic", context=context, synthetic=True),
            group("no_lrn", 3, data="synthetic", context=context, synthetic=True),
        )
        for context in ("", odd)
    ]
    return replace(
        small(),
        findings=tuple(section[0] for section in sections),
        groups=tuple(group for section in sections for group in section[1:]),
        refused=("a <b> & c: `model.width` differs",),
    )


def smaller(seeds: int = 5) -> Report:
    """A claim that is reproduced at less than its published size, and one that is not resolved."""
    report = small(seeds)
    found = finding(claim("no_lrn"), 0.0042, 0.0012)
    other = finding(claim("one_gpu"), 0.001, 0.004)
    return replace(
        report,
        findings=(
            replace(found, size=Size.smaller),
            finding(claim("no_crops"), 0.05),
            replace(other, size=Size.smaller),
        ),
    )


def nothing() -> Report:
    """Claims, but no run."""
    return Report(
        runs="runs/none",
        made="2030-01-02T03:04:05",
        findings=tuple(not_run(claim(name)) for name in CHANGES),
        groups=(),
        methods=METHODS,
    )
