"""The kernels' numbers, on a CPU: Triton's interpreter runs them if asked beforehand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


def test_kernels_compute_what_they_should() -> None:
    """In a process of its own, since the interpreter is chosen when Triton is imported."""
    folder = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--noconftest", *sorted(folder.glob("interpreted_*.py"))],
        cwd=folder.parents[2],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
