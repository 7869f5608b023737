"""One job on several machines of a Ray cluster: torchrun, as a user would type it on each."""

import contextlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import get_node_ip_address
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from alexnet_exp.sweep.process import GRACE, ChildSpec, Ending, child_environment, run_child


def run_on_nodes(
    spec: ChildSpec, count: int, devices: int, demand: dict[str, float], carried: dict[str, str]
) -> Ending:
    """Run a job on several machines at once, in a Ray task that holds nothing itself.

    When one ends as failed, the others are ended too. All of them write to the job's ``log.txt``,
    on a file system that they share. ``demand`` is ``num_cpus`` and ``num_gpus`` on each.

    Returns:
        The first machine's ending, or the first that failed.
    """
    bundle = {"CPU": demand["num_cpus"], "GPU": demand["num_gpus"]}
    bundle = {name: amount for name, amount in bundle.items() if amount}
    group = placement_group([bundle] * count, strategy="STRICT_SPREAD")
    running: list[ray.ObjectRef[Ending]] = []
    try:
        ray.get(group.ready())
        address, port = ray.get(_at(group, 0, _meeting_place, num_cpus=0).remote())
        for node in range(count):
            part = spec.on_machine(node, count, devices, address, port)
            running.append(_at(group, node, run_there, **demand).remote(part, carried))
        return first_failure(running)
    finally:
        for task in running:
            ray.cancel(task, force=False, recursive=False)
        if running:
            ray.wait(running, num_returns=len(running), timeout=2 * GRACE)
        remove_placement_group(group)


def first_failure(running: Sequence["ray.ObjectRef[Ending]"]) -> Ending:
    """The first ending that is not a success; the first machine's where all are."""
    endings: dict[int, Ending] = {}
    waiting = list(running)
    while waiting:
        (ended,), waiting = ray.wait(waiting, num_returns=1)
        node = running.index(ended)
        try:
            endings[node] = ray.get(ended)
        except RayError as error:  # its machine is gone
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Ending(None, 0.0, f"machine {node}: Ray: {line}")
        if endings[node].returncode != 0:
            return replace(endings[node], reason=f"machine {node}: {endings[node].reason}")
    return endings[0]


def _at(group: PlacementGroup, node: int, task: Callable[..., Any], **options: float) -> Any:
    """A Ray task on one machine of the group."""
    there = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node)
    return ray.remote(task).options(max_retries=0, scheduling_strategy=there, **options)


def _meeting_place() -> tuple[str, int]:
    """Address of this machine and a port of it that is free."""
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("", 0))
        return get_node_ip_address(), sock.getsockname()[1]


def run_there(spec: ChildSpec, carried: dict[str, str]) -> Ending:
    """In a worker, whose environment says which GPUs the job may see."""
    return run_child(spec, {**child_environment(), **carried})
