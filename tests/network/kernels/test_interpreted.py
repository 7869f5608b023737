"""The kernels' numbers, on a CPU: Triton's interpreter runs them if asked beforehand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


@pytest.mark.parametrize("which", ["not long", pytest.param("long", marks=pytest.mark.long)])
def test_kernels_compute_what_they_should(which: str) -> None:
    """In a process of its own, since the interpreter is chosen when Triton is imported."""
    folder = Path(__file__).parent
    files = sorted(folder.glob("interpreted_*.py"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--noconftest", "-m", which, *files],
        cwd=folder.parents[2],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
