"""What the plan for the flowers can see, simulated before its runs: ``results/flowers/power.py``.

By the simulation behind ``make error-rates``: 4,300 photos of which 20 % are wrong, in five folds,
runs that spread as there. One at a time: one of 16 ideas has an effect, two seeds a fold, the
baseline six. Combined: four of seven ideas have it, 16 networks, one seed a fold.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import measure_error_rates as simulated

from alexnet_exp.report import factorial

TRIALS, MARGIN = 400, 0.03
FOLDS = {"folds": 5, "fold_sd": 0.05, "block": 43}


def main() -> None:
    slope = simulated._components()[1]
    print("| true effect, points | found one at a time | found combined |\n| --- | --- | --- |")
    for effect in (0.2, 0.3, 0.4, 0.5):
        simulated.EFFECT, simulated.BATCH = effect, TRIALS
        alone = simulated.Cell("power", 4300, 2, 16, baseline_seeds=3, **FOLDS)
        found, within = combined()
        share = simulated.hits(alone, 0)["report"] / TRIALS
        print(f"| {100 * slope * effect:.1f} | {share:.2f} | {found:.2f} |", flush=True)
    print(f"\nno effect at all: shown to be within {100 * MARGIN:g} points, combined: {within:.2f}")


def combined() -> tuple[float, float]:
    """Shares of real effects that are found, and of absent ones shown to lie within the margin."""
    cell = simulated.Cell(f"own seeds, {simulated.MIXED}", 4300, 1, 15, **FOLDS)
    rng, ideas = np.random.default_rng(0), 7
    found, within = [], []
    for _ in range(TRIALS):
        made = factorial._differences(simulated.SIGNS.T, simulated.drawn(rng, cell), True)[:ideas]
        found += [(one.p_value or 0) * ideas < simulated.LEVEL for one in made[::2]]
        for one in made[1::2]:
            half = one.half_width(1 - simulated.LEVEL / ideas) or 1.0
            within.append(abs(one.estimate) + half < MARGIN)
    return float(np.mean(found)), float(np.mean(within))


if __name__ == "__main__":
    main()
