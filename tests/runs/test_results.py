"""What is read back from run folders, and what is left out."""

import json
import random
from copy import deepcopy
from functools import partial, reduce
from math import inf, nan
from operator import getitem

import numpy as np
import pytest
import yaml

from alexnet_exp.report.__main__ import make_report, write
from alexnet_exp.report.ratios import epochs_to_target
from alexnet_exp.runs import read as runs_read
from alexnet_exp.runs.read import UnusableRunError, run_folders
from alexnet_exp.runs.results import read_run, read_runs
from tests.report.made_runs import DUMPER, IMAGES, wrong_images


def read(folder):
    return read_runs(run_folders(folder))


def test_errors_are_by_image_in_store_order(made) -> None:
    wrong, center = wrong_images(0, IMAGES, 0.4), wrong_images(1, IMAGES, 0.5)
    top5 = wrong & wrong_images(2, IMAGES, 0.5)
    run = read_run(made("a", wrong=wrong, wrong_top5=top5, center=center))
    assert run.index.tolist() == list(range(3, IMAGES + 3))
    assert run.labels.tolist() == [i % 10 for i in range(IMAGES)]
    assert run.wrong["top1"].tolist() == wrong.tolist()
    assert run.wrong["top5"].tolist() == top5.tolist()
    assert run.center_wrong["top1"].tolist() == center.tolist()
    assert not run.center_wrong["top5"].any()
    assert run.train_curve == (0.9, 0.5, 0.2)
    assert (run.fields["optim.lr"], run.fields["model.conv.conv1.channels"]) == (0.01, 96)
    assert not {"seed", "experiment", "config_hash", "data.root", "logger.mode"} & run.fields.keys()


def test_curves_go_by_the_column_of_epochs(made) -> None:
    folder = made("a", train_curve=(0.9, 0.6, 0.4, 0.2))
    file = folder / "metrics.csv"
    heading, first, _, third, last = file.read_text().splitlines()
    again = third.replace("0.4", "0.3")  # of an epoch that was run twice the later row counts
    file.write_text("\n".join([heading, last, third, first, again]) + "\n")
    run = read_run(folder)
    assert run.train_curve == pytest.approx((0.9, np.nan, 0.3, 0.2), nan_ok=True)
    assert run.val_curve == pytest.approx((0.9, np.nan, 0.3, 0.2), nan_ok=True)
    assert epochs_to_target(run) == 4
    file.write_text("\n".join([heading, first.replace("1,", "0,", 1)]) + "\n")
    with pytest.raises(UnusableRunError, match=r"metrics\.csv is damaged .*count from 1"):
        read_run(folder)


def test_a_folder_may_itself_be_a_run(tmp_path, made) -> None:
    run = made("a")
    (run / "wandb" / "files").mkdir(parents=True)
    (run / "wandb" / "files" / "config.yaml").write_text("{}")
    assert run_folders(run) == [run]
    assert run_folders(tmp_path) == [run]


def test_the_newer_of_two_runs_of_one_seed_counts(tmp_path, made) -> None:
    a, b, c = (made(n, written=time) for n, time in (("a", 2000.0), ("b", 1000.0), ("c", 3000.0)))
    other = made("d", "optim.lr=0.1", written=1.0)
    found = read(tmp_path)
    assert [run.path for run in found.runs] == [c, other]
    assert found.skipped == (
        f"{b}: older than {a}, of the same configuration and seed",
        f"{a}: older than {c}, of the same configuration and seed",
    )


