"""What the numbers say of a claim."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, inf, log
from typing import NamedTuple

from alexnet_exp.report.claims import Kind, Metric
from alexnet_exp.report.commands import ENOUGH_SEEDS, whole_groups
from alexnet_exp.report.findings import Comparison, Finding, Verdict
from alexnet_exp.report.gatekeeping import gatekeeping
from alexnet_exp.report.power import LEVEL, POWER, between, power, seeds_for_width, seeds_needed

BAND = 0.01
"""How far from the published error rate a network may lie to reproduce it, fraction."""


def judge(findings: Sequence[Finding]) -> list[Finding]:
    """A verdict for each that was run, after correction for all that are tested.

    A claim about top-5 error is tested where the one about top-1 error of the same change was
    resolved, with its share of the level: the others lose nothing by it. What was resolved is set
    beside its published size with an equal share each: with the shares of the tests a quarter of
    reports on 14 effects would call some other than published that are just that. Averages, which
    change nothing in a network, are corrected by themselves.
    """
    families = [one.claim.kind is Kind.average for one in findings]
    made = {
        family: iter(
            _judge([f for f, own in zip(findings, families, strict=True) if own is family])
        )
        for family in (False, True)
    }
    return [next(made[family]) for family in families]


def _judge(findings: Sequence[Finding]) -> list[Finding]:
    """Of one family."""
    tested = [one for one in findings if _is_tested(one)]
    is_top5 = [one.claim.metric is Metric.top5 for one in tested]
    top1 = {_change(one): place for place, one in enumerate(tested) if not is_top5[place]}
    parents = [top1.get(_change(one)) if is_top5[i] else None for i, one in enumerate(tested)]
    p_values = [one.p_value or 0.0 for one in tested]
    corrected = zip(*gatekeeping(p_values, parents, LEVEL), strict=True)
    found = []
    for finding in findings:
        if _is_tested(finding):
            p_adjusted, share = next(corrected)
            share = share if p_adjusted >= LEVEL else 1 / len(tested)
            finding = replace(finding, p_adjusted=p_adjusted, share=share)
        found.append(judged(finding, len(tested)))
    return found


def _is_tested(finding: Finding) -> bool:
    """Whether it shares the level of the report; what towers see is no matter of error."""
    by_itself = finding.claim.kind is Kind.towers
    return finding.p_value is not None and not finding.unfit and not by_itself


def _change(finding: Finding) -> tuple[str, ...]:
    """What the claims about top-1 and about top-5 error of one change have in common."""
    claim = finding.claim
    return claim.kind, claim.baseline, claim.changed, finding.data, finding.context


def judged(finding: Finding, tests: int) -> Finding:
    """With its verdict and why; it was corrected for so many ``tests``."""
    if not finding.replicates:
        return finding
    if finding.unfit:
        note = "; ".join([*finding.unfit, *finding.remarks])
        return replace(finding, verdict=Verdict.not_resolved, note=note)
    finding = replace(finding, verdict=_verdict(finding))
    finding = replace(finding, comparison=tuple(_comparison(finding)))
    apart = "" if finding.claim.judged else "not compared with a figure: "
    besides = [apart + finding.claim.besides] if finding.claim.besides else []
    if finding.claim.kind is Kind.towers:
        return replace(finding, note="; ".join(finding.remarks))
    notes = [*_why(finding, tests), *_place(finding), *besides, *finding.remarks]
    return replace(finding, note="; ".join(notes))


def _verdict(finding: Finding) -> Verdict:
    if finding.claim.kind is Kind.level:
        return _verdict_on_level(finding)
    if finding.claim.kind is Kind.towers:
        p_value = finding.p_value
        return Verdict.differ if p_value is not None and p_value < LEVEL else Verdict.not_resolved
    if finding.p_adjusted is None or finding.difference is None:
        return Verdict.not_resolved
    if finding.p_adjusted < LEVEL:
        worse = finding.difference > (1 if finding.claim.kind.is_ratio else 0)
        return Verdict.helps if worse else Verdict.hurts
    ends, size = corrected_interval(finding), finding.size
    if ends is not None and size is not None and -size < ends[0] and ends[1] < size:
        return Verdict.below_margin if finding.claim.published_size is None else Verdict.no_effect
    return Verdict.not_resolved


def _verdict_on_level(finding: Finding) -> Verdict:
    """By the band around the published figure, so that a wide interval settles nothing."""
    low, high, figure = finding.low, finding.high, finding.claim.figure
    assert figure is not None
    if low is None or high is None:
        return Verdict.not_resolved
    if figure - BAND <= low and high <= figure + BAND:
        return Verdict.reproduced
    away = high < figure - BAND or figure + BAND < low
    return Verdict.contradicted if away else Verdict.not_resolved


def corrected_interval(finding: Finding) -> tuple[float, float] | None:
    """At the level that the other claims leave; of a ratio its logarithm. None: not tested."""
    return finding.interval(1 - LEVEL * finding.share) if finding.share else None


def _comparison(finding: Finding) -> list[Comparison]:
    """Of sign and of size with the published figure, where it is about this change alone."""
    claim, ends = finding.claim, corrected_interval(finding)
    if claim.kind is Kind.level or not claim.judged or ends is None:
        return []
    found = []
    if finding.verdict in (Verdict.helps, Verdict.hurts):
        same = (finding.verdict is Verdict.helps) == (claim.sign > 0)
        if finding.alike:
            found.append(Comparison.reproduced if same else Comparison.contradicted)
        else:
            found.append(Comparison.same_sign if same else Comparison.opposite_sign)
        if not same:
            return found
    size = finding.claim.published_size
    if size is None or finding.verdict is Verdict.no_effect:  # which says that it is smaller
        return found
    low, high = ends if claim.sign > 0 else (-ends[1], -ends[0])
    if high < size:
        found.append(Comparison.smaller)
    elif low > size and not claim.at_least:
        found.append(Comparison.larger)
    return found


def _why(finding: Finding, tests: int) -> list[str]:
    if finding.difference is None:
        return []  # a remark says so
    if finding.low is None:
        if len(finding.replicates) == 1:
            return [f"one seed: no interval; run at least {ENOUGH_SEEDS} seeds"]
        return ["one test image: no interval"]
    if finding.verdict in (Verdict.no_effect, Verdict.below_margin):
        whose = " (the margin that the runs recorded)" * (finding.claim.published_size is None)
        return [f"the corrected interval lies within {size_text(finding)}{whose} of none"]
    if finding.verdict is not Verdict.not_resolved:
        return []
    if not finding.share:
        return ["tested only where the top-1 error is resolved: the interval stands by itself"]
    notes = []
    if finding.p_value is not None and finding.p_value < LEVEL:
        notes.append(
            f"by itself the difference has p = {finding.p_value:.2g}, corrected for {tests}"
            f" comparisons {finding.p_adjusted:.2g}"
        )
    return [*notes, what_resolves(finding)]


def what_resolves(finding: Finding) -> str:
    """How many seeds would tell the published size, else the margin or the observed one."""
    claim = finding.claim
    if claim.kind is Kind.level:
        return _level_resolves(finding)
    found = need(finding, finding.folds)
    if found is None:
        return "no difference was seen"
    needed, what = found.seeds, found.what
    if needed is None:
        return f"more seeds alone would not resolve {what}"
    each = f" in each of {finding.folds} folds" if finding.folds > 1 else ""
    now = len(finding.replicates) // max(1, finding.folds)
    if found.power is None:  # those at hand were too few
        needed = max(needed, now + 1)
    needed = whole_groups(claim, needed)
    if needed <= now:
        return f"these seeds would show {what} in {100 * POWER:.0f} % of cases or more"
    guess = ", a rough guess from two seeds" if len(finding.replicates) == 2 else ""
    # One seed a fold does not tell seeds from images and folds, which more of them do not narrow.
    about = "at least" if now == 1 < finding.folds else "about"
    return (
        f"{about} {_rounded(needed)} seeds{each} would resolve {what} (power {100 * POWER:.0f} %)"
        f"{guess}" + ("" if found.power is None else f"; these do in {100 * found.power:.0f} %")
    )


class Need(NamedTuple):
    """Fewest ``seeds`` in each fold (None: no number), ``what`` they resolve, ``power`` at hand.

    ``gap`` is what has to be told from none: a fraction, of a ratio its logarithm. Of what was seen
    there is no power, which would say the p-value again.
    """

    seeds: int | None
    what: str
    power: float | None
    gap: float


def need(finding: Finding, folds: int) -> Need | None:
    """In so many folds; None where there is nothing to find.

    That is the published size. Where none was published, it is what was seen, if it is as large as
    it looks; or that it lies within the margin, if the runs recorded one and that takes fewer.
    """
    seen, size, parts = finding.difference, finding.claim.published_size, finding.components
    if seen is None or parts is None:
        return None
    seen = log(seen) if finding.claim.kind.is_ratio else seen
    sought = seen if size is None else size * finding.claim.sign
    of_ratio, of_points = f"ratio of {exp(sought):.3g}", f"{100 * sought:+.2f} points"
    which = "observed" if size is None else "published"
    what = f"the {which} {of_ratio if finding.claim.kind.is_ratio else of_points}"
    ways: list[tuple[str, float, float | None]] = [(what, abs(sought), None)] if sought else []
    if size is None and finding.margin is not None and abs(seen) < finding.margin:
        within = f"an effect below the margin of {size_text(finding)}"
        ways.append((within, abs(seen), finding.margin))
    now = len(finding.replicates) / finding.folds
    own, networks = between(now, finding.folds), float(finding.networks)
    if own and finding.freedom:  # not all networks tell it where one counts by itself
        networks = min(networks, max(1.0, finding.freedom / own))
    found = []
    for what, effect, margin in ways:
        known = networks, finding.share, margin, finding.pooled_from
        seeds = seeds_needed(parts, effect, folds, *known)
        is_set = size is not None or margin is not None
        at_hand = power(parts, effect, now, finding.folds, *known) if is_set else None
        found.append(Need(seeds, what, at_hand, effect if margin is None else margin - effect))
    return min(found, key=lambda one: one.seeds or inf, default=None)


def _level_resolves(finding: Finding) -> str:
    """How many seeds would bring the interval to one side of the band's edge."""
    claim, components = finding.claim, finding.components
    assert claim.figure is not None
    assert finding.difference is not None
    distance = abs(abs(finding.difference - claim.figure) - BAND)
    seeds = seeds_for_width(components, distance, finding.folds) if components else None
    error = f"{100 * finding.difference:.1f} %"
    band = f"{100 * BAND:g} point of the published {claim.figure_text}"
    reached = "no number of seeds" if seeds is None else f"about {_rounded(seeds)} seeds"
    return (
        f"the interval reaches across the edge of the band of {band}; {reached} on these images"
        f" would settle it if the error stays {error}"
    )


def _rounded(number: int) -> str:
    """To two digits: the variances behind it are not known better."""
    return f"{round(number, 2 - len(str(number))):,}"


def size_text(finding: Finding) -> str:
    """What counts as an effect, in words."""
    claim, size = finding.claim, finding.size
    assert size is not None
    if claim.kind.is_ratio:
        return f"a factor of {exp(size):.3g}"
    return _points(size)


def _place(finding: Finding) -> list[str]:
    """Where the published figure lies."""
    claim, low, high = finding.claim, finding.low, finding.high
    if low is None or high is None:
        return []
    if claim.named is None:
        return ["no figure was published: the sign alone is compared"] if claim.judged else []
    side = "below" if claim.named < low else "above" if claim.named > high else "inside"
    if claim.figure is not None:
        return [f"the published {claim.figure_text} lies {side} the interval"]
    return [f'published "{claim.figure_text}": {_points(claim.named)} lies {side} the interval']


def _points(size: float) -> str:
    return f"{100 * size:g} point{'' if size == 0.01 else 's'}"
