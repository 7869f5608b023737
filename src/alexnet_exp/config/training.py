"""The typed schemas of what is around the network: augmentation, optimizer, trainer, sweep."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from alexnet_exp.config.rules import (
    AT_LEAST_1,
    BELOW_1,
    FOLDER,
    NOT_NEGATIVE,
    PART,
    POSITIVE,
    Rule,
    Ruled,
    neutral,
    one_of,
    require,
    ruled,
)

Views = StrEnum("Views", ["ten", "one"])
"""What is averaged when a run is evaluated (section 4.1)."""

Schedule = StrEnum("Schedule", ["plateau", "steps", "cosine", "constant"])
"""How the learning rate changes."""

Momentum = StrEnum("Momentum", ["paper", "torch"])
"""Which update rule SGD follows."""

StrategyName = StrEnum("StrategyName", ["single", "ddp", "fsdp", "towers", "one_weird_trick"])
"""How the network is laid over devices."""


@dataclass
class AugmentationConfig(Ruled, group="augmentation"):
    """What is done to a training image on the device (section 4.1)."""

    name: str = "paper"
    """Preset, for tables."""

    crops: bool = True
    """Random crop of the network's input size; false: the center."""

    flips: bool = True
    """Mirror half of the images."""

    color_noise: bool = True
    """Add multiples of the principal components of RGB."""

    color_noise_std: float = ruled(0.1, NOT_NEGATIVE)
    """Standard deviation of the multiples."""

    min_scale: float = ruled(1.0, ("must lie in (0, 1]", lambda value: 0 < value <= 1))
    """Least share of the image's area that a crop covers before it is resized to the network's
    input (not in the paper); 1: crops are not resized."""

    max_aspect: float = ruled(1.333, AT_LEAST_1)
    """Largest aspect ratio of a resized crop (only with ``min_scale`` below 1)."""

    mean_image: bool = True
    """Subtract the per-pixel mean image of the training set."""

    scale: float = ruled(1.0, POSITIVE)
    """Factor of the centered pixels; 1 keeps the 0-255 scale that the paper's weights expect."""


OUTPUT = "output"
"""Name of the last layer in ``optim.layers``, whatever the network calls it."""


