from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.report.made_runs import write_run

Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path, compose_config) -> Made:
    """``made(name, *overrides, seed=0, ...)`` writes one run; gives its folder."""
    return partial(write_run, tmp_path, compose_config)
