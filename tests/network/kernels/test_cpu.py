"""How cpu.c becomes a library: which compiler, where it is kept, and what is done without."""

import shutil
import tempfile
from pathlib import Path

import pytest

from alexnet_exp.network.kernels import cpu

pytestmark = pytest.mark.usefixtures("cache")


def compiler() -> str:
    found = shutil.which("cc")
    return found or pytest.skip("there is no compiler")


def test_failing_compiler_is_named(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho cannot do that >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    assert cpu.why_not() == f"{broken} failed: cannot do that"
    assert list(cache.iterdir()) == []


def test_a_compiler_may_have_arguments_and_the_cache_may_be_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CC", f"{compiler()} -O2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cpu.why_not() is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_whole_library_is_kept_and_a_damaged_one_compiled_again(cache: Path) -> None:
    compiler()
    assert cpu.why_not() is None
    (library,) = cache.iterdir()
    made = library.stat().st_mtime_ns
    cpu._load.cache_clear()
    assert cpu.why_not() is None
    assert library.stat().st_mtime_ns == made
    whole = library.read_bytes()
    library.unlink()  # a new file: the old one is in use
    library.write_bytes(whole[:1000])
    cpu._load.cache_clear()
    assert cpu.why_not() is None
    assert library.read_bytes()[:1000] == whole[:1000]
    assert len(library.read_bytes()) > 1000
