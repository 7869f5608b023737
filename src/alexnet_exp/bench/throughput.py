"""The whole of the benchmark of one device."""

import os
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import hydra
import torch

from alexnet_exp.bench.limits import (
    images_per_second,
    jpeg_decoding,
    measured_bandwidth,
    measured_flops,
)
from alexnet_exp.bench.norms import compare_norms
from alexnet_exp.bench.plain import Plain, jpeg_folder
from alexnet_exp.bench.record import case_record, ratio, series, take_turns
from alexnet_exp.bench.short_run import short_run
from alexnet_exp.bench.stages import input_stages, network_stages
from alexnet_exp.bench.steps import measure_model
from alexnet_exp.bench.window import Window
from alexnet_exp.bench.within_trainer import (
    EndlessStore,
    at_first_step,
    augmented_batches,
    device_of,
    measure_end_to_end,
    measure_evaluation,
    measure_input,
    with_input,
)
from alexnet_exp.config import Config, to_config, to_plain
from alexnet_exp.config.bench import BenchConfig, BenchRun, StoreKind
from alexnet_exp.config.data import Encoding
from alexnet_exp.config.training import Schedule, StrategyConfig, Views
from alexnet_exp.data.datamodule import Batch
from alexnet_exp.data.store.store import Store, prepare
from alexnet_exp.errors import UserError
from alexnet_exp.hardware import activation_dtype
from alexnet_exp.network.alexnet import LayerPlan
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.settle import settle

IMAGENET_CLASSES = 1000
_LEARNING_RATE = 1e-5  # time does not depend on it, and the loss stays finite
_BATCHES = 2  # that lie on the device for steps of the model alone


def measure_throughput(run: BenchRun, overrides: Sequence[str]) -> dict[str, Any]:
    """What one device does in a second, along several paths.

    Args:
        run: What to measure, on what; strategy and number of devices are left aside.
        overrides: From the command line; Hydra must be initialized.

    Returns:
        The ``throughput`` of bench.json.

    Raises:
        UserError: The network does not fit the data, a variant can't be composed, or this machine
            lacks the device.
    """
    load = os.getloadavg()
    bench = run.bench
    config = one_device(run.run_config())
    config.data.batch_size = max(bench.batches)
    store = prepare(config.data, progress=config.trainer.progress)
    layers = settle(config, store)
    config.data.batch_size = bench.batches[0]
    variants = {
        " ".join(changes): _variant(config, store, [*overrides, *changes])
        for changes in bench.variants
    }
    device = device_of(config)
    if device.type == "cpu" and StoreKind.resident in bench.stores:
        raise UserError("bench.stores: resident is for a GPU; on a CPU leave mapped")
    # First, as its mistakes are those of all that follows.
    alone = short_run(_for_train(overrides), configured(config, device, bench.stores[0]))
    measured = _Measured(config, bench, store, layers, device)
    cases = [measured.case(batch, kind) for batch in bench.batches for kind in bench.stores]
    first = configured(config, device, bench.stores[0])
    return {
        "profile": bench.profile,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "data": config.data.name,
        "model": config.model.name,
        "classes": config.model.classes,
        "precision": config.trainer.precision,
        "speed": to_plain(config)["speed"] | {"channels_last": config.trainer.channels_last},
        "load": load,
        "rounds": bench.rounds,
        "seconds": bench.seconds,
        "plain_workers": os.cpu_count() or 1,
        "cases": cases,
        "variants": [measured.variant(first, name, changed) for name, changed in variants.items()],
        **measured.parts(first),
        "jpeg": jpeg_decoding(store, bench.seconds / 4),
        "ceilings": measured.limits | {"images_per_second": cases[0]["ceiling"]},
        "fractions": cases[0]["fractions"],
        **alone,
    }


def one_device(config: Config) -> Config:
    """What is settled for every measurement: one device, ImageNet's classes, a small rate."""
    config.strategy = StrategyConfig()
    config.trainer.devices = config.trainer.num_nodes = 1
    config.trainer.limit_train_batches = None
    config.model.classes = config.model.classes or IMAGENET_CLASSES
    config.optim.lr, config.optim.schedule = _LEARNING_RATE, Schedule.constant
    return config


def _variant(config: Config, store: Store, overrides: list[str]) -> Config:
    """The first case's configuration with other overrides.

    Raises:
        UserError: They can't be composed.
    """
    try:
        composed = to_config(hydra.compose("bench", overrides))
    except hydra.errors.HydraException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"bench.variants: {overrides[-1]} can't be composed: {reason}") from error
    assert isinstance(composed, BenchRun)
    changed = one_device(composed.run_config())
    changed.data.batch_size = config.data.batch_size
    settle(changed, store)
    return changed


def configured(config: Config, device: torch.device, kind: StoreKind, batch: int = 0) -> Config:
    """A copy for one store, and another batch size than its own where that is given."""
    config = deepcopy(config)
    config.data.batch_size = batch or config.data.batch_size
    # On a CPU the memory map is what ``auto`` reads.
    mapped = "never" if device.type == "cuda" else "auto"
    config.data.resident = "always" if kind == StoreKind.resident else mapped
    if kind == StoreKind.jpeg:
        config.data.encoding, config.data.resident = Encoding.jpeg, "never"
    return config