@dataclass
class OptimConfig(Ruled, group="optim"):
    """The optimizer and its schedule (section 5)."""

    name: str = "paper"
    """Preset, for tables."""

    _target_: str | None = None
    """Class of another optimizer, such as torch.optim.RMSprop; null: the paper's SGD."""

    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of that class; +optim.alpha=.9 is added to them."""

    lr: float = ruled(0.01, POSITIVE)
    """Initial learning rate."""

    momentum: float = ruled(0.9, BELOW_1)
    """Share of the last update that is kept."""

    rule: Momentum = Momentum.paper
    """paper: the learning rate is inside the velocity, so a drop acts gradually; torch: outside."""

    weight_decay: float = ruled(5e-4, NOT_NEGATIVE)
    """Factor of the weights that is added to their gradient."""

    decay: bool = True
    """false: no weight decay in any layer, whatever ``weight_decay`` and ``layers`` say."""

    bias_lr_factor: float = ruled(1.0, NOT_NEGATIVE)
    """Learning rate of the biases over that of the weights (2 in the authors' code). Gains of
    batch normalization count as biases."""

    decay_biases: bool = True
    """Weight decay on biases too (false in the authors' code)."""

    bias_lr_drops: bool = True
    """plateau, steps: divide the learning rate of the biases too (false in the authors' code)."""

    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What single layers have of their own, by name (``output``: the last): lr, bias_lr and
    weight_decay, such as fc8: {lr: .1}, whatever ``lr`` of the others is. Without bias_lr, biases
    have ``bias_lr_factor`` times its lr. A preset's entry is taken away by ~optim.layers.fc4."""

    schedule: Schedule = Schedule.plateau
    """plateau, steps, cosine or constant."""

    factor: float = ruled(10.0, ("must be greater than 1", lambda value: value > 1))
    """plateau, steps: what the learning rate is divided by."""

    patience: int = ruled(5, AT_LEAST_1)
    """plateau: epochs without a lower validation error before the rate is divided."""

    drops: int = ruled(3, NOT_NEGATIVE)
    """plateau: divisions in all; the plateau after the last one ends the run."""

    milestones: list[int] = field(default_factory=list)
    """steps: epochs after which the rate is divided."""

    warmup_steps: int = ruled(0, NOT_NEGATIVE)
    """Steps over which the rate rises linearly from near 0."""

    label_smoothing: float = ruled(0.0, BELOW_1)
    """Share of the target that is spread over all classes (0 in the paper)."""

    clip_norm: float | None = ruled(None, POSITIVE)
    """Largest norm of the gradient; null: no clipping, as in the paper."""

    def __post_init__(self) -> None:
        if self.schedule == Schedule.steps and not self.milestones:
            raise ValueError("optim.schedule=steps needs optim.milestones=[epoch, ...]")
        holds = all(epoch >= 1 for epoch in self.milestones)
        require(holds, "optim.milestones", self.milestones, "must be epochs from 1 on")
        for layer, own in self.layers.items():
            for name, value in own.items():
                path = f"optim.layers.{layer}.{name}"
                known = name in ("lr", "bias_lr", "weight_decay")
                require(known, path, value, "sets no field: there are lr, bias_lr, weight_decay")
                try:  # a file may have a whole number, and Hydra takes -.1 for a word
                    own[name] = math.nan if isinstance(value, bool) else float(value)
                except (TypeError, ValueError):
                    own[name] = math.nan
                require(0 <= own[name] < math.inf, path, value, "must be a number from 0 on")


def _are_devices(devices: Any) -> bool:
    numbers = devices if isinstance(devices, list) else [devices]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if isinstance(devices, list):
        return whole and min(numbers, default=-1) >= 0 and len({*numbers}) == len(numbers)
    return devices == "auto" or (whole and (devices == -1 or devices >= 1))


_DEVICES: Rule = (
    "must be at least 1, or -1 or auto for all there are, or a list such as [0,1]", _are_devices,
)  # fmt: skip
_PRECISIONS = one_of(
    "auto", "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true",
    "32", "16", "64", "bf16",
)  # fmt: skip


@dataclass
class TrainerConfig(Ruled, group="trainer"):
    """What Lightning's Trainer is given."""

    accelerator: str = ruled("auto", one_of("auto", "cpu", "gpu", "cuda", "mps"))
    """auto, cpu or gpu."""

    devices: Any = neutral(1, _DEVICES)
    """Devices on each node: how many, -1 or auto for all there are, or a list of their numbers."""

    num_nodes: int = neutral(1, AT_LEAST_1)
    """Number of machines."""

    precision: str = ruled("auto", _PRECISIONS)
    """Lightning's values (32-true, bf16-mixed, ...); auto: bf16-mixed where the hardware has it."""

    max_epochs: int = ruled(90, AT_LEAST_1)
    """Most epochs."""

    stop_at_train_error: float | None = ruled(None, BELOW_1)
    """Top-1 training error (fraction) at which the run ends, as in figure 1; null: train on."""

    channels_last: bool | None = neutral(None)
    """Keep images and convolution weights in channels-last memory; null: on GPUs, and in bf16. (On
    a CPU in fp32 it is no faster, and convolutions then sum in another order.)"""

    deterministic: bool = False
    """Refuse operations that may differ from run to run."""

    limit_train_batches: int | None = ruled(None, AT_LEAST_1)
    """Steps of an epoch; null: all."""

    checkpoint_every: int = neutral(1, AT_LEAST_1)
    """Epochs between checkpoints from which a run can go on."""

    keep_last_checkpoint: bool = neutral(False)
    """Keep the checkpoint with the optimizer's state (twice the weights) after the run ends."""

    progress: bool = neutral(True)
    """Progress bar and tables."""

    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of Lightning's Trainer; +trainer.accumulate_grad_batches=2 is added."""


Compile = StrEnum("Compile", ["auto", "none", "network", "graphs"])
"""What torch.compile is given."""


@dataclass
class SpeedConfig(Ruled, group="speed"):
    """How a step is computed; none of it bears on the result beyond rounding."""

    name: str = "auto"
    """Preset, for tables."""

    kernels: bool = True
    """Response normalization and cropping by compiled kernels: C on a CPU, Triton on a GPU; torch
    operations where there is no compiler."""

    fuse: bool = True
    """Compute the rectifier before a response normalization as a part of it."""

    fused_optimizer: bool = True
    """One kernel for the whole step of the optimizer, but for the last bit."""

    compile: Compile = Compile.auto
    """torch.compile in training: network, graphs (with CUDA graphs), none; auto: on a GPU graphs
    with strategy=single and network with ddp, else none."""

    autotune: bool = True
    """On a GPU: time the algorithms of each convolution at first use and keep the fastest."""

    prefetch: int = ruled(2, AT_LEAST_1)
    """Batches that are read before they are asked for, where images are not resident; at least 1
    (``data.workers=0`` reads nothing ahead)."""


@dataclass
class StrategyConfig(Ruled, group="strategy"):
    """How one network is trained on several devices (package ``parallel``)."""

    name: StrategyName = neutral(StrategyName.single)
    """single, ddp, fsdp, towers or one_weird_trick."""

    bf16_gradients: bool = False
    """ddp: send gradients in bf16, half the bytes; the result is no longer that of one device."""

    bucket_mb: float = neutral(4.0, POSITIVE)
    """ddp, towers, one_weird_trick: least MiB of gradients that are sent together."""

    timeout: float = neutral(40.0, POSITIVE)
    """Seconds that a process waits for another before the run ends as failed."""


@dataclass
class LoggerConfig(Ruled, group="logger"):
    """Where metrics are logged besides metrics.csv."""

    wandb: bool = False
    """Weights & Biases."""

    tensorboard: bool = False
    """TensorBoard event files in the run folder."""

    others: dict[str, Any] = field(default_factory=dict)
    """Further loggers by name, each with _target_; +logger.mine._target_=... is added to them."""

    project: str = "alexnet_exp"
    """Project at W&B."""

    entity: str | None = None
    """Team or user at W&B; null: the account's default."""

    mode: str = ruled("online", one_of("online", "offline", "disabled"))
    """W&B: online, offline or disabled."""

    tags: list[str] = field(default_factory=list)
    """Tags of the run at W&B."""


@dataclass
class EvaluationConfig(Ruled, group="evaluation"):
    """How the best checkpoint is evaluated after training."""

    views: Views = Views.ten
    """ten: four corners, center and their mirrors, softmax averaged; one: center."""

    batch_size: int = neutral(256, AT_LEAST_1)
    """Views in one forward pass, on one device."""


@dataclass
class SweepConfig(Ruled, group="sweep"):
    """One sweep; it has no bearing on the result of a run."""

    name: str = ruled("multirun", FOLDER)
    """Folder of the sweep below ``runs/<data>/``; set by +sweep=..."""

    job_timeout: float | None = ruled(None, POSITIVE)
    """Seconds after which a job counts as hanging and is ended; null: never."""

    factors: list[str] = field(default_factory=list)
    """Experiments that are combined, each on or off in every job; set by +sweep=factorial."""

    runs: int | None = ruled(None, AT_LEAST_1)
    """Combinations of the factors that are run with each seed, a power of 2; null: the fewest that
    tell each factor from the others and from pairs of them, as far as that is known."""

    dry_run: bool = False
    """List the jobs, which are done, and what the rest will cost from what is known; start none."""

    baseline_seeds: int = ruled(1, AT_LEAST_1)
    """How many times as many seeds the baseline gets, next to those of ``seed``: every difference
    of the sweep holds its error."""

    margin: float | None = ruled(None, PART)
    """Difference of error (fraction) that counts as an effect where no figure was published; every
    run records it before it begins."""
