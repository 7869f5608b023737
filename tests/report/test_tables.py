"""Screen, report.md and results.csv hold what the report holds."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from alexnet_exp.report import costs, wording
from alexnet_exp.report import screen as on_screen
from alexnet_exp.report.claims import Kind
from alexnet_exp.report.documents import write_csv, write_markdown
from alexnet_exp.report.findings import Report, Verdict
from alexnet_exp.report.statistics import Components, mean_over_seeds
from tests.report import drawn_report as drawn


def markdown(report: Report, folder: Path) -> str:
    write_markdown(report, folder / "report.md")
    return (folder / "report.md").read_text(encoding="utf-8")


def screen(report: Report, width: int, monkeypatch: pytest.MonkeyPatch, show=on_screen.show) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    monkeypatch.setattr(on_screen, "console", console)
    show(report)
    return console.export_text()


@pytest.mark.parametrize("report", [drawn.big(), drawn.small(1), drawn.smaller(), drawn.drawn()])
def test_csv_reads_back_to_the_same_figures(report: Report, tmp_path: Path) -> None:
    write_csv(report, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report.findings)
    for row, finding in zip(rows, report.findings, strict=True):
        claim = finding.claim
        numbers = ("baseline", "changed", "difference", "low", "high", "p_value", "p_adjusted")
        expected = {name: getattr(finding, name) for name in numbers}
        for name, value in (expected | {"published": claim.figure}).items():
            assert (float(row[name]) if row[name] else None) == value
        assert tuple(map(int, row["seeds"].split())) == finding.seeds
        assert int(row["n_seeds"]) == len(finding.seeds)
        assert int(row["images"]) == finding.images
        for name in ("data", "context", "verdict", "note", "command"):
            assert row[name] == getattr(finding, name)
        assert [row[name] for name in ("claim", "idea", "factor", "change", "metric")] == [
            claim.name, claim.idea, claim.factor, claim.change, claim.metric,
        ]  # fmt: skip
        assert row["comparison"] == ", ".join(finding.comparison)
        assert row["synthetic"] == str(finding.synthetic).lower()


def signed(points: float) -> str:
    return f"{100 * points:+.1f}".replace("-", "\N{MINUS SIGN}")


def test_markdown_has_every_idea_with_its_figures(tmp_path: Path) -> None:
    text = markdown(drawn.big(), tmp_path)
    rows = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    for finding in drawn.big().findings[:18]:
        assert finding.claim.kind in (Kind.experiment, Kind.views)
        ends = f"[{signed(finding.low)}, {signed(finding.high)}]"
        figures = (wording.published(finding.claim), signed(finding.difference), ends)
        line = f"| {' | '.join((finding.claim.idea, *figures))} | **{finding.verdict}**"
        assert rows[f"| {finding.claim.idea}"].startswith(line.replace(">", "&gt;"))
    assert text.index("| idea | published |") < text.index("- **crops and mirror images**")
    assert "  - why: about 14 seeds would resolve the published +1.37 points\n" in text
    assert (
        "Top-5 error says nothing on five classes or fewer: LRN (top-5); ten views (top-5)." in text
    )
    not_run = "two towers (top-5); tower communication (top-5): no such run"
    assert f"## Not run\n\n- {not_run}\n" in text
    assert "also optim.lr differs" in text
    assert "unfinished, epoch 12 of 60" in text
    assert "fractions" in text
    commands = [part.split("\n```")[0] for part in text.split("```sh\n")[1:]]
    assert commands == ["\n".join(lines) for lines in costs.commands(drawn.big()).values()]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>|x|</b> & `c`", "&lt;b&gt;\\|x\\|&lt;/b&gt; &amp; \\`c\\`"),
        ("[a](http://b) [c]: d", "[a\\](http://b) [c\\]: d"),
        ("*a* _b_ c_d ~e~ $f$ #g", "\\*a\\* \\_b\\_ c_d \\~e\\~ \\$f\\$ \\#g"),
        ("- a", "\\- a"),
        ("a\n# b\x1b[31m", "a\\\\n\\# b\\\\x1b[31m"),
    ],
)
def test_markdown_takes_a_name_for_nothing_else(tmp_path: Path, name: str, shown: str) -> None:
    text = markdown(replace(drawn.small(), skipped=(name,)), tmp_path)
    assert f"\n- {shown}\n" in text


def test_markdown_cells_cannot_break_the_table(tmp_path: Path) -> None:
    text = markdown(drawn.drawn(), tmp_path)
    assert "optim.nesterov=&lt;true&gt;&amp;\\|x\\|" in text
    assert "> **These runs saw images drawn by the program, not photos:" in text
    tables_lines = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in tables_lines}
    assert widths == {6, 8}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("=1+1", "'=1+1"), ("+a", "'+a"), ("-c x", "'-c x"), ("@a", "'@a"), ("\ta", r"\ta"),
     ("\ra", r"\ra"), ("-1.5", "-1.5")],
)  # fmt: skip
def test_no_cell_is_a_formula(tmp_path: Path, text: str, shown: str) -> None:
    report = drawn.small()
    odd = replace(report.findings[0], context=text, note=text)
    write_csv(replace(report, findings=(odd,)), tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["context"] == row["note"] == shown
    assert row["published_text"] == "+1.37"  # a number stays one


def test_what_compares_with_the_paper_stands_beside_the_verdict(tmp_path, monkeypatch) -> None:
    report = drawn.smaller()
    text = markdown(report, tmp_path)
    assert "| **helps**, agrees in sign, smaller than published |" in text
    assert "| **helps**, agrees in sign |" in text
    assert "| **no effect as large as published** |" in text
    answer = "no effect as large as published: two towers."
    assert "crops and mirror images and LRN help; " + answer in text
    for width in (200, 80):
        shown = screen(report, width, monkeypatch)
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
        assert answer in " ".join(shown.split())
    lines = shown.splitlines()
    start = lines.index(next(line for line in lines if line.startswith("LRN")))
    beside = " ".join(line[50:].strip() for line in lines[start : start + 3])
    assert "helps (agrees in sign, smaller than published)" in beside


def test_why_nothing_can_be_told_stands_beside_the_verdict(tmp_path: Path) -> None:
    dead = ("not above chance: tanh (80.0 %); naming the most frequent class errs in 80.0 %",)
    found = drawn.finding(
        "tanh/top1", 0.54, verdict=Verdict.not_resolved, comparison=(), unfit=dead
    )
    report = replace(drawn.small(), findings=(found,))
    assert "| **not resolved**, not above chance |" in markdown(report, tmp_path)
    assert wording.outcome(found) == "not resolved (not above chance)"


def test_intervals_of_a_mean_stay_between_0_and_100_percent(tmp_path: Path) -> None:
    cell = drawn.cell("baseline", 0, 2)
    for run, error in zip(cell.runs.values(), (0.2, 0.8), strict=True):
        run.result["metrics"]["test/top1_error"] = error  # by Student 0.5 +- 3.8
    assert "| [0.0, 100.0] |" in markdown(drawn.nothing(cell), tmp_path)


def test_many_images_bring_a_second_decimal(tmp_path: Path) -> None:
    report = drawn.small()
    many = replace(report, findings=(replace(report.findings[0], images=50_000),))
    assert "| +1.42 | [+0.22, +2.62] |" in markdown(many, tmp_path)


@pytest.mark.parametrize("width", [80, 150])
def test_screen_fits_and_is_not_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = screen(drawn.big(), width, monkeypatch)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    row = next(line for line in text.splitlines() if line.startswith("LRN "))
    assert row.split()[1:7] == ["+1.37", "+1.4", "[+0.2,", "+2.6]", "helps", "(agrees"]
    words = " ".join(text.split())
    assert "Of 19 ideas 12 have an answer on flowers (photos, 5 seeds): crops and mirror" in words
    assert "not run: 2 claims, which report.md lists" in words
    errors = [run.top1_error for run in drawn.big().cells[-1].runs.values()]
    low, high = mean_over_seeds(errors).ends
    assert f"[{100 * low:.1f}, {100 * high:.1f}]" in text  # not taken for markup


def test_a_plan_ends_with_one_warning_and_its_hours_are_of_training(monkeypatch) -> None:
    open_one = {"components": Components(1e-5, 0.0), "verdict": Verdict.not_resolved}
    found = [drawn.finding(f"{name}/top1", 0.0142, **open_one) for name in ("no_lrn", "no_crops")]
    cells = [drawn.cell(name, i) for i, name in enumerate(("baseline", "no_lrn", "no_crops"))]
    report = replace(drawn.small(), findings=tuple(found), cells=tuple(cells))
    words = " ".join(screen(report, 80, monkeypatch, on_screen.show_plan).split())
    assert words.endswith("5 %: settle on this number now, and judge once.")
    assert words.count("until a verdict changes") == 1
    assert "Hours are of training alone, without starting and evaluating" in words
    assert ("5 seeds 100 % published" in words, "5 seeds observed" in words) == (True, True)


def test_screen_says_one_seed_and_drawn_images_and_shortens_long_lists(monkeypatch) -> None:
    assert "+1.4 one seed" in " ".join(screen(drawn.small(1), 80, monkeypatch).split())
    assert "drawn by the program" in screen(drawn.drawn(), 80, monkeypatch)
    assert "None of 17 claims" in screen(drawn.nothing(), 80, monkeypatch)
    report = replace(drawn.small(), refused=tuple(f"pair {i}" for i in range(40)))
    text = screen(report, 80, monkeypatch)
    assert "Images per second and training time are left out" in " ".join(text.split())
    assert ("pair 4" in text, "pair 5" in text) == (True, False)
    assert "and 35 more, all in report.md" in text


def test_a_terminal_shows_names_and_obeys_none(monkeypatch) -> None:
    odd = "a\x1b[31m\x07 [bold]b[/bold] :smile: \u202ec\ud800"
    report = replace(drawn.small(), runs=odd, skipped=(odd,), refused=(f"{odd}\nx",))
    text = screen(report, 200, monkeypatch)
    shown = r"a\x1b[31m\x07 [bold]b[/bold] :smile: \u202ec\ud800"
    assert [line.strip() for line in text.splitlines() if "bold" in line] == [
        f"Report of {shown}", rf"{shown}\nx", shown,
    ]  # fmt: skip


def test_learning_rates_share_one_table_that_tells_them_apart(tmp_path: Path) -> None:
    cells = [drawn.cell("baseline", i, words=(f"optim.lr=0.{i}",)) for i in range(1, 4)]
    text = markdown(drawn.nothing(*cells), tmp_path)
    assert text.count("| experiment | runs |") == 1
    for i in range(1, 4):
        assert f"| baseline optim.lr=0.{i} | 5 |" in text
