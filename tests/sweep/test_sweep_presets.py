"""What ships as +sweep=...: every job composes, every file says what it asks."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from alexnet_exp.config import conf_folder

FILES = sorted((conf_folder() / "sweep").glob("*.yaml"))
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def jobs(file: Path) -> list[tuple[str, ...]]:
    """A job for each experiment and data set; of numbers the first value alone."""
    made: list[tuple[str, ...]] = [(f"+sweep={file.stem}",)]
    for name, values in OmegaConf.load(file).hydra.sweeper.params.items():
        (override,) = OverridesParser.create().parse_overrides([f"{name}={values}"])
        each = list(override.sweep_string_iterator())
        each = each if name == "+experiment" else each[:1]
        made = [(*job, f"{name}={value}") for job in made for value in each]
    return made


@pytest.mark.parametrize(("file", "overrides"), [(f, job) for f in FILES for job in jobs(f)])
def test_every_job_composes(compose_config, file: Path, overrides: tuple[str, ...]) -> None:
    config = compose_config(*overrides)
    assert config.sweep.name == file.stem
    names = [item.partition("=")[2] for item in overrides if "experiment" in item] or ["baseline"]
    assert [config.experiment] == ["baseline" if name == "two_gpus" else name for name in names]


def test_ablations_hold_every_published_factor() -> None:
    params = OmegaConf.load(conf_folder() / "sweep" / "ablations.yaml").hydra.sweeper.params
    assert set(params["+experiment"].split(",")) == {
        "baseline", "no_lrn", "no_norm2", "non_overlapping_pooling", "one_gpu", "tanh",
        "no_tower_communication", "no_color_noise", "no_crops", "no_dropout",
        "no_conv2", "no_conv3", "no_conv4", "no_conv5",
    }  # fmt: skip


@each_file
def test_file_opens_with_its_question_command_cost_and_result(file: Path) -> None:
    lines = file.read_text().splitlines()
    header = [line for line in lines[: lines.index("sweep:")] if line.startswith("# ")][1:]
    text = "\n".join(header)
    assert "?" in text or "Figure" in text or "Section" in text
    assert f"-m +sweep={file.stem}" in text
    assert "# Cost: " in text
    assert "# Measured: " in text
