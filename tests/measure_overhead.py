"""How a sweep's overhead and its report grow with the number of jobs: ``make overhead``.

Trivial jobs (60 drawn images, one epoch) are run in steps of 50, so that each step also skips all
jobs before it. Prints a Markdown table; asserts nothing.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JOBS, STEP, AT_ONCE = 200, 50, 2
TRIVIAL = (
    "model.width=0.02", "model.fc=[16,16]", "model.input_size=64", "data.image_size=64",
    "data.synthetic_images=60", "data.batch_size=8", "trainer.max_epochs=1",
    "trainer.accelerator=cpu", "trainer.precision=32-true", f"hydra.launcher.jobs={AT_ONCE}",
)  # fmt: skip


def timed(cwd: Path, *command: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - begin


print("| jobs | new ones, s each | of which training | sweep that skips all, s | report, s |")
print("|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as name:
    cwd = Path(name)
    for jobs in range(STEP, JOBS + 1, STEP):
        sweep = ("alexnet_exp.train", "-m", f"seed=range({jobs})", *TRIVIAL)
        ran, skipped = timed(cwd, *sweep), timed(cwd, *sweep)
        report = timed(cwd, "alexnet_exp.report", "runs=runs")
        results = [json.loads(file.read_text()) for file in cwd.rglob("result.json")]
        assert len(results) == jobs
        newest = [result for result in results if result["seed"] >= jobs - STEP]
        training = sum(result["train_seconds"] for result in newest) / len(newest)
        each = (ran - skipped) * AT_ONCE / STEP
        row = f"{each:.1f} | {training:.2f} | {skipped:.1f} | {report:.1f}"
        print(f"| {jobs} | {row} |", flush=True)
