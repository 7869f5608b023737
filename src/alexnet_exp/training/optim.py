"""The paper's stochastic gradient descent and its learning rate (section 5)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from alexnet_exp.config.training import Momentum, OptimConfig, Schedule


class PaperSGD(torch.optim.SGD):
    """SGD with the learning rate inside the velocity, as the paper writes it.

    ``v <- momentum * v - lr * (weight_decay * w + grad);  w <- w + v``

    torch keeps ``lr`` outside, so there a lower rate also scales down what the velocity already
    holds; here it acts gradually. With a constant rate the two are the same. torch's buffer is
    ``-v / lr``: when lr changes, one step with ``momentum * old_lr / lr`` keeps v as it was.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
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


def build_optimizer(model: nn.Module, config: OptimConfig, fused: bool = True) -> torch.optim.SGD:
    """SGD over weights and biases, in two groups.

    Args:
        model: Its one-dimensional parameters count as biases.
        config: ``bias_lr_factor`` and ``decay_biases`` set the second group apart.
        fused: One kernel for the whole step.
    """
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "lr_factor": 1.0, "weight_decay": config.weight_decay},
        {
            "params": biases,
            "lr_factor": config.bias_lr_factor,
            "lr": config.lr * config.bias_lr_factor,
            "weight_decay": config.weight_decay if config.decay_biases else 0.0,
        },
    ]
    rule = PaperSGD if config.rule == Momentum.paper else torch.optim.SGD
    optimizer = rule(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    optimizer.register_load_state_dict_post_hook(_lay_momentum_like_weights)
    return optimizer


def _lay_momentum_like_weights(optimizer: torch.optim.Optimizer) -> None:
    """A fused step takes both as they lie in memory; a checkpoint may have them otherwise."""
    for parameter, state in optimizer.state.items():
        momentum = state.get("momentum_buffer")
        if momentum is not None and momentum.stride() != parameter.stride():
            state["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)


class LearningRate:
    """The learning rate at every step; its state goes into the checkpoint.

    Args:
        config: Schedule and its constants.
        total_steps: Steps of the whole run, for ``cosine``; may be set later.
    """

    def __init__(self, config: OptimConfig, total_steps: int = 0) -> None:
        self.config, self.total_steps = config, total_steps
        self.drops = 0
        self.best = math.inf
        self.bad_epochs = 0
        self.finished = False

    def at(self, step: int) -> float:
        """Learning rate of the weights at optimizer step ``step``, from 0."""
        config = self.config
        rate = config.lr / config.factor**self.drops
        if config.schedule == Schedule.cosine:
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.total_steps))))
        return rate * min(1.0, (step + 1) / max(1, config.warmup_steps))

    def end_epoch(self, epoch: int, val_error: float) -> None:
        """Take note of an epoch's validation error (epoch counted from 1)."""
        if self.config.schedule == Schedule.steps:
            self.drops = sum(epoch >= milestone for milestone in self.config.milestones)
        if self.config.schedule != Schedule.plateau:
            return
        if val_error < self.best:
            self.best, self.bad_epochs = val_error, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs >= self.config.patience:
            self.finished = self.drops >= self.config.drops
            self.drops = min(self.drops + 1, self.config.drops)
            self.bad_epochs = 0

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Set the rate of every parameter group; returns that of the weights."""
        rate = self.at(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        return rate

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "drops": self.drops,
            "best": self.best,
            "bad_epochs": self.bad_epochs,
            "finished": self.finished,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self.drops, self.best = state["drops"], state["best"]
        self.bad_epochs, self.finished = state["bad_epochs"], state["finished"]
