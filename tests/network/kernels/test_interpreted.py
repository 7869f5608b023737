"""The kernels' numbers, on a CPU: Triton's interpreter runs them if asked beforehand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


def test_kernels_compute_what_they_should() -> None:
    """In a process of its own, since the interpreter is chosen when Triton is imported."""
    file = Path(__file__).with_name("interpreted.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--noconftest", file],
        cwd=file.parents[3],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
