"""A list of runs says what their files say, at any width."""

import csv
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from rich.cells import cell_len

from alexnet_exp.console import console
from alexnet_exp.runs import __main__ as listing
from alexnet_exp.runs import read
from alexnet_exp.runs.folder import RunFolder
from alexnet_exp.runs.glance import COLUMNS, Glance, chosen, glances, ordered

WHEN = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)


METRICS = {
    "val/top1_error": 0.31, "val/top5_error": 0.12, "test/top1_error": 1 / 3,
    "test/top5_error": 0.1375, "val/loss": 1.5,
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, made, compose_config) -> Iterator[Path]:
    """Runs in every state."""
    late = {"finished_at": WHEN.isoformat(), "train_seconds": 75.25, "metrics": METRICS}
    made("a", "+experiment=no_lrn", seed=3, measured=late)
    made("b", "model=caffenet", "data=flowers", classes=5, folds=2, seed=1, written=1e9)
    held = []
    for name in ("diverged", "running", "unfinished"):
        run = RunFolder(tmp_path / name)
        run.start(compose_config("seed=7", "trainer.max_epochs=9"))
        if name == "running":
            held.append(run)
        else:
            run.release()
    (tmp_path / "running" / "metrics.csv").write_text("epoch,val/top1_error\n1,0.5\n2,0.4\n")
    RunFolder(tmp_path / "diverged").record_divergence("the loss is nan")
    damaged = made("z", "+experiment=tanh")
    (damaged / "result.json").write_text("{")
    yield tmp_path
    held.pop().release()


def listed(root: Path) -> dict[str, Glance]:
    return {str(Path(row.folder).relative_to(root)): row for row in glances([root])}


def test_a_row_is_what_the_files_of_a_run_say(root: Path) -> None:
    rows = listed(root)
    assert rows["a/seed_3"] == Glance(
        experiment="no_lrn", data="synthetic", model="paper", seed=3, state="finished",
        val=0.31, test=1 / 3, val5=0.12, test5=0.1375, views="ten", epochs=3, time=75.25,
        finished="2026-03-01T12:30:05+00:00", folder=str(root / "a/seed_3"), most_epochs=16,
        recipe="synthetic", precision="32-true", source="synthetic",
    )  # fmt: skip
    five = rows["b/seed_1"]
    assert (five.experiment, five.data, five.model) == ("baseline", "flowers", "caffenet")
    assert (five.fold, five.val5, five.test5) == (1, None, None), "five are all classes"
    assert five.finished == "2001-09-09T01:46:40+00:00", "as the file system says"
    states = {name: rows[name].state for name in ("diverged", "running", "unfinished", "z/seed_0")}
    assert list(states.values()) == ["diverged", "running", "unfinished", "damaged"]
    assert {rows[name].test for name in states} == {None}
    assert (rows["running"].epochs, rows["running"].most_epochs, rows["running"].seed) == (2, 9, 7)
    assert rows["diverged"].reason == "the loss is nan"
    assert rows["z/seed_0"].experiment == "tanh", "what can be read of a damaged run is there"
    assert rows["z/seed_0"].reason.startswith("result.json is damaged (")


def test_what_is_told_is_read_without_the_rest(root: Path, monkeypatch) -> None:
    """The same as in the whole, or else the whole is read."""
    folder = root / "b/seed_1"
    whole, told = read.read_config(folder), read.read_told(folder)
    assert whole is not None
    for name in ("experiment", "seed"):
        assert told[name] == whole[name]
    for group, name in (("data", "name"), ("data", "fold"), ("model", "name"), ("optim", "name"),
                        ("trainer", "max_epochs")):  # fmt: skip
        assert told[group][name] == whole[group][name]
    assert read.read_told(root) is None
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**whole, "seed": 5}, default_flow_style=True))
    assert read.read_told(folder) == read.read_config(folder) == {**whole, "seed": 5}
    monkeypatch.setattr(read, "read_config", lambda folder: pytest.fail("takes too long"))
    assert len(listed(root / "a")) == 1


@pytest.mark.parametrize("content", ["seed: x\nexperiment: a\n", "seed: [\n", "", "\xff"])
def test_a_damaged_configuration_is_told_as_elsewhere(root: Path, content: str) -> None:
    (root / "a/seed_3/config.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(read.UnusableRunError) as one:
        read.read_told(root / "a/seed_3")
    with pytest.raises(read.UnusableRunError) as other:
        read.read_config(root / "a/seed_3")
    assert str(one.value) == str(other.value)
    assert listed(root)["a/seed_3"].state == "damaged"


ROWS = [
    Glance(experiment="no_crops+no_lrn", seed=10, test=0.25, state="finished", folder="d"),
    Glance(experiment="no_lrn", seed=2, test=0.75, fold=1, state="finished", folder="c"),
    Glance(experiment="no_lrn", seed=1, state="running", folder="b"),
    Glance(experiment="baseline", seed=1, test=0.5, state="finished", folder="a"),
]


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        ("", "dcba"), ("experiment=no_lrn", "cb"), ("experiment=no_lrn,baseline", "cba"),
        ("experiment=no_lrn+no_crops", "d"), ("seed=1", "ba"), ("seed=1.0,10", "dba"),
        ("seed=1 state=finished", "a"), ("test=null", "b"), ("fold=null seed=2", ""),
        ("test=.25", "d"), ("experiment=no", ""),
    ],
)  # fmt: skip
def test_words_choose_runs(words: str, folders: str) -> None:
    assert "".join(row.folder for row in chosen(ROWS, words.split())) == folders


