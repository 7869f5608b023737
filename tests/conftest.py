import gc
import os
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import DictConfig

from alexnet_exp.config import Config, compose, composing, to_config
from tests.report.made_runs import write_run

ComposeConfig = Callable[..., Config]

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers and their children share the cores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none."""
    import torch  # after the number of threads is settled

    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no GPU"))


def pytest_collection_finish() -> None:
    """Leave what is imported by now to itself: collections that look through torch take a quarter
    of the time of what makes many small objects, such as Hydra.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # nanobind counts what is left at the end


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests pack drawn images: one folder for the whole run, so that each is packed once.

    Several workers may pack at once: ``prepare`` lets one of them do it.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return base / "stores"


@cache
def _presets(*choices: str) -> DictConfig:
    with composing():
        return compose(choices)


def quickly_composed(overrides: Sequence[str], primary: str = "config") -> DictConfig:
    """What ``compose`` gives, which takes Hydra a third of a second: it composes each choice of
    presets once, and what only sets a field is merged into that.
    """
    fields = [item for item in overrides if re.match(r"seed=|[a-z]+\.", item)]
    merged = _presets(*(item for item in overrides if item not in fields)).copy()
    merged.merge_with_dotlist(fields)
    return merged


@pytest.fixture(scope="session")
def compose_config() -> ComposeConfig:
    """``compose_config(*overrides)``: the checked configuration of a command line."""

    @cache
    def composed(*overrides: str) -> Config:
        return to_config(quickly_composed(overrides))

    return lambda *overrides: deepcopy(composed(*overrides))


@pytest.fixture(scope="session")
def tiny(compose_config: ComposeConfig, stores: Path) -> ComposeConfig:
    """``tiny(*overrides)``: a network of some thousand weights on 120 drawn images of 72 pixels."""

    def composed(*overrides: str) -> Config:
        return compose_config(
            "model.width=0.1", "model.fc=[320,320]", "model.input_size=64", "data.image_size=72",
            "data.synthetic_images=120", f"data.stores={stores}", "data.batch_size=16",
            "trainer.max_epochs=4", "trainer.precision=32-true", "trainer.accelerator=cpu",
            "trainer.progress=false", *overrides,
        )  # fmt: skip

    return composed


@pytest.fixture(scope="session")
def trained_run(tiny: ComposeConfig, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A finished run of ``tiny``, ten steps: ``folder``, ``config``, ``result``, ``store``.

    Tests read it; one that changes anything copies the folder first.
    """
    from alexnet_exp.data.store.store import prepare
    from alexnet_exp.training.fit import train

    config, folder = tiny("trainer.max_epochs=2"), tmp_path_factory.mktemp("trained") / "run"
    result = train(config, folder)
    store = prepare(config.data, progress=False)
    return SimpleNamespace(folder=folder, config=config, result=result, store=store)


@pytest.fixture
def made(tmp_path, compose_config):
    """``made(name, *overrides, seed=0, ...)`` writes one run; gives its folder."""
    return partial(write_run, tmp_path, compose_config)
