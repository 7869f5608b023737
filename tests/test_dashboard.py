"""The dashboard shows what runs log, grouped by experiment, and says what stands in its way."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import wandb

from alexnet_exp import dashboard
from alexnet_exp.training.fit import train
from tests.conftest import ComposeConfig
from tests.training.test_loggers import read_wandb

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command; gives exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dashboard", *words])
        try:
            dashboard.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def panels_of(view: dict[str, Any]) -> list[dict[str, Any]]:
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def shown(panel: dict[str, Any]) -> dict[str, str]:
    """Metric by the kind of panel that shows it."""
    return dict.fromkeys(panel["config"].get("metrics", []), panel["viewType"])


def test_panels_show_what_runs_log(command: Command, tiny: ComposeConfig, tmp_path: Path) -> None:
    code, printed, _ = command("entity=team", "--dry-run")
    assert code == 0
    view = json.loads(printed)
    config = tiny("trainer.max_epochs=1", "logger=wandb", "logger.mode=offline")
    train(config, tmp_path / "run")
    read = read_wandb(next((tmp_path / "run" / "wandb").glob("offline-run-*")))
    logged, summary = set().union(*read.rows), set(read.summary)
    metrics = {k: kind for panel in panels_of(view) for k, kind in shown(panel).items()}
    assert metrics == {
        "val/top1_error": "Run History Line Plot",
        "train/top1_error": "Run History Line Plot",
        "final/test/top1_error": "Bar Chart",
        "images_per_second": "Bar Chart",
    }
    for panel in panels_of(view):
        if panel["viewType"] == "Run History Line Plot":
            assert {panel["config"]["xAxis"], *shown(panel)} <= logged
        elif panel["viewType"] == "Bar Chart":
            assert shown(panel).keys() <= summary
    assert '"final/errors"' in json.dumps(panels_of(view)[-1])
    assert "final/errors._type" in summary
    runs = view["spec"]["section"]["runSets"][0]
    for column in runs["runFeed"]["columnOrder"]:
        kind, _, name = column.partition(":")
        assert kind == "run" or name in summary or name.removesuffix(".value") in read.config
    assert "experiment" in read.config


def test_runs_are_grouped_by_experiment_with_mean_and_spread(command: Command) -> None:
    view = json.loads(command("entity=team", "project=mine", "tag=flowers", "--dry-run")[1])
    assert (view["entity"], view["project"]) == ("team", "mine")
    assert '"flowers"' in json.dumps(view["spec"]), "a tag chooses the runs"
    runs = view["spec"]["section"]["runSets"][0]
    assert runs["grouping"] == [{"section": "config", "name": "experiment.value"}]
    for panel in panels_of(view):
        if "metrics" in panel["config"]:
            assert panel["config"]["groupAgg"] == "mean"
            assert panel["config"]["groupArea"] == "stddev"
            assert panel["config"]["limit"] >= 70  # a sweep's runs, where W&B would show ten


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "entity=<your team or user at W&B>"),
        (["entiti=team"], "entiti=team: did you mean entity=...?"),
        (["entity="], "entity=: did you mean entity=...?"),
    ],
)
def test_mistakes_end_in_one_message(words: list[str], message: str, command: Command) -> None:
    code, _, error = command(*words)
    assert code == 2
    assert message in error


def test_without_the_library_it_names_the_extra(command: Command, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    code, _, error = command("entity=team", "--dry-run")
    assert code == 2
    assert "alexnet-exp[dashboard]" in error


class Server(BaseHTTPRequestHandler):
    """Answers as W&B's server does: one entity exists, and keeps the views sent to it."""

    saved: list[dict[str, Any]] = []  # noqa: RUF012  # emptied by the fixture

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        variables = request.get("variables") or {}
        answer: dict[str, Any] = {"data": {"viewer": {"id": "1", "username": "me"}}}
        if "upsertView" in request["query"] and variables["entityName"] == "team":
            Server.saved.append(variables)
            view = {"id": "1", "name": variables["name"]}
            answer = {"data": {"upsertView": {"view": view, "inserted": True}}}
        elif "upsertView" in request["query"]:
            errors = [{"message": "entity not found", "path": ["upsertView"]}]
            answer = {"data": {"upsertView": None}, "errors": errors}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A local server in W&B's place; gives the views that it was sent."""
    Server.saved.clear()
    local = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=local.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{local.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()
    yield Server.saved
    wandb.teardown()
    local.shutdown()


def test_the_view_is_saved_at_the_entity(command, server, monkeypatch, tmp_path) -> None:
    code, _, error = command("entity=nobody")
    assert (code, server) == (2, [])
    assert "entity=nobody" in error
    assert "entity not found" in error
    code, printed, error = command("entity=team")
    assert code == 0, error
    assert "/team/alexnet_exp?nw=" in printed
    assert [view["displayName"] for view in server] == ["AlexNet ablations"]
    assert "final/test/top1_error" in server[0]["spec"]
    assert "flowers" not in server[0]["spec"]
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()  # it has read the environment already
    code, _, error = command("entity=team")
    assert code == 2
    assert "wandb login" in error
