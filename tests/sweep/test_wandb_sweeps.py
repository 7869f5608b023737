"""W&B's sweep files: valid for W&B, valid for Hydra, and run as W&B's agent runs them.

``wandb_sweep_schema.json`` is W&B's published schema of sweep files, unchanged: sweeps/config/
schema.json of the wheel sweeps 0.3.0 on PyPI (https://github.com/wandb/sweeps), Copyright (c) 2021
Weights and Biases, MIT License. The package itself would hold numpy below 2.
"""

import json
import math
import os
import re
import sys
from collections.abc import Iterator
from copy import deepcopy
from importlib import import_module
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import jsonschema
import pytest
import wandb
from wandb import wandb_agent

import alexnet_exp
from alexnet_exp import cli, load_config
from alexnet_exp.config.compose import as_hydra
from alexnet_exp.runs.read import read_config, read_result
from alexnet_exp.training.fit import train
from tests.sweep.pretend import TINY
from tests.training.test_loggers import read_wandb

UTILS = "wandb.sdk.launch.sweeps.utils"  # takes seconds to import
FOLDER = Path(__file__).parents[2] / "sweeps"
SWEEPS = sorted(FOLDER.glob("*.yaml"))
SCHEMA = json.loads(Path(__file__).with_name("wandb_sweep_schema.json").read_text())

assert [file.stem for file in SWEEPS] == [
    "ablations", "activation", "factorial", "learning_rate", "parallel",
]  # fmt: skip
each_sweep = pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)


def load(file: Path) -> dict[str, Any]:
    return dict(import_module(UTILS).load_sweep_config(str(file)))  # as ``wandb sweep`` does


def configurations(sweep: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the server hands to agents, ``{"name": {"value": ...}}``: each experiment, all
    combinations of those that are on or off, and of numbers the first."""
    values = {}
    for name, parameter in sweep["parameters"].items():
        each = parameter.get("values") or [math.sqrt(parameter["min"] * parameter["max"])]
        values[name] = each if name == "experiment" or each == [False, True] else each[:1]
    for chosen in product(*values.values()):
        yield {name: {"value": value} for name, value in zip(values, chosen, strict=True)}


def recorded(arguments: dict[str, Any]) -> str:
    """The experiment that a run of them is."""
    on = sorted(name for name, argument in arguments.items() if argument["value"] is True)
    name = arguments.get("experiment", {"value": "+".join(on) or "baseline"})["value"]
    return "baseline" if name == "two_gpus" else name


def fixed_overrides(sweep: dict[str, Any]) -> list[str]:
    return [word for word in sweep["command"] if "=" in word]


@each_sweep
def test_file_fits_the_published_schema_and_opens_with_its_question(file: Path) -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(load(file))
    comments = re.match(r"(#.*\n)+", file.read_text())
    assert "?" in comments[0].splitlines()[0] + comments[0].splitlines()[1]
    for part in (f"wandb sweep sweeps/{file.name}", "wandb agent ", "Cost:", "Measured:"):
        assert part in comments[0]


@each_sweep
@pytest.mark.parametrize("last", [1, pytest.param(20, marks=pytest.mark.long)])
def test_every_experiment_composes_to_what_its_name_says(file: Path, last: int) -> None:
    sweep = load(file)
    assert sweep["metric"] == {"name": "val/top1_error", "goal": "minimize"}
    for arguments in [*configurations(sweep)][-last:]:
        words = import_module(UTILS).create_sweep_command_args({"args": arguments})[
            "args_no_hyphens"
        ]
        config = load_config(*fixed_overrides(sweep), *words)
        assert config.logger.wandb
        assert config.logger.tags == [file.stem]
        assert config.experiment == recorded(arguments)
        if "optim.lr" in arguments:
            assert config.optim.lr == arguments["optim.lr"]["value"]


def test_activation_trains_without_regularization(compose_config) -> None:
    config = compose_config(*fixed_overrides(load(FOLDER / "activation.yaml")))
    assert config.optim.label_smoothing == config.model.dropout == 0
    assert not config.optim.decay
    chosen = config.augmentation
    assert [chosen.crops, chosen.flips, chosen.color_noise] == [False, False, False]
    assert config.model.activation == "relu"  # baseline is figure 1's solid line


def test_hyperband_ends_runs_before_their_last_epoch(compose_config) -> None:
    sweep = load(FOLDER / "learning_rate.yaml")
    stopping = sweep["early_terminate"]
    epochs = compose_config(*fixed_overrides(sweep)).trainer.max_epochs
    assert stopping["min_iter"] * stopping["eta"] < epochs


def run_here(command: list[str], **rest: object) -> SimpleNamespace:
    """What the agent has a process for, without its seconds of imports."""
    assert command[:4] == ["/usr/bin/env", "python", "-m", "alexnet_exp.train"]
    wandb.teardown()  # it has read the environment already
    with patch.object(sys, "argv", command[3:]):
        cli.run(train, sweeps=True)
    return SimpleNamespace(wait=lambda: 0)


@pytest.mark.parametrize(
    "stem",
    [
        "ablations",
        *(pytest.param(stem, marks=pytest.mark.long) for stem in ("factorial", "learning_rate")),
    ],
)
def test_the_agents_first_command_runs(stem: str, tmp_path: Path, monkeypatch, stores) -> None:
    """The agent itself builds it; only what makes it small is added at its end."""
    if stem == "ablations":
        monkeypatch.setattr(wandb_agent, "AgentProcess", run_here)
    sweep = load(FOLDER / f"{stem}.yaml")
    run = tmp_path / "run"
    tiny = [*TINY, "trainer.max_epochs=1", f"data.stores={stores}", f"hydra.run.dir={run}"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # in which the agent sets more
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        os.environ.pop(name, None)
    os.environ |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(alexnet_exp.__file__).parents[1]),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_SWEEP_ID": "sweep123",
    }
    agent = wandb_agent.Agent(api=None, queue=None, sweep_id="sweep123")
    agent._sweep_command = [*deepcopy(sweep["command"]), *tiny]
    arguments = [*configurations(sweep)][1 if stem == "factorial" else 0]
    agent._command_run(
        {"type": "run", "run_id": "run456", "program": sweep["program"], "args": arguments}
    )
    assert agent._run_processes["run456"].wait() == 0
    wandb.teardown()  # it remembers this environment

    config, result = read_config(run), read_result(run)
    assert result["experiment"] == recorded(arguments)
    words = as_hydra([f"{name}={argument['value']}" for name, argument in arguments.items()])
    seeds = [word.partition("=")[2] for word in words if word.startswith("seed=")]
    assert config["seed"] == int((seeds or ["0"])[-1])
    read = read_wandb(next((run / "wandb").glob("offline-run-*-run456")))
    assert (read.run.sweep_id, read.run.run_group) == ("sweep123", result["experiment"])
    assert stem in read.run.tags
    (logged,) = [row["val/top1_error"] for row in read.rows if "val/top1_error" in row]
    assert 0 <= logged <= 1
    for field, argument in arguments.items():
        assert read.config[field] == argument["value"]
