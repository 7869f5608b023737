"""Run folders as training writes them, with errors that a test chooses."""

import csv
import json
import os
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from alexnet_exp.config import to_plain

IMAGES, CLASSES = 400, 10
COLUMNS = ("epoch", "lr", "train/top1_error", "val/top1_error")
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def wrong_images(seed: int, images: int, error: float) -> NDArray[np.bool_]:
    """(images,) of which just about ``error`` are wrong."""
    return np.random.default_rng(seed).random(images) < error


def write_run(
    parent: Path,
    compose_config: Any,
    name: str,
    *overrides: str,
    images: int = IMAGES,
    wrong: NDArray[np.bool_] | None = None,
    worse: int = 0,
    wrong_top5: NDArray[np.bool_] | None = None,
    center: NDArray[np.bool_] | None = None,
    probabilities: NDArray[np.float32] | None = None,
    seed: int = 0,
    folds: int | None = None,
    fold: int | None = None,
    experiment: str | None = None,
    classes: int = CLASSES,
    fingerprint: str = "0123456789abcdef",
    train_curve: Sequence[float] = (0.9, 0.5, 0.2),
    recorded: Sequence[str] | None = None,
    written: float | None = None,
    environment: dict[str, Any] | None = None,
    measured: dict[str, Any] | None = None,
) -> Path:
    """Write a finished run; gives its folder, ``name/seed_0`` in ``parent``.

    It errs on 30 % of ``images`` and on the first ``worse``, if ``wrong`` is not given. ``wrong``,
    ``wrong_top5`` (None: half of it) and ``center`` are (I,); ``probabilities`` (I, classes) decide
    instead of them. With ``folds`` its images are those
    of ``fold`` (None: the one that the seed belongs to). ``recorded`` are the overrides in
    environment.json, ``written`` is the modification time of result.json, ``environment`` and
    ``measured`` are more of environment.json and result.json.
    """
    path = parent / name / f"seed_{seed}"
    if probabilities is not None:
        images, classes = probabilities.shape
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        hits = best == (np.arange(images) % classes)[:, None]
        wrong, wrong_top5 = ~hits[:, 0], ~hits.any(1)
    if wrong is None:
        wrong = wrong_images(seed, images, 0.3)
        wrong[:worse] = True
    config = deepcopy(_plain(compose_config, *overrides))
    data, trainer = config["data"], config["trainer"]
    config |= {"seed": seed, "experiment": experiment or config["experiment"]}
    if folds is not None and fold is None:
        fold = seed % folds
    data |= {"fingerprint": fingerprint, "folds": folds, "fold": fold}
    config["model"] |= {"classes": classes, "input_channels": data["channels"]}
    trainer["precision"] = "32-true"
    path.mkdir(parents=True)
    marked = {"config_hash": "0" * 12, **config}
    (path / "config.yaml").write_text(yaml.dump(marked, Dumper=DUMPER, sort_keys=False))
    of_folds = [f"data.folds={folds}"] if folds else []
    given = [*overrides, *of_folds, f"seed={seed}"] if recorded is None else recorded
    known = {"cpu": "a processor", "gpus": [], "command": ["train.py", "-m", *given]}
    (path / "environment.json").write_text(json.dumps(known | (environment or {})))
    with (path / "metrics.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        for epoch, error in enumerate(train_curve, start=1):
            rows.writerow(dict(zip(COLUMNS, (epoch, 1, error, error), strict=True)))
    top5 = wrong & (np.arange(len(wrong)) % 2 == 0) if wrong_top5 is None else wrong_top5
    _write_predictions(path, wrong, top5, center, classes, fold or 0, probabilities)
    result = {
        "experiment": config["experiment"],
        "data": data["name"],
        "seed": seed,
        "metrics": {
            "test/top1_error": round(float(wrong.mean()), 7),
            "test/top5_error": round(float(top5.mean()), 7),
        },
        "epochs": len(train_curve),
        "train_seconds": 10.0 + seed,
        "images_per_second": 100.0 + seed,
        "strategy": config["strategy"]["name"],
        "devices": trainer["devices"] * trainer["num_nodes"],
        "peak_memory_bytes": 2**30 + seed,
        "views": config["evaluation"]["views"],
        "classes": classes,
        "synthetic": data["source"] == "synthetic",
    }
    (path / "result.json").write_text(json.dumps(result | (measured or {})))
    if written is not None:
        os.utime(path / "result.json", (written, written))
    return path


@cache
def _plain(compose_config: Any, *overrides: str) -> dict[str, Any]:
    return to_plain(compose_config(*overrides))


def _write_predictions(
    path: Path, wrong, wrong_top5, center, classes: int, fold: int, probabilities
) -> None:
    """Validation images, all of them right, before the test images, which are in no order; no
    test image is one in another fold.
    """
    images = len(wrong)
    labels = np.arange(images) % classes
    order = np.random.default_rng(1).permutation(images)
    if probabilities is None:
        best = _five_best(labels, wrong, wrong_top5, classes)
    else:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    columns = {
        "index": np.concatenate([np.arange(3), 3 + order + 100_000 * fold]),
        "label": np.concatenate([np.zeros(3, np.int64), labels[order]]),
        "top5": np.concatenate([np.tile(np.arange(best.shape[1]), (3, 1)), best[order]]),
        "split": np.concatenate([np.full(3, "val"), np.full(images, "test")]),
    }
    if probabilities is not None:
        columns["probabilities"] = np.concatenate([probabilities[:3], probabilities[order]])
    if center is not None:
        # All of its wrong images have the label among the five best.
        views = _five_best(labels, center, np.zeros_like(center), classes)
        columns["center_top5"] = np.concatenate([columns["top5"][:3], views[order]])
    np.savez_compressed(path / "predictions.npz", **columns)


def _five_best(labels, wrong, wrong_top5, classes: int) -> NDArray[np.int64]:
    """(I, 5): the label first, second or not at all."""
    shown = min(5, classes)
    best = (labels[:, None] + np.arange(shown)) % classes
    best[wrong] = best[wrong][:, [1, 0, *range(2, shown)]]
    assert not (wrong_top5 & ~wrong).any()
    if classes > 5:
        best[wrong_top5] = (labels[wrong_top5, None] + 1 + np.arange(shown)) % classes
    return best