@pytest.mark.parametrize(
    ("column", "reverse", "folders"),
    [
        ("folder", False, "abcd"), ("test", False, "dacb"), ("test", True, "cadb"),
        ("seed", False, "bacd"), ("experiment", True, "cbda"),
    ],
)  # fmt: skip
def test_rows_are_sorted_and_what_has_no_value_is_last(
    column: str, reverse: bool, folders: str
) -> None:
    assert "".join(row.folder for row in ordered(ROWS, column, reverse)) == folders


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort", "tets"], "there is no column tets; did you mean test or test5?\n"),
        (["sead=1"], "there is no column sead; did you mean seed?\nerror"),
        (["seed=one"], "seed=one: seed is a number, or null where a run has none\n"),
        (["nowhere"], "nowhere: there is no such folder; name the folder that holds runs\n"),
        (["empty"], "empty: no run was started in it; name the folder that holds runs\n"),
    ],
)
def test_a_mistake_is_one_message(
    tmp_path: Path, monkeypatch, capsys, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as end:
        listed_by(monkeypatch, *arguments)
    assert end.value.code == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {message.removesuffix('error')}")
    assert told.out == ""


def listed_by(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["runs", *arguments])
    listing.main()


def test_csv_has_all_digits(root: Path, monkeypatch, capsys) -> None:
    odd = root / "odd,\x1b[31m"
    (root / "a").rename(odd)
    listed_by(monkeypatch, str(root), "--csv", "state=finished", "--sort", "test")
    text = capsys.readouterr().out
    assert "\x1b" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["folder"] for row in rows if "odd" in row["folder"]] == [
        rf"{root}/odd,\x1b[31m/seed_3"
    ]
    known = {str(row.test): row for row in glances([root]) if row.test is not None}
    assert [float(row["test"]) for row in rows] == sorted(map(float, known))
    for row in rows:
        for name in COLUMNS[:-1]:
            value = getattr(known[row["test"]], name)
            assert row[name] == ("" if value is None else str(value))


@pytest.mark.parametrize("width", [30, 60, 80, 100, 150, 250])
def test_a_table_fits_its_screen_and_breaks_no_name(
    root: Path, monkeypatch, capsys, width: int
) -> None:
    monkeypatch.setattr(console, "width", width)
    listed_by(monkeypatch, str(root))
    heading, *lines = capsys.readouterr().out.splitlines()
    table, names = lines[:6], heading.split()
    assert max(map(cell_len, [heading, *table])) <= width
    assert [name for name in COLUMNS if name in names] == names
    rows = listed(root).values()
    for name in names:
        column = [listing.cell(row, name) for row in ordered(rows, "folder")]
        assert all(value in line for value, line in zip(column, table, strict=True))
    rest = "\n".join(lines[6:])
    assert "damaged: " in rest
    assert "diverged: " in rest
    hidden = {name for name in COLUMNS if name not in names}
    told = re.findall(r"^not shown: (.*) \(COLUMNS=(\d+) shows all\)$", rest, re.M)
    assert bool(told) == bool(hidden)
    for left, wide in told:
        assert {*left.split(", ")} == hidden
        monkeypatch.setattr(console, "width", int(wide))
        listed_by(monkeypatch, str(root))
        whole = capsys.readouterr().out.splitlines()
        assert whole[0].split() == list(COLUMNS)
        assert max(map(cell_len, whole[:7])) == int(wide)
    assert lines[-1] == ("6 runs: 2 finished, 1 diverged, 1 running, 1 unfinished, 1 damaged")


def test_what_is_alike_in_all_runs_gives_way_first(root: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(console, "width", 40)
    listed_by(monkeypatch, str(root), "seed=7")
    out = capsys.readouterr().out
    assert out.split()[:4] == ["experiment", "seed", "state", "epochs"]
    alike = "data=synthetic, source=synthetic, model=paper, recipe=synthetic, precision=auto"
    assert f"in common: {alike}\n" in out
    assert "/9" in out, "epochs of those that it was told"
    assert out.endswith("3 of 6 runs: 1 diverged, 1 running, 1 unfinished\n")
    listed_by(monkeypatch, str(root), "seed=8")
    found = capsys.readouterr()
    assert found.out == "0 of 6 runs\n"
    assert found.err == "no run has seed=8; there is 0, 1, 3, 7\n"
    listed_by(monkeypatch, str(root), "state=finshed")
    states = "damaged, diverged, finished, running, unfinished"
    assert capsys.readouterr().err == f"no run has state=finshed; there is {states}\n"


def test_a_reader_that_has_seen_enough_is_no_error(root: Path) -> None:
    command = [sys.executable, "-m", "alexnet_exp.runs", str(root), "--csv"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.close()
    assert (run.stderr.read(), run.wait()) == (b"", 0)
