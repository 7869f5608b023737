"""What each part of a step takes, timed by itself; evaluation; JPEG files decoded."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.bench.clock import Course, seconds_of, series
from alexnet_exp.bench.plain import as_jpeg
from alexnet_exp.bench.show import show, spread
from alexnet_exp.bench.subject import (
    Batch,
    Subject,
    instead_of_training,
    measure_evaluation,
    step,
)
from alexnet_exp.config.bench import BenchConfig
from alexnet_exp.config.training import Views
from alexnet_exp.data.decode import decode, decoder_name
from alexnet_exp.data.store.store import Store
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.training.classifier import Classifier

WINDOWS, EVALUATION = 8.0, 3.0  # that stages and JPEG files take, and one evaluation
_JPEGS = 64


def measure(bench: BenchConfig, case: Subject, course: Course) -> dict[str, Any]:
    """All of it, for one case.

    Returns:
        The ``stages`` of bench.json, times in milliseconds.
    """
    short = bench.seconds / 16

    def timed(trainer: L.Trainer, module: Classifier) -> list[dict[str, Any]]:
        loader: Any = iter(trainer.train_dataloader)  # type: ignore[arg-type]  # it does not end
        read = seconds_of(lambda: next(loader), case.device, short)
        return [_stage("input", read), *network_stages(trainer, module, next(loader), short)]

    stages = course.take("stages", WINDOWS / 2, lambda: instead_of_training(case, timed))
    whole = stages[-1]["forward"]
    rows = [
        [name, f"{forward:,.2f}", f"{backward:,.2f}", f"{100 * (forward + backward) / whole:.1f} %"]
        for name, forward, backward in map(dict.values, stages)
    ]
    title = f"Milliseconds of each stage, run by itself and not compiled, {case.name}"
    show(title, ["stage", "forward", "backward", "of the whole step"], rows)
    jpeg = course.take("JPEG files", WINDOWS / 2, lambda: jpeg_decoding(case.once, 4 * short))
    turns = {
        f"evaluation, views: {views}": partial(measure_evaluation, case, views, bench.seconds)
        for views in Views
    }
    rates = [*map(series, course.take_turns(bench.rounds, EVALUATION, turns))]
    rows = [[name, spread(rate)] for name, rate in zip(turns, rates, strict=True)]
    size = f"JPEG of {jpeg['side']} px and {jpeg['bytes_per_image'] / 1e3:,.0f} kB, by a core"
    rows.append([size, f"{jpeg['images_per_second_per_core']:,.0f}"])
    show("Besides", ["what", "images/s"], rows)
    evaluation = dict(zip(map(str, Views), rates, strict=True))
    return {"stages": stages, "evaluation": evaluation, "jpeg": jpeg}


def network_stages(
    trainer: L.Trainer, classifier: Classifier, batch: Batch, seconds: float
) -> Iterator[dict[str, Any]]:
    """Milliseconds of each layer, of the loss, of the optimizer, and last of a whole step.

    Each is run by itself, forward and backward. What the whole step takes beyond the sum are
    metrics, learning rate and launches; where it takes less, parts of it run at once.

    Args:
        trainer, classifier: As training has set them up.
        batch: As the network receives it.
        seconds: Least time of each measurement.

    Yields:
        ``stage``, ``forward`` and ``backward`` (0 where there is no such thing).
    """
    # Every call has a context of its own: within one, weights are rounded to bf16 once.
    context: Any = trainer.precision_plugin.train_step_context
    (x, labels), network = batch, classifier.network
    smoothing = classifier.config.optim.label_smoothing
    x = x.to(classifier.dtype).contiguous(memory_format=classifier.memory_format)

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)

    def forward(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with context():
            return layer(x)

    def timed(work: Callable[..., object], *arguments: Any, **more: Any) -> float:
        return seconds_of(partial(work, *arguments, **more), x.device, seconds)

    layers: list[tuple[str, Any]] = [*layer_groups(network), ("loss", loss)]
    for name, layer in layers:
        y = forward(layer, x)
        parameters = layer.parameters() if isinstance(layer, nn.Module) else ()
        wanted = [one for one in (x, *parameters) if one.requires_grad]
        back, gradient = 0.0, torch.ones_like(y)
        if wanted:
            back = timed(torch.autograd.grad, y, wanted, gradient, retain_graph=True)
        yield _stage(name, timed(forward, layer, x), back)
        x = y.detach().requires_grad_()
    step(trainer, classifier, batch, 0)  # leaves gradients
    optimizer: Any = classifier.optimizers(use_pl_optimizer=False)
    yield _stage("optimizer", timed(optimizer.step))
    yield _stage("whole step", timed(step, trainer, classifier, batch, 0))


def layer_groups(network: AlexNet) -> Iterator[tuple[str, nn.Module]]:
    """Layers in order under their names in the paper, each with its activation after it."""
    groups: dict[str, list[nn.Module]] = {}
    planned = {layer.name for layer in network.plan}
    flatten = ("flatten", nn.Flatten())
    children = [*network.features.named_children(), flatten, *network.classifier.named_children()]
    for name, layer in children:
        if name in planned or name.startswith(("drop", "pad")):
            groups[name] = []
        groups[next(reversed(groups))].append(layer)
    for name, layers in groups.items():
        yield name, nn.Sequential(*layers)


def _stage(name: str, forward: float, backward: float = 0.0) -> dict[str, Any]:
    return {"stage": name, "forward": 1e3 * forward, "backward": 1e3 * backward}


def jpeg_decoding(store: Store, seconds: float) -> dict[str, Any]:
    """Bytes and decoding rate of one core for some of the store's images as JPEG files."""
    rows = store.indices("train")
    files = [as_jpeg(store.images[row]) for row in rows[:: max(1, len(rows) // _JPEGS)][:_JPEGS]]
    side, channels = store.images.shape[2:]

    def decode_all() -> None:
        for data in files:
            decode(data, "benchmark", channels)

    taken = seconds_of(decode_all, torch.device("cpu"), seconds)
    return {
        "side": side,
        "images": len(files),
        "decoder": decoder_name(),
        "bytes_per_image": sum(map(len, files)) / len(files),
        "images_per_second_per_core": len(files) / taken,
    }
