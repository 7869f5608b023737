"""Every table and figure of the studies, from their committed runs alone: ``make results``.

Each of :data:`STUDIES` gets its report. What stands between
``<!-- made: name -->`` and ``<!-- end -->`` in results/README.md and README.md is made here.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from alexnet_exp.report import prospects, wording
from alexnet_exp.report.__main__ import make_report, write
from alexnet_exp.report.claims import Metric, claim_about
from alexnet_exp.report.findings import Finding, Report, Verdict
from alexnet_exp.report.forest import differences
from alexnet_exp.report.gatekeeping import gatekeeping
from alexnet_exp.report.measures import RATE, errors_by_fold
from alexnet_exp.report.pairing import Cell, cells
from alexnet_exp.report.power import LEVEL, power
from alexnet_exp.report.statistics import against_baseline
from alexnet_exp.report.verdicts import need
from alexnet_exp.runs.read import read_result, run_folders
from alexnet_exp.runs.results import read_runs

RESULTS = Path("results")
"""As from the root of the repository, which reports name it by."""

PLANTED = RESULTS / "instrument" / "runs"
PLANNED = {
    "flowers_rates/runs/recipe": "18", "flowers/runs/ablations": "190",
    "flowers/runs/factorial": "80", "flowers_rates/runs/ideas": "10 for each verdict, and 10",
    "flowers_rates/runs/shuffled": "9", "instrument/runs": "20", "cifar10/runs": "15 + 15 + 3 + 10",
    "fashion_mnist/runs": "1", "flowers_full/runs": "15",
}  # fmt: skip
RECIPE, RATES = (RESULTS / "flowers_rates" / "runs" / name for name in ("recipe", "ideas"))
EPOCHS = "trainer.max_epochs"
TRIALS = 1000
PAGE, FRONT = RESULTS / "README.md", Path("README.md")
PICTURE = "differences.svg"
HEADINGS = ("idea", "paper", "caffenet-benchmark", "by itself", "power", "verdict", "combined",
            "verdict, combined")  # fmt: skip
_BLOCK = re.compile(r"(<!-- made: (\w+) -->\n).*?(?=<!-- end -->)", re.S)
_LATER = re.compile(r"caffenet-benchmark[^:]*: ([-+][\d.]+)")


def main(output: Path = Path()) -> None:
    """Write all of it below ``output``, laid out as in the repository."""
    made = state()
    for study, maker in STUDIES.items():
        runs, folder = RESULTS / study / "runs", output / RESULTS / study
        if is_whole(study):
            report = make_report(runs, progress=True)
            write(report, folder)
            made |= maker(report, folder)
    made |= recipe()
    if is_whole("flowers"):
        made |= rates() if RATES.exists() else {}
        made |= instrument() if is_whole("instrument") else {}
    for page in (PAGE, FRONT):
        text = _BLOCK.sub(lambda block: block[1] + made.get(block[2], ""), page.read_text())
        (output / page).parent.mkdir(parents=True, exist_ok=True)
        (output / page).write_text(text)


def ideas(report: Report, folder: Path) -> dict[str, str]:
    """What each idea buys, by itself and combined with others."""
    figure = differences(report, Metric.top1)
    assert figure is not None
    (folder / PICTURE).write_text(_on_white(figure.svg))
    design = next((one for one in report.factorials if one.effects), None)
    combined = {one.claim.changed: one for one in design.effects} if design else {}
    found = _differences(report)
    rows = [_row(one, combined.get(one.claim.changed)) for one in found]
    said = _sentence(report, [combined.get(one.claim.changed, one) for one in found])
    answers, sources = wording.answers(report), wording.provenance(report)
    return {
        "finding": f"![{figure.title}](results/{folder.name}/{PICTURE})\n\n{said}\n",
        "ideas": f"![{figure.title}]({folder.name}/{PICTURE})\n\n"
        + "\n\n".join([figure.caption, *answers, table(*wording.lean(HEADINGS, rows)), *sources])
        + "\n",
        "agreement": _agreement(found, combined),
        "open": "\n".join(
            table(*made) for made in prospects.sections(prospects.plan(report)).values()
        ),
    }


def _differences(report: Report) -> list[Finding]:
    """Of top-1 error, the largest first."""
    own = [one for members in wording.was_run(report).values() for one in members]
    return [one for one in own if one.claim.metric is Metric.top1 and one.claim.kind.in_points]


def _row(finding: Finding, effect: Finding | None) -> tuple[str, ...]:
    """Of :data:`HEADINGS`."""
    later = _LATER.search(finding.claim.others)
    known = need(finding, finding.folds)
    power = None if known is None else known.power
    return (
        wording.claim_name(finding.claim),
        wording.published(finding.claim),
        wording.minus(later[1]) if later else "",
        _measured(finding),
        "" if power is None else f"{100 * power:.0f} %",
        wording.outcome(finding),
        "" if effect is None else _measured(effect),
        "" if effect is None else effect.verdict.value,
    )


def _measured(finding: Finding) -> str:
    return f"{wording.measured(finding)} {wording.interval(finding)}"


def _sentence(report: Report, found: Sequence[Finding]) -> str:
    """The finding: every idea by its verdict, combined with others where it was."""
    named: dict[Verdict, list[str]] = {}
    for one in found:
        named.setdefault(one.verdict, []).append(one.claim.idea)
    parts = [
        f"{verdict.value}: {wording.listed(named[verdict])}"
        for verdict in Verdict
        if verdict in named
    ]
    runs = sum(len(cell.runs) for cell in report.cells)
    photos = max(one.images for one in found)
    said = "; ".join(parts)
    return f"On {photos:,} photos of flowers ({runs} trainings), what each idea does: {said}."


def _agreement(found: Sequence[Finding], combined: dict[str, Finding]) -> str:
    """Where leaving out an idea alone and combined with others say the same, and where not."""
    sure = (Verdict.helps, Verdict.hurts)
    lines: dict[str, list[str]] = {}
    for one in found:
        if (other := combined.get(one.claim.changed)) is None:
            continue
        who = [
            name for name, own in (("by itself", one), ("combined", other)) if own.verdict in sure
        ]
        kind = f"An effect only {who[0]}" if who else "No effect found in either"
        if len(who) == 2:
            kind = "The same effect" if one.verdict is other.verdict else "Opposite effects"
        sizes = f"{wording.measured(one)} by itself, {wording.measured(other)} combined"
        lines.setdefault(kind, []).append(f"{one.claim.idea} ({sizes})")
    return "".join(f"- {kind}: {'; '.join(names)}.\n" for kind, names in lines.items())


def instrument() -> dict[str, str]:
    """How often the report finds a planted change, and how often one where there is none.

    Trials draw from the same runs again and again, so that they are not independent.
    """
    ran = read_runs(run_folders(RESULTS / "flowers" / "runs" / "ablations")).runs
    ideas = {cell.experiment: errors_by_fold(cell.runs, Metric.top1) for cell in cells(ran)}
    (planted,) = cells(read_runs(run_folders(PLANTED)).runs)
    change, base = errors_by_fold(planted.runs, Metric.top1), ideas.pop("baseline")
    effect = against_baseline(base, [change])[0].estimate
    random, powers, found, wrong = np.random.default_rng(0), [], 0, 0
    for _ in range(TRIALS):
        folds = random.permutation([*base])[:3].tolist()
        some = {fold: random.permutation(change[fold])[:2] for fold in folds}
        dealt = {fold: random.permutation(base[fold]) for fold in folds}
        four = {fold: runs[:4] for fold, runs in dealt.items()}
        others = [{fold: idea[fold] for fold in folds} for idea in ideas.values()]
        made = against_baseline(four, [some, *others])
        p_values, _ = gatekeeping([one.p_value or 0.0 for one in made], [None] * len(made), LEVEL)
        found += p_values[0] < LEVEL
        assert made[0].components is not None
        known = len(made) + 1, 1 / len(made)
        powers.append(power(made[0].components, abs(effect), 2, len(folds), *known))
        first, *rest = ({f: runs[i : i + 2] for f, runs in dealt.items()} for i in (0, 2, 4))
        made = against_baseline(first, rest)
        wrong += min(one.p_value or 0.0 for one in made) * len(made) < LEVEL
    rows = [
        ("planted", wording.points(effect), f"{np.mean(powers):.2f}", f"{found / TRIALS:.2f}"),
        ("nothing (A/A)", "0", f"at most {LEVEL}", f"{wrong / TRIALS:.3f}"),
    ]
    return {"instrument": table(("what is there", "points", "predicted", "found"), rows)}


def is_whole(study: str) -> bool:
    """Whether all runs that were planned have finished: nothing is judged before."""
    return all(
        len(finished(runs)) == int(planned)
        for runs, planned in PLANNED.items()
        if runs.startswith(f"{study}/")
    )


def finished(runs: str) -> list[dict[str, Any]]:
    """``result.json`` of each."""
    found = (read_result(folder) for folder in run_folders(RESULTS / runs))
    return [result for result in found if result]


def state() -> dict[str, str]:
    """How far the plan has come."""
    rows = []
    for runs, planned in PLANNED.items():
        seconds = [result["train_seconds"] for result in finished(runs)]
        rows.append((runs, f"{len(seconds)} of {planned}", f"{sum(seconds) / 3600:.1f}"))
    return {"state": table(("folder", "runs", "hours of training"), rows)}


def recipe() -> dict[str, str]:
    """Validation error by rate and epochs, of which the recipe was chosen."""
    ran = read_runs(run_folders(RECIPE)).runs
    seeds = sorted({run.seed for run in ran})
    rows = []
    for cell in sorted(cells(ran), key=lambda cell: (cell.fields[EPOCHS], cell.fields[RATE])):
        errors = [min(run.val_curve) for run in cell.runs.values()]
        each = [f"{100 * error:.1f}" for error in (*errors, fmean(errors))]
        rows.append((str(cell.fields[EPOCHS]), f"{cell.fields[RATE]:g}", *each))
    headings = ("epochs", "rate", *(f"seed {seed}" for seed in seeds), "mean")
    return {"recipe": table(headings, rows)}


def rates() -> dict[str, str]:
    """What ideas do at half and at twice the rate, and with the best rate of each side.

    Of one seed in each fold, the same of all. Best is the lowest mean validation error.
    """
    every = read_runs([*run_folders(RESULTS / "flowers/runs/ablations"), *run_folders(RATES)]).runs
    seeds = {run.seed for run in every if RATES in run.path.parents}
    known: dict[str, dict[float, Cell]] = {}
    for cell in cells([run for run in every if run.seed in seeds]):
        known.setdefault(cell.experiment, {})[float(cell.fields[RATE])] = cell
    base, rows = known.pop("baseline"), []
    best = _best(base)
    for name, by_rate in known.items():
        if len(by_rate) < len(base):
            continue  # no verdict, so that its rate was not asked for
        own = _best(by_rate)
        sides = [
            *((base[rate], by_rate[rate]) for rate in sorted(base)),
            (base[best], by_rate[own]),
        ]
        found = [_difference(one, other) for one, other in sides]
        rows.append((claim_about(name).idea, *found, f"{best:g} and {own:g}"))
    headings = ("idea", *(f"rate {rate:g}" for rate in sorted(base)), "best rates", "these are")
    return {"rates": table(headings, rows)}


def _best(by_rate: dict[float, Cell]) -> float:
    """The rate with the lowest validation error of the best epoch, mean over runs."""
    return min(
        by_rate, key=lambda rate: np.mean([min(r.val_curve) for r in by_rate[rate].runs.values()])
    )


def _difference(one: Cell, other: Cell) -> str:
    errors, changed = (errors_by_fold(cell.runs, Metric.top1) for cell in (one, other))
    (found,) = against_baseline(errors, [changed])
    ends = ", ".join(map(wording.points, found.ends or ()))
    return f"{wording.points(found.estimate)} {ends and f'[{ends}]'}".strip()


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _on_white(svg: str) -> str:
    """A figure of a page as a file of its own."""
    start, _, rest = svg.partition(">")
    return f'{start}>\n<rect width="100%" height="100%" fill="#fff"/>{rest}'.replace(
        "currentColor", "#1f2328"
    )


STUDIES: dict[str, Callable[[Report, Path], dict[str, str]]] = {"flowers": ideas}


if __name__ == "__main__":
    main()
