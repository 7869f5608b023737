"""What a run does without stays out of its process, and is there for whoever asks later."""

import os
import signal
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
UNUSED = (
    "torchvision",
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
        from alexnet_exp.training import fit as train

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
        import gc, importlib.metadata, lightning

        assert gc.isenabled()
        assert not {"scipy", "matplotlib", "torchvision"} & set(sys.modules)
        import scipy.signal, matplotlib.pyplot, torchvision.transforms.v2
        from lightning_utilities.core.imports import package_available
        assert package_available("torchvision") and importlib.metadata.version("torchvision")
        assert torchvision.models.resnet18 and torchvision.transforms.v2.Resize
        print("done")
        """
    )
    assert printed == "done\n"


@pytest.mark.parametrize("module", ["train", "prepare"])
def test_ctrl_c_ends_a_command_quietly_at_any_moment_of_its_start(
    module: str, tmp_path: Path
) -> None:
    """At its first, and when torch is there and the rest is not."""
    hook = """
        import builtins, os, signal, sys
        real = builtins.__import__

        def watched(name, *rest, **named):
            if name == sys.argv[1]:
                builtins.__import__ = real
                os.kill(os.getpid(), signal.SIGINT)
            return real(name, *rest, **named)

        builtins.__import__ = watched
        import runpy
        runpy.run_module(sys.argv[2], run_name="__main__", alter_sys=True)
    """
    for moment in ("torch", "hydra"):
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(hook), moment, f"alexnet_exp.{module}"],
            capture_output=True, text=True, cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        assert run.returncode == -signal.SIGINT, (moment, run.stderr)
        assert "Traceback" not in run.stderr


def package(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir()
    for file, content in files.items():
        (folder / name / f"{file}.py").write_text(content)


def test_metrics_that_need_what_is_left_out_are_imported_as_usual(tmp_path: Path) -> None:
    package(
        tmp_path, "torchmetrics", __init__="from torchmetrics import part\nimport scipy", part=""
    )
    printed = python(
        """
        from alexnet_exp import startup
        import torchmetrics, scipy
        assert torchmetrics.part
        print(torchmetrics.__file__)
        """,
        path=tmp_path,
    )
    assert printed.strip() == str(tmp_path / "torchmetrics" / "__init__.py")
