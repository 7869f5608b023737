"""The typed schemas of everything around the network: augmentation, optimizer, trainer."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from alexnet_exp.config.bearing import neutral
from alexnet_exp.config.rules import require


class Views(StrEnum):
    """What is averaged when a run is evaluated (section 4.1)."""

    ten = "ten"
    one = "one"


class Schedule(StrEnum):
    """How the learning rate changes."""

    plateau = "plateau"
    steps = "steps"
    cosine = "cosine"
    constant = "constant"


class Momentum(StrEnum):
    """Which update rule SGD follows."""

    paper = "paper"
    torch = "torch"


class StrategyName(StrEnum):
    """How the network is laid over devices."""

    single = "single"
    ddp = "ddp"
    fsdp = "fsdp"
    towers = "towers"
    one_weird_trick = "one_weird_trick"


@dataclass
class AugmentationConfig:
    """What is done to a training image on the device (section 4.1)."""

    name: str = "paper"
    """Preset, for tables."""

    crops: bool = True
    """Random crop of the network's input size; false: the center."""

    flips: bool = True
    """Mirror half of the images."""

    color_noise: bool = True
    """Add multiples of the principal components of RGB."""

    color_noise_std: float = 0.1
    """Standard deviation of the multiples."""

    min_scale: float = 1.0
    """Least share of the image's area that a crop covers before it is resized to the network's
    input (not in the paper); 1: crops are not resized."""

    max_aspect: float = 1.333
    """Largest aspect ratio of a resized crop (only with ``min_scale`` below 1)."""

    mean_image: bool = True
    """Subtract the per-pixel mean image of the training set."""

    scale: float = 1.0
    """Factor of the centered pixels; 1 keeps the 0-255 scale that the paper's weights expect."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        for name, holds, rule in (
            ("min_scale", 0 < self.min_scale <= 1, "must lie in (0, 1]"),
            ("max_aspect", self.max_aspect >= 1, "must be at least 1"),
            ("color_noise_std", self.color_noise_std >= 0, "must not be negative"),
            ("scale", self.scale > 0, "must be greater than 0"),
        ):
            require(holds, f"augmentation.{name}", getattr(self, name), rule)


@dataclass
class OptimConfig:
    """The optimizer and its schedule (section 5)."""

    name: str = "paper"
    """Preset, for tables."""

    _target_: str | None = None
    """Class of another optimizer, such as torch.optim.RMSprop; null: the paper's SGD."""

    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of that class; +optim.alpha=.9 is added to them."""

    lr: float = 0.01
    """Initial learning rate."""

    momentum: float = 0.9
    """Share of the last update that is kept."""

    rule: Momentum = Momentum.paper
    """paper: the learning rate is inside the velocity, so a drop acts gradually; torch: outside."""

    weight_decay: float = 5e-4
    """Factor of the weights that is added to their gradient."""

    bias_lr_factor: float = 1.0
    """Learning rate of the biases over that of the weights (2 in the authors' code)."""

    decay_biases: bool = True
    """Weight decay on biases too (false in the authors' code)."""

    schedule: Schedule = Schedule.plateau
    """plateau, steps, cosine or constant."""

    factor: float = 10.0
    """plateau, steps: what the learning rate is divided by."""

    patience: int = 5
    """plateau: epochs without a lower validation error before the rate is divided."""

    drops: int = 3
    """plateau: divisions in all; the plateau after the last one ends the run."""

    milestones: list[int] = field(default_factory=list)
    """steps: epochs after which the rate is divided."""

    warmup_steps: int = 0
    """Steps over which the rate rises linearly from near 0."""

    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes (0 in the paper)."""

    clip_norm: float | None = None
    """Largest norm of the gradient; null: no clipping, as in the paper."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        if self.schedule == Schedule.steps and not self.milestones:
            raise ValueError("optim.schedule=steps needs optim.milestones=[epoch, ...]")
        clip = self.clip_norm
        for name, holds, rule in (
            ("lr", self.lr > 0, "must be greater than 0"),
            ("milestones", all(one >= 1 for one in self.milestones), "must be epochs from 1 on"),
            ("momentum", 0 <= self.momentum < 1, "must lie in [0, 1)"),
            ("factor", self.factor > 1, "must be greater than 1"),
            ("patience", self.patience >= 1, "must be at least 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "must lie in [0, 1)"),
            ("clip_norm", clip is None or clip > 0, "must be greater than 0 or null"),
            ("weight_decay", self.weight_decay >= 0, "must not be negative"),
            ("bias_lr_factor", self.bias_lr_factor >= 0, "must not be negative"),
            ("drops", self.drops >= 0, "must not be negative"),
            ("warmup_steps", self.warmup_steps >= 0, "must not be negative"),
        ):
            require(holds, f"optim.{name}", getattr(self, name), rule)


@dataclass
class TrainerConfig:
    """What Lightning's Trainer is given."""

    accelerator: str = "auto"
    """auto, cpu or gpu."""

    devices: Any = neutral(1)
    """Devices on each node: how many, -1 or auto for all there are, or a list of their numbers."""

    num_nodes: int = neutral(1)
    """Number of machines."""

    precision: str = "auto"
    """Lightning's values (32-true, bf16-mixed, ...); auto: bf16-mixed where the hardware has it."""

    max_epochs: int = 90
    """Most epochs."""

    stop_at_train_error: float | None = None
    """Top-1 training error (fraction) at which the run ends, as in figure 1; null: train on."""

    channels_last: bool | None = neutral(None)
    """Keep images and convolution weights in channels-last memory; null: on GPUs, and in bf16. (On
    a CPU in fp32 it is no faster, and convolutions then sum in another order.)"""

    deterministic: bool = False
    """Refuse operations that may differ from run to run."""

    limit_train_batches: int | None = None
    """Steps of an epoch; null: all."""

    checkpoint_every: int = neutral(1)
    """Epochs between checkpoints from which a run can go on."""

    keep_last_checkpoint: bool = neutral(False)
    """Keep the checkpoint with the optimizer's state (twice the weights) after the run ends."""

    progress: bool = neutral(True)
    """Progress bar and tables."""

    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of Lightning's Trainer; +trainer.accumulate_grad_batches=2 is added."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        steps, enough = self.limit_train_batches, self.stop_at_train_error
        for name, holds, rule in (
            ("accelerator", self.accelerator in _ACCELERATORS, "must be auto, cpu, gpu or mps"),
            ("devices", _are_devices(self.devices), _DEVICES),
            ("num_nodes", self.num_nodes >= 1, "must be at least 1"),
            ("max_epochs", self.max_epochs >= 1, "must be at least 1"),
            ("checkpoint_every", self.checkpoint_every >= 1, "must be at least 1"),
            ("limit_train_batches", steps is None or steps >= 1, "must be at least 1 or null"),
            ("stop_at_train_error", enough is None or 0 <= enough < 1,
             "must lie in [0, 1) or be null"),
            ("precision", self.precision in _PRECISIONS,
             f"must be one of {', '.join(_PRECISIONS)}"),
        ):  # fmt: skip
            require(holds, f"trainer.{name}", getattr(self, name), rule)


_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
_PRECISIONS = (
    "auto", "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true",
    "32", "16", "64", "bf16",
)  # fmt: skip
_DEVICES = "must be at least 1, or -1 or auto for all there are, or a list such as [0,1]"


def _are_devices(devices: Any) -> bool:
    """Whether it is a number from 1 on, -1, auto or a list of different numbers."""
    numbers = devices if isinstance(devices, list) else [devices]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if isinstance(devices, list):
        return whole and min(numbers, default=-1) >= 0 and len({*numbers}) == len(numbers)
    return devices == "auto" or (whole and (devices == -1 or devices >= 1))


class Compile(StrEnum):
    """What torch.compile is given."""

    auto = "auto"
    none = "none"
    network = "network"
    graphs = "graphs"


@dataclass
class SpeedConfig:
    """How a step is computed; none of it bears on the result beyond the rounding of bf16."""

    name: str = "auto"
    """Preset, for tables."""

    kernels: bool = True
    """Response normalization and cropping by compiled kernels: C on a CPU, Triton on a GPU; torch
    operations where there is no compiler. In fp32 on a CPU the same bits either way."""

    fuse: bool = True
    """Compute the rectifier before a response normalization as a part of it."""

    fused_optimizer: bool = True
    """One kernel for the whole step of the optimizer, but for the last bit."""

    compile: Compile = Compile.auto
    """torch.compile in training: network, graphs (with CUDA graphs), none; auto: on a GPU graphs
    with strategy=single and network with ddp, else none."""

    autotune: bool = True
    """On a GPU: time the algorithms of each convolution at first use and keep the fastest."""

    prefetch: int = 2
    """Batches that are read before they are asked for, where images are not resident."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        rule = "must be at least 1 (data.workers=0 reads nothing ahead)"
        require(self.prefetch >= 1, "speed.prefetch", self.prefetch, rule)


@dataclass
class StrategyConfig:
    """How one network is trained on several devices (package ``parallel``)."""

    name: StrategyName = neutral(StrategyName.single)
    """single, ddp, fsdp, towers or one_weird_trick."""

    bf16_gradients: bool = False
    """ddp: send gradients in bf16, half the bytes; the result is no longer that of one device."""

    bucket_mb: float = neutral(4.0)
    """ddp, towers, one_weird_trick: least MiB of gradients that are sent together."""

    timeout: float = neutral(40.0)
    """Seconds that a process waits for another before the run ends as failed."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        for name in ("bucket_mb", "timeout"):
            value = getattr(self, name)
            require(value > 0, f"strategy.{name}", value, "must be greater than 0")


@dataclass
class LoggerConfig:
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

    mode: str = "online"
    """W&B: online, offline or disabled."""

    tags: list[str] = field(default_factory=list)
    """Tags of the run at W&B."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        known = self.mode in ("online", "offline", "disabled")
        require(known, "logger.mode", self.mode, "must be online, offline or disabled")


@dataclass
class EvaluationConfig:
    """How the best checkpoint is evaluated after training."""

    views: Views = Views.ten
    """ten: four corners, center and their mirrors, softmax averaged; one: center."""

    batch_size: int = neutral(256)
    """Views in one forward pass, on one device."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the override to change."""
        require(
            self.batch_size >= 1, "evaluation.batch_size", self.batch_size, "must be at least 1"
        )
