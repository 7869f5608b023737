"""What the numbers say of a claim."""

from collections.abc import Sequence
from dataclasses import replace

from alexnet_exp.report.claims import Kind
from alexnet_exp.report.commands import ENOUGH_SEEDS
from alexnet_exp.report.findings import Finding, Size, Verdict
from alexnet_exp.report.power import Needed, needed, seeds_for_ratio, seeds_for_width
from alexnet_exp.report.statistics import Components, holm

LEVEL = 0.05
POWER = 0.8
BAND = 0.01
"""How far from the published error rate a network may lie to reproduce it, fraction."""


def judge(findings: Sequence[Finding]) -> list[Finding]:
    """A verdict for each that was run, after correction for their number (Holm)."""
    tested = [finding.p_value if finding.claim.judged else None for finding in findings]
    p_values = [p_value for p_value in tested if p_value is not None]
    corrected = iter(holm(p_values))
    return [
        _judge(replace(finding, p_holm=None if p_value is None else next(corrected)), len(p_values))
        for finding, p_value in zip(findings, tested, strict=True)
    ]


def _judge(finding: Finding, tests: int) -> Finding:
    if not finding.replicates:
        return finding
    if finding.not_applicable:
        note = "not applicable: with five classes or fewer the five best hold every class"
        return replace(finding, verdict=Verdict.not_resolved, note=note)
    if finding.unfit:
        verdict, size, notes = Verdict.not_resolved, None, [*finding.unfit]
    else:
        verdict = _verdict(finding)
        size = _size(finding, verdict)
        notes = [*_why(finding, verdict, tests), *_place(finding), *_besides(finding)]
    notes += [*finding.remarks, *_other_data(finding)]
    return replace(finding, verdict=verdict, size=size, note="; ".join(notes))


def _verdict(finding: Finding) -> Verdict:
    claim, low, high = finding.claim, finding.low, finding.high
    if not claim.judged:
        return Verdict.not_judged
    if low is None or high is None or finding.difference is None:
        return Verdict.not_resolved
    if claim.kind is Kind.level:
        # By the band around the published figure, so that a wide interval settles nothing.
        assert claim.figure is not None
        bottom, top = claim.figure - BAND, claim.figure + BAND
        if bottom <= low and high <= top:
            return Verdict.reproduced
        return Verdict.contradicted if high < bottom or top < low else Verdict.not_resolved
    if finding.p_holm is None or finding.p_holm >= LEVEL:
        return Verdict.not_resolved
    worse = finding.difference > (1 if claim.kind.is_ratio else 0)
    return Verdict.reproduced if worse == (claim.sign > 0) else Verdict.contradicted


def _size(finding: Finding, verdict: Verdict) -> Size | None:
    """How the measured size compares where the interval leaves out the published one."""
    claim = finding.claim
    published = claim.figure if claim.figure is not None else claim.rough
    sizeless = verdict in (Verdict.contradicted, Verdict.not_judged) or published is None
    if claim.kind is Kind.level or sizeless or finding.low is None or finding.high is None:
        return None
    assert published is not None
    side = _side(published, finding.low, finding.high)
    if side == "inside":
        return None
    if (side == "above") == (claim.sign > 0):
        return Size.smaller
    return None if claim.at_least else Size.larger


def _why(finding: Finding, verdict: Verdict, tests: int) -> list[str]:
    if finding.difference is None:
        return []  # a remark says so
    if finding.low is None:
        if len(finding.replicates) == 1:
            return [f"one seed: no interval; run at least {ENOUGH_SEEDS} seeds"]
        return ["one test image: no interval"]
    if verdict is not Verdict.not_resolved:
        return []
    notes = []
    if finding.p_value is not None and finding.p_value < LEVEL:
        notes.append(
            f"by itself the difference has p = {finding.p_value:.2g}, corrected for {tests}"
            f" comparisons {finding.p_holm:.2g}"
        )
    return [*notes, _what_resolves(finding, tests)]


