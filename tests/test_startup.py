"""What a run does without stays out of its process, and is there for whoever asks later."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TINY = (
    "model=cifar_small",
    "data=synthetic",
    "recipe=cifar10",
    "data.image_size=32",
    "data.synthetic_images=60",
    "data.batch_size=8",
    "trainer.max_epochs=1",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "trainer.progress=false",
)
# In place of torch._dynamo, which may be a stand-in, one of its modules.
UNUSED = (
    "torch._dynamo.config",
    "torch._inductor",
    "torchvision",
    "sympy",
    "scipy",
    "matplotlib",
    "wandb",
    "tensorboard",
    "torchcodec",
)


def python(code: str, *arguments: str, path: Path | None = None) -> str:
    """What a new interpreter prints."""
    places = [str(ROOT / "src")] if path is None else [str(path), str(ROOT / "src")]
    preamble = f"import sys; sys.path[:0] = {places!r}\n"
    run = subprocess.run(
        [sys.executable, "-c", preamble + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed data set: the first job of a sweep packs, the others find it."""
    folder = tmp_path_factory.mktemp("startup")
    python(
        "from alexnet_exp import prepare; prepare.main()",
        *TINY,
        f"data.stores={folder / 'stores'}",
        f"hydra.run.dir={folder / 'prepare'}",
    )
    return folder / "stores"


def test_a_whole_run_imports_nothing_that_it_does_not_use(stores: Path, tmp_path: Path) -> None:
    printed = python(
        f"""
        from alexnet_exp import train

        def imported():
            return [name for name in {UNUSED} if name in sys.modules]

        print("after imports:", *imported())
        train.main()
        print("after a run:", *imported())
        """,
        *TINY,
        f"data.stores={stores}",
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    assert [line for line in printed.splitlines() if line.startswith("after ")] == [
        "after imports:",
        "after a run:",
    ]
    assert (tmp_path / "run" / "result.json").exists()


def test_what_was_left_out_can_be_imported_and_used_afterwards() -> None:
    printed = python(
        """
        from alexnet_exp import startup
        import gc, importlib.metadata, lightning, torch
        from torch import nn

        network = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        optimizer.step()
        optimizer.zero_grad()
        stand_in = torch._dynamo
        compiling = []

        @torch._dynamo.disable
        def not_compiled(images):
            compiling.append(torch.compiler.is_compiling())
            return images

        assert not_compiled(1) == 1
        from lightning.pytorch.utilities.compile import OptimizedModule
        assert not isinstance(network, OptimizedModule)
        assert "torch._dynamo.config" not in sys.modules

        import scipy.signal, matplotlib.pyplot, torchvision.transforms.v2
        from lightning_utilities.core.imports import package_available
        assert package_available("torchvision") and importlib.metadata.version("torchvision")
        assert torchvision.models.resnet18 and torchvision.transforms.v2.Resize

        compiled = torch.compile(network, backend="eager")
        images = torch.randn(3, 2)
        assert torch.equal(compiled(images), network(images))
        assert isinstance(compiled, OptimizedModule) and not isinstance(network, OptimizedModule)
        assert torch._dynamo is not stand_in and stand_in.config is torch._dynamo.config
        torch.optim.SGD(network.parameters(), lr=0.1).step()
        assert gc.isenabled()

        # Functions kept from being compiled before anything could be stay so.
        forward = torch.compile(lambda images: not_compiled(images + 1) * 2, backend="eager")
        assert forward(torch.ones(1)) == 4 and compiling == [False, False]
        optimizer.zero_grad()
        zero_grad = torch.optim.Optimizer.zero_grad.__wrapped__
        assert getattr(zero_grad, "__dynamo_disable") is not zero_grad

        # A setting of a part of it has its effect.
        import torch._dynamo.config
        torch._dynamo.config.disable = True
        graphs = []
        torch.compile(torch.abs, backend=lambda graph, _: graphs.append(graph) or graph)(images)
        assert graphs == []
        print("done")
        """
    )
    assert printed == "done\n"


def test_any_first_use_of_dynamo_finds_the_one_that_dynamo_itself_uses() -> None:
    printed = python(
        """
        from alexnet_exp import startup
        import copy, importlib, importlib.util, os, pickle, threading, traceback
        import torch

        stand_in = torch._dynamo

        def import_part():
            import torch._dynamo.config as c
            return c

        def import_part_from():
            from torch._dynamo import config as c
            return c

        def import_part_of_part():
            from torch._dynamo.variables import builder
            return builder.config

        def import_by_name():
            importlib.import_module("torch._dynamo.utils")
            return importlib.import_module("torch._dynamo.config")

        def ask_in_threads():
            start, found = threading.Barrier(8), []

            def ask():
                start.wait()
                found.append(stand_in.config)

            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert len(found) == 8 and len(set(map(id, found))) == 1
            return found[0]

        def check(first_use):
            c = first_use()
            import torch._dynamo.utils as u

            dynamo = torch._dynamo
            assert sys.modules["torch._dynamo"] is dynamo and type(dynamo) is type(sys)
            assert dynamo.config is c is sys.modules["torch._dynamo.config"]
            assert dynamo.eval_frame.config is c and dynamo.convert_frame.counters is u.counters
            for part in (c, u):
                assert part.__spec__.origin == part.__file__
                assert part.__spec__.loader is part.__loader__
            assert pickle.loads(pickle.dumps(u.istype)) is copy.deepcopy(u.istype) is u.istype
            assert stand_in.disable is dynamo.disable

        # Asking where a part is needs nothing of it.
        assert importlib.util.find_spec("torch._dynamo.config").origin.endswith("config.py")
        assert importlib.util.find_spec("torch._dynamo.no_such_part") is None
        assert sys.modules["torch._dynamo"] is stand_in
        assert "torch._dynamo.config" not in sys.modules

        children = {}
        for use in (
            import_part, import_part_from, import_part_of_part, import_by_name, ask_in_threads
        ):
            child = os.fork()
            if child == 0:
                try:
                    check(use)
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            children[use.__name__] = child
        print([name for name, child in children.items() if os.waitpid(child, 0)[1] != 0])
        """
    )
    assert printed == "[]\n"


def package(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir()
    for file, content in files.items():
        (folder / name / f"{file}.py").write_text(content)


def test_packages_that_need_what_is_left_out_are_imported_as_usual(tmp_path: Path) -> None:
    package(
        tmp_path, "torchmetrics", __init__="from torchmetrics import part\nimport scipy", part=""
    )
    package(tmp_path, "lightning", __init__="import torch._dynamo.config")
    printed = python(
        """
        from alexnet_exp import startup
        import torchmetrics, lightning, scipy, torch
        assert torchmetrics.part and torch._dynamo.config
        print(torchmetrics.__file__, lightning.__file__)
        """,
        path=tmp_path,
    )
    assert printed.split() == [
        str(tmp_path / name / "__init__.py") for name in ("torchmetrics", "lightning")
    ]
