"""How fast one device trains, beside its parts, plain PyTorch and what the hardware allows."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from alexnet_exp.bench import subject
from alexnet_exp.bench.clock import Course, ratio, series
from alexnet_exp.bench.limits import (
    compare_norms,
    images_per_second,
    jpeg_decoding,
    measured_limits,
)
from alexnet_exp.bench.plain import jpeg_folder, measure_plain
from alexnet_exp.bench.show import show, spread
from alexnet_exp.bench.subject import Subject, instead_of_training
from alexnet_exp.config import to_plain
from alexnet_exp.config.bench import BenchConfig

PATHS = {
    "model": "network alone",
    "input": "input alone",
    "end_to_end": "training, end to end",
    "plain": "plain PyTorch",
}
"""What is measured in turn, in this order, with its name for the screen."""

RATIOS = {
    "end_to_end_over_plain": ("end_to_end", "plain"),
    "end_to_end_over_model": ("end_to_end", "model"),
    "input_over_model": ("input", "model"),
}


def measure(bench: BenchConfig, cases: Sequence[Subject], course: Course) -> dict[str, Any]:
    """Each case, its main ratios on the screen at once, then ceilings and LRN: ``throughput``."""
    records = [measure_case(bench, case, course) for case in cases]
    first, seconds = cases[0], bench.seconds / 4
    config, device = first.config, first.device
    precision = config.trainer.precision
    limits = course.take("ceilings", lambda: measured_limits(device, precision, seconds))
    jpeg = jpeg_decoding(first.once, seconds)
    size = f"JPEG of {jpeg['side']} px and {jpeg['bytes_per_image'] / 1e3:,.0f} kB, by a core"
    giga = {name: f"{rate / 1e9:,.0f}" for name, rate in limits.items()}
    rows = [
        ["matrix product in the run's precision", f"{giga['flops_per_second']} GFLOP/s"],
        ["matrix product in fp32", f"{giga['fp32_flops_per_second']} GFLOP/s"],
        ["copy, read and written", f"{giga['bytes_per_second']} GB/s"],
        [size, f"{jpeg['images_per_second_per_core']:,.0f} images/s"],
    ]
    for case, record in zip(cases, records, strict=True):
        rates = limits["flops_per_second"], limits["bytes_per_second"]
        ceiling = images_per_second(case.layers, case.batch, precision, *rates)
        fractions = {path: record[path]["median"] / ceiling for path in ("model", "end_to_end")}
        record |= {"ceiling": ceiling, "fractions": fractions}
        rows.append([f"{case.name}: product and copy in turn", f"{ceiling:,.1f} images/s"])
        rows += [
            [f"{case.name}: {PATHS[path]} / that", f"{fractions[path]:.2f}"] for path in fractions
        ]
    show("Ceilings measured here", ["what", "rate"], rows)

    rounds = len(records[0]["model"]["rounds"])

    def norms(trainer: Any, module: Any) -> list[dict[str, Any]]:
        return list(compare_norms(trainer, module, first.batch, rounds, seconds / 4))

    found = course.take("LRN", lambda: instead_of_training(first, norms, first.batches))
    rows = [
        [
            f"{norm['layer']}, {norm['dtype']}, {norm['memory_format']}: {norm['path']}",
            f"{norm['milliseconds']['median']:,.2f}",
            f"{norm['torch_milliseconds']['median']:,.2f}",
            f"{norm['ratio']:.3f}",
        ]
        for norm in found
    ]
    title = "Local response norm beside F.local_response_norm, both passes"
    show(title, ["layer", "ms", "torch, ms", "ratio"], rows)
    return {
        "profile": bench.profile,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "data": config.data.name,
        "model": config.model.name,
        "classes": config.model.classes,
        "precision": precision,
        "speed": to_plain(config)["speed"] | {"channels_last": config.trainer.channels_last},
        "rounds": rounds,
        "seconds": bench.seconds,
        "cases": records,
        "lrn": found,
        "jpeg": jpeg,
        "ceilings": limits | {"images_per_second": records[0]["ceiling"]},
        "fractions": records[0]["fractions"],
    }


def measure_case(bench: BenchConfig, case: Subject, course: Course) -> dict[str, Any]:
    """Images/s of all paths, in turn, and their ratios; shown at once."""
    config, seconds = case.config, bench.seconds
    files = jpeg_folder(case.once, config.data.stores, config.trainer.progress)
    turns = {
        "model": lambda: subject.measure_network(case, seconds),
        "input": lambda: subject.measure_input(case, seconds),
        "end_to_end": lambda: subject.measure_end_to_end(case, seconds),
        "plain": lambda: measure_plain(config, files, case.device, seconds),
    }
    named = {f"{case.name}: {PATHS[path]}": turn for path, turn in turns.items()}
    values = course.take_turns(bench.rounds, named)
    record = case_record(case.batch, str(case.kind), dict(zip(turns, values, strict=True)))
    rows = [
        [f"{PATHS[over]} / {PATHS[under]}", f"{record[name]:.2f}"]
        for name, (over, under) in RATIOS.items()
    ]
    rows += [[f"{words}, images/s", spread(record[path])] for path, words in PATHS.items()]
    title = f"{case.name}, {case.device.type}, {config.trainer.precision}, data={config.data.name}"
    show(title, ["medians of the rounds", "(least to most)"], rows)
    return record


def case_record(batch: int, store: str, values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """One batch size and store: images/s of all paths, and their ratios."""
    return {
        "batch": batch,
        "store": store,
        **{path: series(values[path]) for path in PATHS},
        **{name: ratio(values[over], values[under]) for name, (over, under) in RATIOS.items()},
    }


def headline(case: Mapping[str, Any]) -> dict[str, float]:
    """The figures of one case that stand at the top of bench.json."""
    figures = {f"{path}_images_per_second": float(case[path]["median"]) for path in PATHS}
    return figures | {name: float(case[name]) for name in RATIOS}
