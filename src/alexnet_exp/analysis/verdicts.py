"""What the numbers say of a claim."""

from collections.abc import Sequence
from dataclasses import replace

from alexnet_exp.analysis.findings import Claim, Finding, Kind, Verdict
from alexnet_exp.analysis.measures import Measured
from alexnet_exp.analysis.statistics import MOST_IMAGES, MOST_SEEDS, Components, holm, needed

LEVEL = 0.05
POWER = 0.8
ENOUGH_SEEDS = 3


def judge(measured: Sequence[Measured]) -> list[Finding]:
    """A verdict for each, after correction for their number (Holm)."""
    tested = [item for item in measured if item.finding.p_value is not None]
    p_values = [item.finding.p_value for item in tested if item.finding.p_value is not None]
    corrected = dict(zip(map(id, tested), holm(p_values), strict=True)) if tested else {}
    return [_judge(item, corrected.get(id(item)), len(tested)) for item in measured]


def not_run(claim: Claim, reason: str, command: str = "") -> Finding:
    """A claim that no run is about."""
    return Finding(claim, Verdict.not_run, reason, command=command)


def _judge(measured: Measured, p_holm: float | None, tests: int) -> Finding:
    finding = replace(measured.finding, p_holm=p_holm)
    if finding.not_applicable:
        note = "with five classes or fewer the five best hold every class"
        return replace(finding, note=f"not applicable: {note}")
    verdict = _verdict(finding)
    notes = [
        *_why(measured, finding, verdict, tests),
        *_place(finding),
        *measured.remarks,
        *_other_data(finding),
    ]
    return replace(finding, verdict=verdict, note="; ".join(notes))


def _verdict(finding: Finding) -> Verdict:
    claim = finding.claim
    if finding.low is None or finding.high is None or finding.difference is None:
        return Verdict.not_resolved
    if claim.kind is Kind.level:
        assert claim.figure is not None
        inside = finding.low <= claim.figure <= finding.high
        return Verdict.reproduced if inside else Verdict.contradicted
    if finding.p_holm is None or finding.p_holm >= LEVEL:
        return Verdict.not_resolved
    worse = finding.difference > _neutral(claim)
    return Verdict.reproduced if worse == (claim.sign > 0) else Verdict.contradicted


def _neutral(claim: Claim) -> float:
    """What the difference is where the change makes none."""
    return 1.0 if claim.kind is Kind.speed else 0.0


def _why(measured: Measured, finding: Finding, verdict: Verdict, tests: int) -> list[str]:
    if finding.difference is None:
        return []  # a remark says so
    if finding.low is None:
        if len(finding.seeds) == 1:
            return [f"one seed: no interval; run at least {ENOUGH_SEEDS} seeds"]
        return ["one test image: no interval"]
    if verdict is not Verdict.not_resolved:
        return []
    notes = []
    assert finding.p_value is not None
    if finding.p_value < LEVEL:
        notes.append(
            f"by itself the difference has p = {finding.p_value:.2g}, corrected for {tests}"
            f" comparisons {finding.p_holm:.2g}"
        )
    if finding.claim.kind is Kind.speed:
        return [*notes, "more seeds would narrow the interval"]
    assert measured.components is not None
    return [*notes, _what_resolves(measured.components, finding, tests)]


def _what_resolves(components: Components, finding: Finding, tests: int) -> str:
    """How many seeds or images would tell the published difference from none."""
    claim = finding.claim
    published = claim.figure if claim.figure is not None else claim.rough
    effect = finding.difference if published is None else published
    if not effect:
        return "no difference was seen, so no number of seeds or images would resolve it"
    what = "observed" if published is None else "published"
    what = f"the {what} {100 * effect:+.2f} points"
    if components.seed == components.image == components.residual == 0:
        return "no image of any seed tells the two apart"
    seeds, images = len(finding.seeds), finding.images
    # Bonferroni's level is where Holm's correction starts.
    enough = needed(components, effect, seeds, images, 1 - LEVEL / tests, POWER)
    if enough.seeds is not None and enough.seeds <= seeds:
        return f"these seeds and images would show {what} in {POWER:.0%} of cases or more"
    return (
        f"{_about(enough.seeds, MOST_SEEDS)} seeds on these images, or"
        f" {_about(enough.images, MOST_IMAGES)} test images with these seeds, would resolve {what}"
        f" (power {POWER:.0%})"
    )


def _about(number: int | None, most: int) -> str:
    return f"more than {most:,}" if number is None else f"about {number:,}"


def _place(finding: Finding) -> list[str]:
    """Where the published figure lies."""
    claim, low, high = finding.claim, finding.low, finding.high
    if low is None or high is None:
        return []
    if claim.figure is not None:
        where = _side(claim.figure, low, high)
        return [f"the published {claim.figure_text} lies {where} the interval"]
    if claim.rough is not None:
        where = _side(claim.rough, low, high)
        size = f"{100 * claim.rough:g} point{'' if claim.rough == 0.01 else 's'}"
        return [f'published "{claim.figure_text}": {size} lies {where} the interval']
    return ["no figure was published: the sign alone decides"]


def _side(value: float, low: float, high: float) -> str:
    return "below" if value < low else "above" if value > high else "inside"


def _other_data(finding: Finding) -> list[str]:
    claim = finding.claim
    same = (
        finding.data == claim.data_name
        if claim.data_name
        else finding.data.startswith("imagenet") and claim.data == "ILSVRC"
    )
    return [] if same else [f"published for {claim.data}, measured on {finding.data}"]
