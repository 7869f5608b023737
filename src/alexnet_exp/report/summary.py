"""What stands at the top of a report: the banner, the answer in two sentences, the tallies."""

from collections import Counter

from alexnet_exp.report.findings import Report, Size, Verdict
from alexnet_exp.report.wording import NOT_APPLICABLE, count, was_run


def tallies(report: Report) -> list[tuple[str, int, str]]:
    """Each verdict, how many findings have it, and how many of them are of another size.

    The last is such as ``1 of them smaller than published``; empty where there are none.
    """
    judged = [finding for finding in report.findings if not finding.not_applicable]
    counted = Counter(finding.verdict for finding in judged)
    sizes = Counter((finding.verdict, finding.size) for finding in judged)
    found = []
    for name in Verdict:
        of_them = (f"{sizes[name, size]} of them {size}" for size in Size if sizes[name, size])
        found.append((name.value, counted[name], ", ".join(of_them)))
    left = len(report.findings) - len(judged)
    return [*found, (NOT_APPLICABLE, left, "")] if left else found


def summary(report: Report) -> str:
    """The answer in two sentences: what was compared, and how it came out."""
    ran = was_run(report)
    if not ran:
        claims = count(len({f.claim.name for f in report.findings}), "published claim")
        found = f"{count(len(report.groups), 'experiment')} found, none with a partner to compare"
        return f"None of {claims} was run: {found if report.groups else 'no finished runs found'}."
    names = {f.claim.name for f in ran}
    claims = count(len(names), "published claim")
    data = ", ".join(dict.fromkeys(f.data for f in ran))
    seeds = sorted({len(f.seeds) for f in ran})
    most = f"{seeds[0]} to " if len(seeds) > 1 else ""
    most += count(seeds[-1], "seed")
    outcome = ", ".join(
        f"{number} {name}{sizes and f' ({sizes})'}" for name, number, sizes in tallies(report)
    )
    rows = f", in {len(ran)} comparisons" if len(ran) != len(names) else ""
    return f"{claims} set beside runs on {data}, {most} each{rows}: {outcome}."


def banner(report: Report) -> str:
    """What to say first where runs saw drawn images; empty where none did."""
    if not report.synthetic:
        return ""
    subject = "These runs"
    if not all(group.synthetic for group in report.groups):
        names = dict.fromkeys(group.data for group in report.groups if group.synthetic)
        subject = f"The runs on {', '.join(names)}"
    return f"{subject} saw images drawn by the program, not photos: they say nothing about photos."
