from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet_exp.network.kernels import build, cpu, gpu


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, of which this process knows nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_FLAGS", ("-O0", "-shared", "-fPIC"))  # 40 times as soon compiled
    known = (cpu._load, cpu._lrn_agrees, cpu._crop_agrees, gpu._check_lrn, gpu._check_crop)
    for function in known:
        function.cache_clear()
    yield tmp_path / "cache" / "alexnet_exp"
    for function in known:
        function.cache_clear()