def test_unfinished_diverged_and_damaged_runs_are_named(tmp_path, made) -> None:
    damaged = {
        "no_config": "config.yaml is missing", "no_csv": "metrics.csv is missing",
        "other_result": "result.json is damaged (it lacks metrics)",
        "half_npz": "predictions.npz is damaged (cut off)",
        "no_npz": "predictions.npz can't be read (No such file",
        "no_column": "predictions.npz is damaged (column label)",
        "list": "environment.json is damaged (not of a run)",
        "word": "config.yaml is not of a run (optim.momentum='x')",
        "option": "config.yaml is not of a run (evaluation.views='zzz')",
        "other_npz": "result.json says that test/top1_error is",
    }  # fmt: skip
    run = {name: made(name) for name in ("whole", "unfinished", "diverged", *damaged)}
    (run["unfinished"] / "result.json").unlink()
    (run["diverged"] / "result.json").unlink()
    (run["diverged"] / "diverged.json").write_text('{"message": "diverged: train loss is nan"}')
    (run["other_result"] / "result.json").write_text('{"score": 1}')
    (run["no_config"] / "config.yaml").unlink()
    whole = (run["half_npz"] / "predictions.npz").read_bytes()
    (run["half_npz"] / "predictions.npz").write_bytes(whole[: len(whole) // 2])
    (run["no_npz"] / "predictions.npz").unlink()
    np.savez_compressed(run["no_column"] / "predictions.npz", index=np.arange(3))
    result = json.loads((run["other_npz"] / "result.json").read_text())
    result["metrics"]["test/top1_error"] += 1 / IMAGES
    (run["other_npz"] / "result.json").write_text(json.dumps(result))
    (run["no_csv"] / "metrics.csv").unlink()
    (run["list"] / "environment.json").write_text("[]")
    config = (run["word"] / "config.yaml").read_text()
    (run["word"] / "config.yaml").write_text(config.replace("momentum: 0.9", "momentum: x"))
    (run["option"] / "config.yaml").write_text(config.replace("views: ten", "views: zzz"))

    found = read(tmp_path)
    assert [found.path for found in found.runs] == [run.pop("whole")]
    reasons = dict(line.split(": ", 1) for line in found.skipped)
    assert reasons.keys() == {*map(str, run.values())}
    assert reasons[str(run["unfinished"])] == "unfinished"
    assert reasons[str(run["diverged"])] == "diverged: train loss is nan"
    for name, reason in damaged.items():
        assert reasons[str(run[name])].startswith(reason)


WRONG = (None, True, "", "x", [], [1], {}, {"a": 1}, nan, inf, -1, 0, 0.5, 3, 10**9, 10**400)
TEXT, SHARE, NONE = ("", "x"), (0, 0.5), (None,)
NUMBERS, WHOLE = (-1, 0, 0.5, 3, 10**9), (-1, 0, 3, 10**9)
ALLOWED = {
    "result.json": {
        "metrics": ({}, {"a": 1}), "metrics.test/top1_error": SHARE,
        "metrics.val/top5_error": SHARE, "experiment": TEXT, "data": TEXT,
        "seed": (0, 3, 10**9), "epochs": (3,), "devices": (3,),
        "train_seconds": (0, 0.5, 3, 10**9), "images_per_second": (0, 0.5, 3, 10**9),
        "peak_memory_bytes": (0, 3, 10**9), "views": TEXT, "classes": (3,), "synthetic": (True,),
        "strategy": TEXT, "other_load": (None, 0, 0.5, 3),
        "config_hash": TEXT, "best_epoch": (0, 3, 10**9), "images": ({}, {"a": 1}),
        "first_step_seconds": (None, 0, 0.5, 3, 10**9), "mine": WRONG,
    },
    "environment.json": {
        "git_revision": NONE + TEXT, "git_changed": (True,), "python": TEXT, "versions": ({},),
        "cpu": TEXT, "gpus": ([],), "command": ([],), "platform": TEXT,
        "cpu_cores": (None, 3),
    },
    "config.yaml": {
        "seed": (0, 3, 10**9), "experiment": TEXT, "data.name": TEXT, "data.source": (),
        "data.fold": (None, 0, 3), "data.folds": (None, 0, 3), "data.val_fraction": SHARE,
        "model.name": TEXT, "optim.lr": (0, 0.5, 3, 10**9), "trainer.num_nodes": (3,),
        "sweep.margin": NONE + SHARE, "trainer": ({}, {"a": 1}), "config_hash": TEXT,
        "model.activation": (), "model.dropout": NUMBERS, "model.fc": ([], [1]),
        "model.without": ([],), "model.lrn": ({}, {"a": 1}), "model.conv": ({},),
        "model.conv.conv1": ({}, {"a": 1}), "model.conv.conv1.channels": WHOLE,
        "model.conv.conv1.order": (None, []), "model.weights_digest": NONE + TEXT,
        "model.init.layer_std": ({}, {"a": 1}), "optim.layers": ({},),
        "optim.clip_norm": NONE + NUMBERS, "augmentation.crops": (True,), "trainer.devices": WRONG,
        "callbacks": ({}, {"a": 1}), "mine": WRONG, "optim.mine": WRONG,
    },
}  # fmt: skip


@pytest.mark.parametrize("file", ALLOWED)
def test_a_field_of_another_kind_is_refused_by_its_file(made, file: str) -> None:
    folder = made("a")
    whole = yaml.safe_load((folder / file).read_text())
    for path, allowed in ALLOWED[file].items():
        group, _, name = path.rpartition(".")
        for value in WRONG:
            content = deepcopy(whole)
            values = reduce(getitem, group.split(".") if group else (), content)
            values[name] = value
            dump = partial(yaml.dump, Dumper=DUMPER) if file == "config.yaml" else json.dumps
            (folder / file).write_text(dump(content))
            if repr(value) in map(repr, allowed):
                READERS[file](folder)
                continue
            with pytest.raises(UnusableRunError) as refused:
                READERS[file](folder)
            assert refused.value.reason.startswith(file)
            assert f"({path}" in refused.value.reason


def stored(folder):
    with np.load(folder / "predictions.npz") as columns:
        return dict(columns)


def test_probabilities_add_up_to_one(tmp_path, made) -> None:
    tenth = np.full((20, 10), 0.1, np.float32)
    folder = made("a", probabilities=tenth)
    (run,) = read(tmp_path).runs
    assert np.array_equal(run.probabilities, tenth)
    columns = stored(folder)
    for change in (1.1, np.nan):
        damaged = {"probabilities": columns["probabilities"] * change}
        np.savez(folder / "predictions.npz", **columns | damaged)
        (told,) = read(tmp_path).skipped
        assert "predictions.npz is damaged (column probabilities does not add up to 1)" in told


@pytest.mark.parametrize(
    ("column", "change", "reason"),
    [
        ("top5", lambda x: x.astype(np.float16), "column top5"),
        ("label", lambda x: x.astype(object), "Object arrays"),
        ("label", lambda x: x - 4, "column label counts from 0"),
        ("index", lambda x: np.full_like(x, 2**64 - 1, np.uint64), "column index counts from 0"),
        ("index", lambda x: x // 2, "an index twice"),
        ("label", lambda x: x + 9, "column label goes beyond 10 classes"),
        ("top5", lambda x: x + 9, "column top5 goes beyond 10 classes"),
        ("top5", lambda x: np.repeat(x, 2, 1), "length of column top5"),
        ("split", lambda x: x[:-1], "length of column split"),
        ("split", lambda x: np.full(len(x), "val"), "holds no test images"),
    ],
)
def test_columns_of_other_kinds_are_refused(tmp_path, made, column, change, reason) -> None:
    folder = made("a")
    columns = stored(folder)
    np.savez(folder / "predictions.npz", **columns | {column: change(columns[column])})
    (told,) = read(tmp_path).skipped
    assert told.startswith(f"{folder}: predictions.npz ")
    assert reason in told


def test_files_of_two_runs_are_no_run(tmp_path, made) -> None:
    folder, other = made("a"), made("b", "+experiment=no_lrn", seed=3)
    (folder / "result.json").write_bytes((other / "result.json").read_bytes())
    (told,) = read(tmp_path).skipped
    assert told == f"{folder}: result.json has experiment no_lrn, config.yaml baseline"


def test_a_run_that_tested_other_images_than_its_like_is_left_out(tmp_path, made) -> None:
    made("a", seed=0)
    odd = made("a", seed=1, images=IMAGES - 1)
    made("a", seed=2)
    found = read(tmp_path)
    assert [run.seed for run in found.runs] == [0, 2]
    assert found.skipped == (f"{odd}: other test images than runs of the same configuration",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1000000000,1,0.5,0.5", "(4 rows of 1000000000 epochs)"),
        ("4,1,1.5,0.5", "train/top1_error of epoch 4 is no share"),
        ("4,1,inf,0.5", "train/top1_error of epoch 4 is no share"),
        ("4,1,0.5", "a row has not the cells of the heading"),
        ("4,1,0.5,0.5,0.5", "a row has not the cells of the heading"),
    ],
)
def test_a_curve_of_other_rows_is_refused(tmp_path, made, row: str, reason: str) -> None:
    file = made("a") / "metrics.csv"
    file.write_text(f"{file.read_text()}{row}\n")
    (told,) = read(tmp_path).skipped
    assert f"{file.parent}: metrics.csv is damaged" in told
    assert reason in told


def test_brackets_without_end_do_not_end_the_process(tmp_path, made) -> None:
    (made("a") / "config.yaml").write_text("[" * 200_000)
    (told,) = read(tmp_path).skipped
    assert "config.yaml is damaged" in told


ODD = "a$\\frac{</script>[b](c)|`d`\n\x1b[31m\u202e\ud800=1+1"


def test_damaged_folders_and_odd_names_take_nothing_along(tmp_path, made) -> None:
    """All that is written and drawn, beside the same report without them."""
    for seed in (0, 1):
        for name in ("baseline", "no_lrn"):
            made(name, f"+experiment={name}", seed=seed)
    before = make_report(tmp_path).findings
    odd = {"cpu": ODD, "git_revision": ODD, "python": ODD, "versions": {ODD: ODD}}
    made(
        "odd", environment=odd | {"command": ["x", f"data.root={ODD}", "=", ODD]}, experiment="mine"
    )
    printable = "a$\\frac{</script>[b](c)|`d`"
    for place, name in enumerate(
        (printable, "=1+1", "- x", "\x1b[31m", "no_lrn+", "${x}", "a" * 300)
    ):
        made(f"own_{place}", f"model.name='{'null' if place else 'a,b'}'", experiment=name)
    damaged = [made(f"damaged_{place}", "+experiment=no_lrn", seed=8) for place in range(4)]
    for folder, file in zip(damaged, READERS, strict=False):
        (folder / file).write_text("null")
    report = make_report(tmp_path)
    assert len(report.skipped) == len(damaged)
    measured = [(f.claim, f.difference, f.low) for f in before]
    assert [(f.claim, f.difference, f.low) for f in report.findings] == measured
    for file in write(report, tmp_path / "out"):
        text = file.read_text(encoding="utf-8")
        assert not {"\x1b", "\u202e", "\t"} & {*text}
        assert "</script>[b]" not in text or file.suffix != ".html"


READERS = {
    "config.yaml": runs_read.read_config,
    "result.json": runs_read.read_result,
    "environment.json": runs_read.read_environment,
    "metrics.csv": runs_read.read_metrics,
    "predictions.npz": runs_read.read_predictions,
}


@pytest.mark.parametrize("file", READERS)
def test_whatever_bytes_are_lost_the_file_is_named(made, file: str) -> None:
    folder = made("a")
    whole, draw, refused = (folder / file).read_bytes(), random.Random(0), []
    for _ in range(50 if file == "config.yaml" else 300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(damaged))
            if draw.random() < 0.7:
                damaged[place] = draw.randrange(256)
            else:
                del damaged[place + 1 :]
        (folder / file).write_bytes(damaged)
        try:
            READERS[file](folder)
        except UnusableRunError as error:
            refused.append(error.reason)
    assert len(refused) > 10
    assert all(reason.startswith(file) for reason in refused)


def test_names_of_files_and_the_row_being_written_are_read(tmp_path, made) -> None:
    folder = made("a")
    with np.load(folder / "predictions.npz") as columns:
        named = {**columns, "name": np.array([f"{i}.jpg" for i in columns["index"]])}
    np.savez_compressed(folder / "predictions.npz", **named)
    assert runs_read.read_predictions(folder)["name"][:2].tolist() == ["0.jpg", "1.jpg"]
    assert len(read(tmp_path).runs) == 1
    rows = runs_read.read_metrics(folder)
    (folder / "metrics.csv").write_text((folder / "metrics.csv").read_text() + "4,1,0.")
    assert runs_read.read_metrics(folder) == rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    (folder / "metrics.csv").write_text("epoch,lr,val/top1_error\n1,0.1,\n")
    assert np.isnan(runs_read.read_metrics(folder)[0]["val/top1_error"])


def test_overrides_are_those_of_the_command(made) -> None:
    folder = made("a", "optim.lr=0.1")
    assert read_run(folder).overrides == ["optim.lr=0.1", "seed=0"]
    (folder / "environment.json").unlink()
    assert read_run(folder).overrides == []


@pytest.mark.parametrize("name", ["events.json", "multirun.yaml", "config.yaml"])
def test_other_files_make_no_run(tmp_path, name) -> None:
    (tmp_path / name).write_text("{}")
    assert run_folders(tmp_path) == []
