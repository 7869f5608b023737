"""Several machines: who a process takes itself for, and runs under torchrun, srun and Ray.

Machines are pretended on this one: by processes on the loopback, by network namespaces, by two
raylets, and by the nodes of a SLURM where there is one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.plugins.environments.lightning import find_free_network_port

from alexnet_exp.errors import UserError
from alexnet_exp.parallel.team import Place, place
from alexnet_exp.runs.read import read_result
from alexnet_exp.sweep.process import child_environment
from alexnet_exp.training.fit import train
from tests.parallel.together import TINY, assert_same_curves, start

SHORT = ("trainer.max_epochs=2", "evaluation.views=one")
FOUR = ("trainer.devices=2", "trainer.num_nodes=2")

# As srun sets them on the second of two nodes with two tasks each, and a batch script sees them.
STEP = {
    "SLURM_JOB_ID": "1234", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NODELIST": "n[1-2]",
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_NAME": "python",
}  # fmt: skip
BATCH = {name: value for name, value in STEP.items() if "STEP" not in name}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1",
    "GROUP_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "False",
}  # fmt: skip


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``ranks(variables)`` sets what a launcher would; all of another one is removed."""

    def put(variables: Mapping[str, str]) -> None:
        monkeypatch.setattr(os, "environ", child_environment() | variables)

    return put


@pytest.mark.parametrize(
    ("variables", "address"),
    [(STEP, "n1"), ({**STEP, "SLURM_STEP_NUM_TASKS": "2", **TORCHRUN}, "10.0.0.1")],
)
def test_place_is_the_tasks_by_the_innermost_launcher(
    compose_config, ranks, variables: dict[str, str], address: str
) -> None:
    ranks(variables)
    assert place(compose_config("strategy=ddp", *FOUR)) == Place(3, 4, 1, 1)
    assert os.environ["MASTER_ADDR"] == address
    assert os.environ["MASTER_PORT"] == ("16234" if address == "n1" else "29500")


def test_batch_script_is_no_rank(compose_config, ranks) -> None:
    ranks(BATCH)
    assert place(compose_config()) == Place()
    assert place(compose_config("strategy=ddp", "trainer.devices=2")) is None


@pytest.mark.parametrize(("variables", "starter"), [(STEP, "srun"), (TORCHRUN, "torchrun")])
def test_other_number_of_processes_is_one_message(
    compose_config, ranks, variables: dict[str, str], starter: str
) -> None:
    ranks(variables)
    with pytest.raises(UserError, match=rf"{starter} started 4 processes.*asks for 2"):
        place(compose_config("strategy=ddp", "trainer.devices=2"))
    with pytest.raises(UserError, match=rf"{starter} started 4 processes.*strategy=single"):
        place(compose_config())


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, compose_config, stores: Path) -> Path:
    """Run folder of one process."""
    run = tmp_path_factory.mktemp("nodes") / "single"
    train(compose_config(*TINY, *SHORT, f"data.stores={stores}"), run)
    return run


def machines(port: int, address: str = "127.0.0.1") -> list[tuple[str, ...]]:
    """torchrun on each of two machines."""
    first = (f"--master-addr={address}", f"--master-port={port}")
    by = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--nnodes=2")
    return [(*by, *first, f"--node-rank={node}") for node in range(2)]


def finish_all(processes: list["subprocess.Popen[str]"]) -> None:
    for process in processes:
        output = process.communicate(timeout=240)[0]
        assert process.returncode == 0, output


def assert_equal(run: Path, single: Path) -> None:
    """Losses to 1e-5, counted errors exactly."""
    assert_same_curves(run, single)
    ours, theirs = (read_result(folder)["metrics"] for folder in (run, single))
    for name in ("val/top1_error", "test/top1_error"):
        assert ours[name] == theirs[name]


# What runs on each of the machines that this one pretends to be, and its environment.
Network = list[tuple[tuple[str, ...], dict[str, str]]]


@contextmanager
def loopback() -> Iterator[Network]:
    yield [(by, {}) for by in machines(find_free_network_port())]


@contextmanager
def as_srun() -> Iterator[Network]:
    """Its tasks, without a SLURM."""
    job = str(find_free_network_port())  # which makes the port
    step = {**STEP, "SLURM_JOB_ID": job, "SLURM_NODELIST": "127.0.0.1"}
    tasks = [(str(rank), str(rank % 2), str(rank // 2)) for rank in range(4)]
    names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
    yield [((sys.executable,), {**step, **dict(zip(names, task, strict=True))}) for task in tasks]


@contextmanager
def slurm() -> Iterator[Network]:
    by = ("srun", "--nodes=2", "--ntasks-per-node=2", "--kill-on-bad-exit=1", sys.executable)
    yield [(by, {})]


@contextmanager
def namespaces() -> Iterator[Network]:
    """Each in a network of its own, joined by a cable."""
    names = [f"alexnet{os.getpid()}{letter}" for letter in "ab"]
    ends = [(name, f"10.199.7.{number}") for number, name in enumerate(names, 1)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "cable", "netns",
           names[1])  # fmt: skip
        for name, address in ends:
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
        both = zip(names, machines(29500, ends[0][1]), strict=True)
        inside = ("ip", "netns", "exec")
        yield [((*inside, name, *by), {"GLOO_SOCKET_IFNAME": "cable"}) for name, by in both]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


NO_SLURM = pytest.mark.skipif(shutil.which("srun") is None, reason="there is no SLURM")
NO_NAMESPACES = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and ip"
)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("network", "strategy"),
    [
        (loopback, "ddp"),
        (as_srun, "towers"),
        pytest.param(slurm, "towers", marks=NO_SLURM),
        pytest.param(namespaces, "one_weird_trick", marks=NO_NAMESPACES),
    ],
)
def test_two_machines_equal_one_process(
    network: Any, strategy: str, single: Path, tmp_path: Path, stores: Path
) -> None:
    with network() as both:
        folders = (f"data.stores={stores}", f"hydra.run.dir={tmp_path}")
        given = (*folders, f"strategy={strategy}", *SHORT, *FOUR)
        finish_all([start(*given, by=by, **variables) for by, variables in both])
    assert_equal(tmp_path, single)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ray_on_two_machines_equals_one_process(
    single: Path, tmp_path: Path, stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster = Cluster(True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=2)
        process = start(
            f"data.stores={stores}", "hydra.mode=MULTIRUN", "strategy=ddp", *SHORT, *FOUR,
            f"hydra.sweep.dir={tmp_path}", "hydra.sweep.subdir=job", "hydra/launcher=ray",
            f"hydra.launcher.address={cluster.address}",
        )  # fmt: skip
        finish_all([process])
    finally:
        cluster.shutdown()
    assert_equal(tmp_path / "job", single)
