from functools import partial

import pytest

from tests.report.made_runs import write_run


@pytest.fixture
def made(tmp_path, compose_config):
    """``made(name, *overrides, seed=0, ...)`` writes one run; gives its folder."""
    return partial(write_run, tmp_path, compose_config)
