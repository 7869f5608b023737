"""Several machines: who a process takes itself for, and runs under torchrun, srun and Ray.

Machines are pretended on this one: by processes on the loopback, by network namespaces, by two
raylets, and by the nodes of a SLURM where there is one.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alexnet_exp.errors import UserError
from alexnet_exp.parallel.team import Place, place
from alexnet_exp.runs.read import read_metrics, read_result
from alexnet_exp.sweep.process import child_environment

TRAIN = ("-m", "alexnet_exp.train")
TINY = (
    "model.width=0.1", "model.fc=[320,320]", "model.input_size=64", "data.image_size=72",
    "data.synthetic_images=120", "data.batch_size=16", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "model.init.scheme=he", "augmentation.scale=0.02",
    "optim.lr=0.05", "optim.warmup_steps=0", "trainer.limit_train_batches=2",
    "trainer.max_epochs=2", "evaluation.views=one",
)  # fmt: skip
ENDLESS = ("trainer.max_epochs=100000", "optim.schedule=constant")

# As srun sets them on the second of two nodes with two tasks each, and a batch script sees them.
STEP = {
    "SLURM_JOB_ID": "1234", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NODELIST": "n[1-2]",
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_NAME": "python",
}  # fmt: skip
BATCH = {
    "SLURM_JOB_ID": "1234", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "n[1-2]",
    "SLURM_JOB_NAME": "job.sh",
}  # fmt: skip
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


def test_place_under_srun_is_the_tasks(compose_config, ranks) -> None:
    ranks(STEP)
    config = compose_config("strategy=ddp", "trainer.devices=2", "trainer.num_nodes=2")
    assert place(config) == Place(3, 4, 1, 1)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("n1", str(15000 + 1234))


def test_batch_script_is_no_rank(compose_config, ranks) -> None:
    ranks(BATCH)
    assert place(compose_config()) == Place()
    assert place(compose_config("strategy=ddp", "trainer.devices=2")) is None


def test_torchrun_that_srun_started_decides(compose_config, ranks) -> None:
    ranks({**STEP, "SLURM_STEP_NUM_TASKS": "2", **TORCHRUN})
    config = compose_config("strategy=ddp", "trainer.devices=2", "trainer.num_nodes=2")
    assert place(config) == Place(3, 4, 1, 1)
    assert os.environ["MASTER_ADDR"] == "10.0.0.1"


def test_several_machines_without_a_starter_are_told_how(compose_config, ranks) -> None:
    ranks({})
    with pytest.raises(UserError, match=r"torchrun --nnodes=2 .*--nproc-per-node=4"):
        place(compose_config("strategy=ddp", "trainer.devices=4", "trainer.num_nodes=2"))


@pytest.mark.parametrize(("variables", "starter"), [(STEP, "srun"), (TORCHRUN, "torchrun")])
def test_other_number_of_processes_is_one_message(
    compose_config, ranks, variables: dict[str, str], starter: str
) -> None:
    ranks(variables)
    with pytest.raises(UserError, match=rf"{starter} started 4 processes.*asks for 2"):
        place(compose_config("strategy=ddp", "trainer.devices=2"))
    with pytest.raises(UserError, match=rf"{starter} started 4 processes.*strategy=single"):
        place(compose_config())


def test_sweep_job_in_a_slurm_step_is_no_rank(compose_config, ranks) -> None:
    ranks(STEP)
    ranks({})
    assert place(compose_config()) == Place()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> Path:
    """Run folder of one process; beside it the packed data."""
    folder = tmp_path_factory.mktemp("nodes")
    stores.mkdir(exist_ok=True)
    (folder / "stores").symlink_to(stores)
    finish_all([start(folder, folder / "single")])
    return folder / "single"


def start(
    folder: Path,
    run: Path | None,
    *overrides: str,
    by: tuple[str, ...] = (sys.executable,),
    **variables: str,
) -> "subprocess.Popen[str]":
    """A run on one machine, or one machine's share of it."""
    words = [*by, *TRAIN, *TINY, f"data.stores={folder / 'stores'}"]
    if run is not None:
        words.append(f"hydra.run.dir={run}")
    return subprocess.Popen(
        [*words, *overrides],
        env={**child_environment(1), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def torchrun(*options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "torch.distributed.run", *options)


def machines(devices: int, port: int, address: str = "127.0.0.1") -> list[tuple[str, ...]]:
    """torchrun on each of two machines."""
    return [
        torchrun(
            "--nnodes=2", f"--node-rank={node}", f"--nproc-per-node={devices}",
            f"--master-addr={address}", f"--master-port={port}",
        )
        for node in range(2)
    ]  # fmt: skip


def finish_all(processes: list["subprocess.Popen[str]"]) -> None:
    for process in processes:
        output = process.communicate(timeout=240)[0]
        assert process.returncode == 0, output


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("", 0))
        return int(sock.getsockname()[1])


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def assert_equal(run: Path, single: Path) -> None:
    """Losses to 1e-5, counted errors exactly."""
    for mine, other in zip(read_metrics(run), read_metrics(single), strict=True):
        for column in ("step", "lr", "train/top1_error", "val/top1_error"):
            assert mine[column] == other[column], column
        for column in ("train/loss", "val/loss"):
            assert mine[column] == pytest.approx(other[column], abs=1e-5), column
    ours, theirs = read_result(run), read_result(single)
    assert ours is not None
    assert theirs is not None
    for name in ("val/top1_error", "test/top1_error"):
        assert ours["metrics"][name] == theirs["metrics"][name]


def test_torchrun_with_two_processes_equals_one(single: Path, tmp_path: Path) -> None:
    by = torchrun("--standalone", "--nproc-per-node=2")
    finish_all([start(single.parent, tmp_path, "strategy=ddp", "trainer.devices=2", by=by)])
    assert_equal(tmp_path, single)


@pytest.mark.long
def test_two_processes_as_srun_starts_them_equal_one(single: Path, tmp_path: Path) -> None:
    step = {
        **STEP, "SLURM_JOB_ID": str(free_port()), "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
    }  # fmt: skip
    given = (single.parent, tmp_path, "strategy=towers", "trainer.devices=2")
    ranks = [{"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in "01"]
    finish_all([start(*given, **(step | rank)) for rank in ranks])
    assert_equal(tmp_path, single)


FOUR = ("trainer.devices=2", "trainer.num_nodes=2")


@pytest.mark.long
@pytest.mark.timeout(400)
def test_torchrun_on_two_machines_equals_one_process(single: Path, tmp_path: Path) -> None:
    both = machines(2, free_port())
    finish_all([start(single.parent, tmp_path, "strategy=ddp", *FOUR, by=by) for by in both])
    assert_equal(tmp_path, single)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_rank_that_is_killed_ends_both_machines(single: Path, tmp_path: Path) -> None:
    port = free_port()
    both = [
        start(single.parent, tmp_path, *FOUR, *ENDLESS, "strategy=ddp", by=by)
        for by in machines(2, port)
    ]
    wait_for(lambda: len(read(tmp_path / "metrics.csv").splitlines()) > 2, 120)
    started = [pid for process in both for pid in below(process.pid)]
    assert len(started) >= 4
    os.kill(below(both[1].pid)[-1], signal.SIGKILL)
    killed = time.monotonic()
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode not in (0, None)
    assert time.monotonic() - killed < 60
    wait_for(lambda: not any(alive(pid) for pid in started), 10)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))


def below(pid: int) -> list[int]:
    """Processes below one, the children of each after it."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *below(child)]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def namespaces() -> Iterator[list[tuple[str, str]]]:
    """Two machines' networks, joined by a cable: name and address of each."""
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
        yield ends
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and ip"
)
def test_two_network_namespaces_equal_one_process(single: Path, tmp_path: Path) -> None:
    with namespaces() as ends:
        processes = [
            start(
                single.parent, tmp_path, "strategy=one_weird_trick", *FOUR,
                by=("ip", "netns", "exec", name, *by), GLOO_SOCKET_IFNAME="cable",
            )
            for (name, _), by in zip(ends, machines(2, 29500, ends[0][1]), strict=True)
        ]  # fmt: skip
        finish_all(processes)
    assert_equal(tmp_path, single)


def slurm_answers() -> bool:
    return (
        shutil.which("srun") is not None
        and subprocess.run(["sinfo"], capture_output=True).returncode == 0
    )


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.skipif(not slurm_answers(), reason="there is no SLURM")
def test_srun_on_two_nodes_equals_one_process(single: Path, tmp_path: Path) -> None:
    by = ("srun", "--nodes=2", "--ntasks-per-node=2", "--kill-on-bad-exit=1", sys.executable)
    finish_all([start(single.parent, tmp_path, "strategy=towers", *FOUR, by=by)])
    assert_equal(tmp_path, single)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ray_on_two_machines_equals_one_process(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster = Cluster(True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=2)
        process = start(
            single.parent, None, "hydra.mode=MULTIRUN", "strategy=ddp", *FOUR,
            f"hydra.sweep.dir={tmp_path}", "hydra.sweep.subdir=job", "hydra/launcher=ray",
            f"hydra.launcher.address={cluster.address}",
        )  # fmt: skip
        finish_all([process])
    finally:
        cluster.shutdown()
    assert_equal(tmp_path / "job", single)