def _for_train(overrides: Sequence[str]) -> list[str]:
    """Without the benchmark's own fields, and on one device."""
    own = ("bench.", "profile=", "strategy", "trainer.devices=", "trainer.num_nodes=")
    return [item for item in overrides if not item.lstrip("+").startswith(own)]


class _Measured:
    """The measurements of one network on one device.

    Args:
        config: Settled; batch size and store are those of the cases.
        bench: What to measure.
        store: The packed images.
        layers: Of the network.
        device: That trains.
    """

    def __init__(
        self,
        config: Config,
        bench: BenchConfig,
        store: Store,
        layers: list[LayerPlan],
        device: torch.device,
    ) -> None:
        self.config, self.bench, self.layers, self.device = config, bench, layers, device
        self.store = EndlessStore.of(store)
        self.jpegs = jpeg_folder(config, store)
        self.classifier = Classifier(config, store.classes)
        self._batches: dict[int, list[Batch]] = {}
        dtype = activation_dtype(config.trainer.precision)
        short = bench.seconds / 4
        self.limits = {
            "flops_per_second": measured_flops(device, dtype, short),
            "fp32_flops_per_second": measured_flops(device, torch.float32, short),
            "bytes_per_second": measured_bandwidth(device, short),
        }

    def case(self, batch: int, kind: StoreKind) -> dict[str, Any]:
        """All paths in turn."""
        config = configured(self.config, self.device, kind, batch)
        store = self.store
        if config.data.encoding != self.config.data.encoding:
            store = EndlessStore.of(prepare(config.data, progress=config.trainer.progress))
        batches = self._augmented(config)
        plain = Plain(config, self.jpegs, self.device)
        values = take_turns(
            f"batch {batch}, {kind}",
            {
                "model": lambda: measure_model(config, self.classifier, batches, self._window()),
                "input": lambda: measure_input(config, store, self._window()),
                "end_to_end": lambda: measure_end_to_end(
                    config, store, self.classifier, self._window()
                ),
                "plain": lambda: plain.measure(self.bench.seconds),
            },
            self.bench.rounds,
        )
        record = case_record(batch, str(kind), values)
        ceiling = images_per_second(
            self.layers,
            config.model.towers,
            batch,
            config.trainer.precision,
            self.limits["flops_per_second"],
            self.limits["bytes_per_second"],
        )
        fractions = {name: record[name]["median"] / ceiling for name in ("model", "end_to_end")}
        return record | {"ceiling": ceiling, "fractions": fractions}

    def variant(self, config: Config, name: str, changed: Config) -> dict[str, Any]:
        """Steps with other options, in turn with those of the first case.

        Where they can't run here, as a compiler is missing, the record says why instead.
        """
        torch._dynamo.reset()  # networks that differ in options alone count as one to recompile
        batches, others = self._augmented(config), augmented_batches(changed, self.store, _BATCHES)
        other = Classifier(changed, self.store.classes)
        turns = {
            "default": lambda: measure_model(config, self.classifier, batches, self._window()),
            "variant": lambda: measure_model(changed, other, others, self._window()),
        }
        try:
            values = take_turns(name, turns, self.bench.rounds)
        except RuntimeError as error:
            return {"overrides": name, "error": str(error).strip().splitlines()[0]}
        return {
            "overrides": name,
            "images_per_second": series(values["variant"]),
            "default_images_per_second": series(values["default"]),
            "ratio": ratio(values["variant"], values["default"]),
        }

    def parts(self, config: Config) -> dict[str, Any]:
        """Stages, norms, optimizer and evaluation of the first case."""
        short, batches = self.bench.seconds / 16, self._augmented(config)
        size, rounds = config.data.batch_size, self.bench.rounds
        stages = at_first_step(
            config,
            self.classifier,
            batches,
            lambda trainer, module: network_stages(trainer, module, batches[0], short),
        )
        norms = at_first_step(
            config,
            self.classifier,
            batches,
            lambda trainer, module: compare_norms(trainer, module, size, rounds, short),
        )
        read = with_input(
            config, self.store, lambda module, device: input_stages(module, device, short)
        )
        return {
            "stages": {"network": stages, "input": read},
            "lrn": norms,
            "optimizer_milliseconds": next(
                stage["forward"] for stage in stages if stage["stage"] == "optimizer"
            ),
            "evaluation": {str(views): self._evaluation(config, views) for views in Views},
        }

    def _evaluation(self, config: Config, views: Views) -> dict[str, Any]:
        changed = deepcopy(config)
        changed.evaluation.views = views
        values = take_turns(
            f"evaluation, {views} view{'s' if views == Views.ten else ''}",
            {
                "images/s": lambda: measure_evaluation(
                    changed, self.store, self.classifier, self._window()
                )
            },
            self.bench.rounds,
        )
        return series(values["images/s"])

    def _augmented(self, config: Config) -> list[Batch]:
        size = config.data.batch_size
        if size not in self._batches:
            self._batches = {size: augmented_batches(config, self.store, _BATCHES)}
        return self._batches[size]

    def _window(self) -> Window:
        return Window(self.bench.seconds, self.device)
