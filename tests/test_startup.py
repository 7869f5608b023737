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
        torch.optim.SGD(network.parameters(), lr=0.1).step()
        stand_in = torch._dynamo
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
        print("done")
        """
    )
    assert printed == "done\n"


@pytest.mark.parametrize(
    "statement",
    ["import torch._dynamo.config as c", "from torch._dynamo import config as c"],
)
def test_any_import_of_a_part_of_dynamo_finds_the_real_one(statement: str) -> None:
    printed = python(
        f"""
        from alexnet_exp import startup
        {statement}
        print(c.__name__, sys.modules["torch._dynamo"].__file__.endswith("__init__.py"))
        """
    )
    assert printed == "torch._dynamo.config True\n"


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
