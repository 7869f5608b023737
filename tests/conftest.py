import os
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest

from alexnet_exp.config import Config, compose, composing, to_config

ComposeConfig = Callable[..., Config]

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers and their children share the cores


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests pack drawn images: one folder for the whole run, so that each is packed once.

    Several workers may pack at once: ``prepare`` lets one of them do it.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return base / "stores"


@pytest.fixture(scope="session")
def compose_config() -> ComposeConfig:
    """``compose_config(*overrides)``: the checked configuration of a command line."""

    @cache
    def composed(*overrides: str) -> Config:
        with composing():
            return to_config(compose(overrides))

    return lambda *overrides: deepcopy(composed(*overrides))
