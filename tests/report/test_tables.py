"""Screen, report.md and results.csv hold what the report holds."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from alexnet_exp.report import screen as on_screen
from alexnet_exp.report.claims import Kind
from alexnet_exp.report.documents import write_csv, write_markdown
from alexnet_exp.report.findings import Report
from alexnet_exp.report.statistics import mean_interval
from tests.report import drawn_report as drawn


def markdown(report: Report, folder: Path) -> str:
    write_markdown(report, folder / "report.md")
    return (folder / "report.md").read_text(encoding="utf-8")


def screen(report: Report, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    monkeypatch.setattr(on_screen, "console", console)
    on_screen.show(report)
    return console.export_text()


@pytest.mark.parametrize("report", [drawn.big(), drawn.small(1), drawn.smaller(), drawn.drawn()])
def test_csv_reads_back_to_the_same_figures(report: Report, tmp_path: Path) -> None:
    write_csv(report, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report.findings)
    for row, finding in zip(rows, report.findings, strict=True):
        claim = finding.claim
        numbers = ("baseline", "changed", "difference", "low", "high", "p_value", "p_holm")
        expected = {name: getattr(finding, name) for name in numbers}
        for name, value in (expected | {"published": claim.figure}).items():
            assert (float(row[name]) if row[name] else None) == value
        assert tuple(map(int, row["seeds"].split())) == finding.seeds
        assert int(row["n_seeds"]) == len(finding.seeds)
        assert int(row["images"]) == finding.images
        for name in ("data", "context", "verdict", "note", "command"):
            assert row[name] == getattr(finding, name)
        assert [row[name] for name in ("claim", "factor", "change", "metric")] == [
            claim.name, claim.factor, claim.change, claim.metric,
        ]  # fmt: skip
        assert row["size"] == (finding.size or "")
        assert row["synthetic"] == str(finding.synthetic).lower()


def test_markdown_has_every_claim_with_its_figures(tmp_path: Path) -> None:
    text = markdown(drawn.big(), tmp_path)
    rows = {line.split(" (")[0]: line for line in text.splitlines() if line.startswith("| ")}
    for finding in drawn.big().findings[:17]:
        assert finding.claim.kind in (Kind.experiment, Kind.views)
        line = rows[f"| {finding.claim.change}"]
        assert f"| {100 * finding.difference:+.1f} points | [{100 * finding.low:+.1f}," in line
        assert finding.claim.figure_text.replace(">", "&gt;") in line
        assert f"**{finding.verdict}**" in line
    assert "n/a (top-5 error on five classes or fewer): no LRN, top-5; center view for ten" in text
    not_run = "one-GPU network, top-5; towers meet at the output, top-5 (no such run)"
    assert f"### Not run\n\n- {not_run}\n" in text
    assert "also optim.lr differs" in text
    assert "unfinished, epoch 12 of 60" in text
    assert "fractions" in text
    commands = text.split("```sh\n")[1].split("```")[0]
    assert all(finding.command in commands for finding in drawn.big().findings[:19])


def test_markdown_cells_cannot_break_the_table(tmp_path: Path) -> None:
    text = markdown(drawn.drawn(), tmp_path)
    assert "optim.nesterov=&lt;true&gt;&amp;\\|x\\|" in text
    assert "> **These runs saw images drawn by the program, not photos:" in text
    tables_lines = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in tables_lines}
    assert widths == {3, 10, 11}


def test_a_size_that_is_not_the_published_one_stands_beside_the_verdict(
    tmp_path, monkeypatch
) -> None:
    report = drawn.smaller()
    tally = "2 reproduced (1 of them smaller than published), 0 contradicted, "
    tally += "1 not resolved (1 of them smaller than published)"
    text = markdown(report, tmp_path)
    assert tally in text
    assert "| reproduced | 2 (1 of them smaller than published) |" in text
    assert "| **reproduced, smaller than published** |" in text
    assert "| **not resolved, smaller than published** |" in text
    assert "| **reproduced** |" in text
    wide = screen(report, 200, monkeypatch)
    assert tally in wide
    narrow = screen(report, 80, monkeypatch)
    assert max(len(line.rstrip()) for line in narrow.splitlines()) <= 80
    start = narrow.splitlines().index(next(x for x in narrow.splitlines() if "+1.37" in x))
    words = " ".join(line[50:].strip() for line in narrow.splitlines()[start : start + 3])
    assert "smaller" in words
    assert "no LRN: the published figure lies inside the interval" in narrow  # its note is shown


def test_intervals_of_a_mean_stay_between_0_and_100_percent(tmp_path: Path) -> None:
    cell = drawn.cell("baseline", 0, 2)
    for run, error in zip(cell.runs.values(), (0.2, 0.8), strict=True):
        run.result["metrics"]["test/top1_error"] = error  # by Student 0.5 +- 3.8
    assert "| [0.0, 100.0] |" in markdown(drawn.nothing(cell), tmp_path)


def test_many_images_bring_a_second_decimal(tmp_path: Path) -> None:
    report = drawn.small()
    many = replace(report, findings=(replace(report.findings[0], images=50_000),))
    assert "| +1.42 points | [+0.22, +2.62] |" in markdown(many, tmp_path)


@pytest.mark.parametrize("width", [80, 150])
def test_screen_fits_and_is_not_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = screen(drawn.big(), width, monkeypatch)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    row = next(line for line in text.splitlines() if line.startswith("no LRN"))
    assert row.split()[2:6] == ["+1.37", "+1.4", "[+0.2,", "+2.6]"]
    words = " ".join(text.split())
    assert "10 reproduced, 1 contradicted, 4 not resolved, 4 not judged, 2 not run" in words
    assert "14 seeds or 4,100 images would resolve" in words or width > 80
    errors = [run.top1_error for run in drawn.big().cells[-1].runs.values()]
    ends = mean_interval(errors)
    assert f"[{100 * ends.low:.1f}, {100 * ends.high:.1f}]" in text  # not taken for markup


def test_screen_says_one_seed_and_drawn_images_and_shortens_long_lists(monkeypatch) -> None:
    assert "+1.4, one seed" in screen(drawn.small(1), 80, monkeypatch)
    assert "drawn by the program" in screen(drawn.drawn(), 80, monkeypatch)
    assert "None of 16 claims" in screen(drawn.nothing(), 80, monkeypatch)
    report = replace(drawn.small(), refused=tuple(f"pair {i}" for i in range(40)))
    text = screen(report, 80, monkeypatch)
    assert "images/s, training and peak memory are per run" in " ".join(text.split())
    assert ("pair 4" in text, "pair 5" in text) == (True, False)
    assert "and 35 more, all in report.md" in text


def test_learning_rates_share_one_table_that_tells_them_apart(tmp_path: Path) -> None:
    cells = [drawn.cell("baseline", i, words=(f"optim.lr=0.{i}",)) for i in range(1, 4)]
    text = markdown(drawn.nothing(*cells), tmp_path)
    assert text.count("| experiment | seeds |") == 1
    for i in range(1, 4):
        assert f"| baseline optim.lr=0.{i} | 5 |" in text
