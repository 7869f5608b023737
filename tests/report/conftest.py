from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.made_runs import write_run, wrong_images

IMAGES = 400

Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path, compose_config: Any) -> Made:
    """``made(name, *overrides, seed=0, wrong=None)`` writes one run; gives its folder.

    It errs on 30 % of ``images``, and on the first ``worse``, if ``wrong`` is not given.
    """

    def make(
        name: str,
        *overrides: str,
        seed: int = 0,
        wrong: Any = None,
        images: int = IMAGES,
        worse: int = 0,
        **more: Any,
    ) -> Path:
        if wrong is None:
            wrong = wrong_images(seed, images, 0.3)
            wrong[:worse] = True
        folder = tmp_path / name / f"seed_{seed}"
        return write_run(folder, compose_config, *overrides, wrong=wrong, seed=seed, **more)

    return make
