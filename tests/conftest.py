from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from alexnet_exp.config import Config, conf_folder, register, to_config

ComposeConfig = Callable[..., Config]


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
