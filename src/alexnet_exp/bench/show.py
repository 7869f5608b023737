"""What was measured, as tables for the screen."""

from collections.abc import Iterator, Mapping
from typing import Any

from alexnet_exp.bench.record import PATHS, RATIOS
from alexnet_exp.cost.tables import Table

_WORDS = {
    "model": "network alone",
    "input": "input alone",
    "end_to_end": "training, end to end",
    "plain": "plain PyTorch",
}


def tables(throughput: Mapping[str, Any]) -> Iterator[tuple[str, Table]]:
    """Titles and tables.

    Args:
        throughput: As in bench.json.
    """
    found = throughput
    title = f"Images/s, {found['device']}, {found['precision']}, data={found['data']}"
    yield f"{title} (ratios: the median of those of each round)", _cases(found)
    yield "Ceilings measured here", _limits(found)
    yield "Milliseconds of each stage, run by itself and not compiled", _stages(found)
    yield "Local response norm against F.local_response_norm, both passes", _norms(found)
    if found["variants"]:
        yield "The network's steps with other options", _variants(found)
    yield "Besides", _others(found)


def _rate(measured: Mapping[str, Any]) -> str:
    return f"{measured['median']:,.1f} ({measured['min']:,.1f} to {measured['max']:,.1f})"


def _cases(found: Mapping[str, Any]) -> Table:
    cases = found["cases"]
    rows = [[_WORDS[name], *(_rate(case[name]) for case in cases)] for name in PATHS]
    for name, (over, under) in RATIOS.items():
        label = f"{_WORDS[over]} / {_WORDS[under]}"
        rows.append([label, *(f"{case[name]:.2f}" for case in cases)])
    rows.append(["ceiling", *(f"{case['ceiling']:,.1f}" for case in cases)])
    for name in ("model", "end_to_end"):
        share = [f"{case['fractions'][name]:.2f}" for case in cases]
        rows.append([f"{_WORDS[name]} / ceiling", *share])
    heads = [f"batch {case['batch']}, {case['store']}" for case in cases]
    return Table(["median (least to most)", *heads], rows)


def _limits(found: Mapping[str, Any]) -> Table:
    limits, jpeg = found["ceilings"], found["jpeg"]
    product, plain, copy = (
        f"{limits[name] / 1e9:,.0f}"
        for name in ("flops_per_second", "fp32_flops_per_second", "bytes_per_second")
    )
    size = f"{jpeg['bytes_per_image'] / 1e3:,.0f} kB"
    rows = [
        ["matrix product in the run's precision", f"{product} GFLOP/s"],
        ["matrix product in fp32", f"{plain} GFLOP/s"],
        ["copy, read and written", f"{copy} GB/s"],
        [
            f"{jpeg['side']} px JPEG of {size} decoded",
            f"{jpeg['images_per_second_per_core']:,.0f} images/s per core",
        ],
    ]
    return Table(["what", "rate"], rows)


def _stages(found: Mapping[str, Any]) -> Table:
    stages = found["stages"]
    whole = stages["network"][-1]["forward"]
    rows = []
    for stage in [*stages["network"], *stages["input"]]:
        both = stage["forward"] + (stage["backward"] or 0.0)
        backward = "" if stage["backward"] is None else f"{stage['backward']:,.2f}"
        share = f"{100 * both / whole:.1f} %"
        rows.append([stage["stage"], f"{stage['forward']:,.2f}", backward, share])
    return Table(["stage", "forward", "backward", "of the whole step"], rows)


def _norms(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{norm['layer']}, {norm['dtype']}, {norm['memory_format']}",
            norm["path"],
            f"{norm['milliseconds']['median']:,.2f}",
            f"{norm['torch_milliseconds']['median']:,.2f}",
            f"{norm['ratio']:.3f}",
            f"{norm['uncompiled_ratio']:.3f}",
        ]
        for norm in found["lrn"]
    ]
    return Table(["layer", "path", "ms", "torch, ms", "ratio", "without a compiler"], rows)


def _variants(found: Mapping[str, Any]) -> Table:
    rows = [
        [one["overrides"], one["error"], ""]
        if "error" in one
        else [one["overrides"], _rate(one["images_per_second"]), f"{one['ratio']:.2f}"]
        for one in found["variants"]
    ]
    return Table(["overrides", "images/s", "times as fast"], rows)


def _others(found: Mapping[str, Any]) -> Table:
    start = found["first_step_seconds"]
    rows = [
        [f"evaluation, {views} view{'s' if views == 'ten' else ''}", f"{_rate(rate)} images/s"]
        for views, rate in found["evaluation"].items()
    ]
    return Table(
        ["what", "measured"],
        [
            *rows,
            ["peak memory of a run", f"{found['peak_memory_bytes'] / 2**30:.2f} GiB"],
            ["from the command to the first step", "-" if start is None else f"{start:.1f} s"],
        ],
    )
