"""The paper's stochastic gradient descent and its learning rate (section 5)."""

import math
from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from alexnet_exp.config.arguments import find
from alexnet_exp.config.training import OUTPUT, Momentum, OptimConfig, Schedule
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import weighted_layers


class PaperSGD(torch.optim.SGD):
    """SGD with the learning rate inside the velocity, as the paper writes it.

    ``v <- momentum * v - lr * (weight_decay * w + grad);  w <- w + v``

    torch keeps ``lr`` outside, so there a lower rate also scales down what the velocity already
    holds; here it acts gradually. With a constant rate the two are the same. torch's buffer is
    ``-v / lr``: when lr changes, one step with ``momentum * old_lr / lr`` keeps v as it was.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        momenta = [group["momentum"] for group in self.param_groups]
        for group in self.param_groups:
            last = group.get("last_lr") or group["lr"]
            if group["lr"] > 0:
                group["momentum"] *= last / group["lr"]
                group["last_lr"] = group["lr"]
        loss = super().step(closure)
        for group, momentum in zip(self.param_groups, momenta, strict=True):
            group["momentum"] = momentum
        return loss


def build_optimizer(
    model: nn.Module, config: OptimConfig, fused: bool = True
) -> torch.optim.Optimizer:
    """The optimizer over weights and biases in groups, as ``config`` and its ``layers`` have them.

    ``fused`` asks for one kernel for the whole step, where the optimizer has one.

    Raises:
        UserError: There is no such optimizer, or it does not take these arguments.
    """
    name = config._target_
    if name is None:
        rule = PaperSGD if config.rule == Momentum.paper else torch.optim.SGD
    else:
        rule = find(name, "optim")
        if not (isinstance(rule, type) and issubclass(rule, torch.optim.Optimizer)):
            raise UserError(f"optim._target_={name} is not one of torch's optimizers")
    groups = _groups(model, config)
    takes = signature(rule).parameters
    if "weight_decay" not in takes and any(group["weight_decay"] for group in groups):
        raise UserError(f"{name} has no weight decay: set optim.decay=false")
    options: dict[str, Any] = {"lr": config.lr}
    if "momentum" in takes:
        options["momentum"] = config.momentum
    if issubclass(rule, (torch.optim.SGD, torch.optim.Adam)):  # AdamW is an Adam
        options["fused"] = fused
    try:
        optimizer = rule(groups, **(options | config.arguments))
    except (TypeError, ValueError) as error:
        raise UserError(f"optim._target_={name} can't be had with these fields: {error}") from error
    optimizer.register_load_state_dict_post_hook(_lay_state_like_weights)
    return optimizer


def _groups(model: nn.Module, config: OptimConfig) -> list[dict[str, Any]]:
    """Parameters of one kind, learning rate and weight decay; biases have one dimension."""
    layers = {p: name for name, layer in weighted_layers(model) for p in layer.parameters()}
    output = next(reversed(layers.values()), None)
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for p in model.parameters():
        name = layers.get(p, "")
        own = config.layers.get(OUTPUT, {}) if name == output else {}
        own = own | config.layers.get(name, {})
        lr, decay = own.get("lr", config.lr), own.get("weight_decay", config.weight_decay)
        is_bias = p.ndim <= 1
        if is_bias:
            lr = own.get("bias_lr", lr * config.bias_lr_factor)
            decay *= config.decay_biases
        decay *= config.decay
        groups.setdefault((is_bias, lr, decay), []).append(p)
    return [
        {
            "params": parameters,
            "lr": lr,
            "lr_factor": lr / config.lr,
            "drops": config.bias_lr_drops or not is_bias,
            "weight_decay": decay,
        }
        for (is_bias, lr, decay), parameters in groups.items()
    ]


def _lay_state_like_weights(optimizer: torch.optim.Optimizer) -> None:
    """A fused step takes both as they lie in memory; a checkpoint may have them otherwise."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            like = isinstance(value, Tensor) and value.shape == parameter.shape
            if like and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


class PaperSchedule(LRScheduler):
    """The learning rate at every step: warm-up, then a plateau, steps, a cosine or a constant.

    Args:
        optimizer: Each of its groups gets the rate times its ``lr_factor``; one with ``drops``
            false the rate that is not divided.
        config: Schedule and its constants.
        total_steps: Steps of the whole run, for ``cosine``.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, config: OptimConfig, total_steps: float = 0
    ) -> None:
        self.config, self.total_steps = config, total_steps
        self.drops = self.bad_epochs = 0
        self.best, self.finished = math.inf, False
        super().__init__(optimizer)

    def at(self, step: int) -> float:
        """Learning rate of the weights at optimizer step ``step``, from 0."""
        return self._undivided(step) / self.config.factor**self.drops

    def _undivided(self, step: int) -> float:
        rate = self.config.lr * min(1.0, (step + 1) / max(1, self.config.warmup_steps))
        if self.config.schedule == Schedule.cosine:
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.total_steps))))
        return rate

    def get_lr(self) -> list[float | Tensor]:
        """Rate of every group at the step that comes next."""
        step = self.last_epoch  # torch's word; here it counts steps
        rates = {True: self.at(step), False: self._undivided(step)}
        return [rates[group["drops"]] * group["lr_factor"] for group in self.optimizer.param_groups]

    def end_epoch(self, epoch: int, val_error: float | None = None) -> None:
        """Take note of the end of an epoch, counted from 1, and its validation error."""
        if self.config.schedule == Schedule.steps:
            self.drops = sum(epoch >= milestone for milestone in self.config.milestones)
        if self.config.schedule == Schedule.plateau and val_error is not None:
            self._look_for_plateau(val_error)
        self._set()

    def _look_for_plateau(self, val_error: float) -> None:
        if val_error < self.best:
            self.best, self.bad_epochs = val_error, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs >= self.config.patience:
            self.finished = self.drops >= self.config.drops
            self.drops = min(self.drops + 1, self.config.drops)
            self.bad_epochs = 0

    def _set(self) -> None:
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state_dict[name])
        self._set()


_STATE = ("last_epoch", "drops", "best", "bad_epochs", "finished")