def _what_resolves(finding: Finding, tests: int) -> str:
    if finding.claim.kind is Kind.level:
        assert finding.components is not None
        text = _level_resolves(finding.components, finding)
    elif finding.claim.kind.is_ratio:
        assert finding.log_deviation is not None
        text = _ratio_resolves(finding.log_deviation, finding, tests)
    else:
        assert finding.components is not None
        text = _difference_resolves(finding.components, finding, tests)
    return f"{text}, a rough guess from two seeds" if len(finding.replicates) == 2 else text


def _level_resolves(components: Components, finding: Finding) -> str:
    """How many seeds would bring the interval to one side of the band's edge."""
    claim = finding.claim
    assert claim.figure is not None
    assert finding.difference is not None
    distance = abs(abs(finding.difference - claim.figure) - BAND)
    seeds = seeds_for_width(components, distance, finding.images, 1 - LEVEL)
    error = f"{100 * finding.difference:.1f} %"
    band = f"{100 * BAND:g} point of the published {claim.figure_text}"
    reached = "no number of seeds" if seeds is None else f"about {_rounded(seeds)} seeds"
    return (
        f"the interval reaches across the edge of the band of {band}; {reached} on these images"
        f" would settle it if the error stays {error}"
    )


def _ratio_resolves(deviation: float, finding: Finding, tests: int) -> str:
    """How many seeds would tell the published ratio, or the observed one, from 1."""
    published = finding.claim.figure
    ratio = finding.difference if published is None else published
    assert ratio is not None
    seeds = seeds_for_ratio(deviation, ratio, 1 - LEVEL / tests, POWER)
    what = f"the {'observed' if published is None else 'published'} ratio of {ratio:.3g}"
    if seeds is None:
        return f"more seeds alone would not resolve {what}"
    if seeds <= len(finding.replicates):
        return f"these seeds would show {what} in {POWER:.0%} of cases or more"
    return f"about {_rounded(seeds)} seeds would resolve {what} (power {POWER:.0%})"


def _difference_resolves(components: Components, finding: Finding, tests: int) -> str:
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
    seeds, images = len(finding.replicates), finding.images
    # Bonferroni's level is where Holm's correction starts.
    enough = needed(components, effect, seeds, images, 1 - LEVEL / tests, POWER)
    if enough.seeds is not None and enough.seeds <= seeds:
        return f"these seeds and images would show {what} in {POWER:.0%} of cases or more"
    return _seeds_or_images(enough, f"would resolve {what} (power {POWER:.0%})", what)


def _seeds_or_images(enough: Needed, resolves: str, what: str) -> str:
    seeds = enough.seeds and f"about {_rounded(enough.seeds)} seeds on these images"
    images = enough.images and f"about {_rounded(enough.images)} test images with these seeds"
    if seeds and images:
        return f"{seeds}, or {images}, {resolves}"
    if seeds:
        return f"{seeds} {resolves}; more images alone would not do"
    if images:
        return f"{images} {resolves}; more seeds alone would not do"
    return f"neither more seeds alone nor more images alone would resolve {what}"


def _rounded(number: int) -> str:
    """To two digits: the variances behind it are not known better."""
    return f"{round(number, 2 - len(str(number))):,}"


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
    return ["no figure was published: the sign alone decides"] if claim.judged else []


def _besides(finding: Finding) -> list[str]:
    """What else the published figure may be due to."""
    claim = finding.claim
    if not claim.besides:
        return []
    return [claim.besides if claim.judged else f"no verdict: {claim.besides}"]


def _side(value: float, low: float, high: float) -> str:
    return "below" if value < low else "above" if value > high else "inside"


def _other_data(finding: Finding) -> list[str]:
    claim = finding.claim
    same = (
        finding.data == claim.data_name
        if claim.data_name
        else finding.data.startswith("imagenet") and claim.data == "ILSVRC"
    )
    nothing = not claim.judged and claim.figure is None
    return [] if same or nothing else [f"published for {claim.data}, measured on {finding.data}"]
