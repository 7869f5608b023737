"""How a process ends."""

import subprocess
import sys

import pytest

REGISTERED = "import atexit; atexit.register(print, 'registered')"
LINGERING = """import threading, time
def linger():
    time.sleep(.2)
    print("thread")
threading.Thread(target=linger).start()"""
PROFILED = "import sys; sys.setprofile(lambda *given: None)"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (REGISTERED, ["task", "registered"]),
        (LINGERING, ["task", "after", "thread"]),
        (PROFILED, ["task", "after"]),
    ],
)
def test_what_is_registered_or_waited_for_is_not_cut_off(before: str, said: list[str]) -> None:
    """Through a pipe, where Python writes its output when it ends."""
    code = (
        f"from alexnet_exp.hardware import leave\n{before}\nprint('task')\nleave()\nprint('after')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout.split(), ended.stderr) == (said, "")
