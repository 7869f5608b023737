import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from alexnet_exp.config import Config, conf_folder, register, to_config

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
def compose_config() -> Iterator[ComposeConfig]:
    """``compose_config(*overrides)``: the checked configuration of a command line."""
    register()

    @cache
    def composed(*overrides: str) -> Config:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return to_config(compose("config", overrides=list(overrides)))

    yield lambda *overrides: deepcopy(composed(*overrides))
    GlobalHydra.instance().clear()
