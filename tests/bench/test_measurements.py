"""The measurements one by one; no test asserts a time."""

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from lightning import seed_everything
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from alexnet_exp.bench import clock, kernels
from alexnet_exp.bench.clock import Course, Window, ratio
from alexnet_exp.bench.limits import images_per_second
from alexnet_exp.bench.plain import image_folder, jpeg_folder, plain_network
from alexnet_exp.bench.subject import Subject, instead_of_training, step
from alexnet_exp.bench.throughput import case_record, headline
from alexnet_exp.config.bench import StoreKind
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.lrn import LocalResponseNorm
from alexnet_exp.network.plan import plan
from alexnet_exp.training.classifier import Classifier
from alexnet_exp.training.settle import make_trainer
from tests.conftest import ComposeConfig


@pytest.mark.parametrize(
    ("seconds", "warm_up", "ticks", "steps", "speed"),
    [
        # Two steps and a fifth of the window: the clock starts 3 s after the first tick.
        (10, 2, [(100, 1), (100, 2), (100, 4), (8, 9), (8, 13), (4, 14)], 3, 20 / 10),
        # Slow steps warm up for two of them alone.
        (2, 4, [(100, 6), (100, 12), (12, 18)], 1, 12 / 6),
    ],
)
def test_window_counts_steps_after_the_warm_up(
    seconds: float, warm_up: int, ticks: list[tuple[int, float]], steps: int, speed: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    window = Window(seconds, torch.device("cpu"), warm_up)
    for images, now in ticks:
        with pytest.raises(RuntimeError, match="ended before"):
            _ = window.images_per_second
        monkeypatch.setattr(clock.time, "perf_counter", lambda now=now: now)
        assert window.tick(images) is ((images, now) == ticks[-1])
    assert window.steps == steps
    assert window.images_per_second == pytest.approx(speed)


def test_measurements_take_turns_as_long_as_their_share_of_time_lasts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    order: list[str] = []

    def measure(name: str, taken: float) -> float:
        nonlocal now
        now += taken
        order.append(name)
        return now

    course = Course(seconds=50, earlier=4)
    turns = {"a": lambda: measure("a", 5.0), "b": lambda: measure("b", 1.0)}
    course.to_come = 2.5  # of 46 s that is 18.4 s, and all three rounds take 18 s
    assert course.take_turns(3, turns) == [[5, 11, 17], [6, 12, 18]]
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == [
        "a, round 1 of 3 (4 s of 50 s)", "b, round 1 of 3 (9 s of 50 s)",
        "a, round 2 of 3 (10 s of 50 s)",
    ]  # fmt: skip
    # 28 s for 1.5 sets that come: 18.7 s
    assert course.take_turns(4, turns) == [[23, 29, 35], [24, 30, 36]]
    assert capsys.readouterr().err.endswith(
        "3 of 4 rounds fit: for all of them raise bench.minutes\n"
    )
    course.to_come = 100.0
    assert course.take_turns(3, turns) == [[41], [42]], "one round at least"
    assert course.take("c", lambda: "found") == "found"
    assert order == list("ab" * 7)


def test_ratios_are_medians_of_those_within_a_round() -> None:
    values = {"model": [100.0, 10.0, 50.0], "input": [1000.0, 1000.0, 1000.0],
              "end_to_end": [90.0, 9.5, 40.0], "plain": [30.0, 1.0, 20.0]}  # fmt: skip
    case = case_record(128, "mapped", values)
    assert case["end_to_end"] == {"median": 40.0, "min": 9.5, "max": 90.0, "rounds": [90, 9.5, 40]}
    assert case["end_to_end_over_plain"] == pytest.approx(median([3.0, 9.5, 2.0]))
    assert case["end_to_end_over_model"] == pytest.approx(median([0.9, 0.95, 0.8]))
    assert case["input_over_model"] == pytest.approx(20.0)
    assert case["end_to_end_over_plain"] != median(values["end_to_end"]) / median(values["plain"])
    assert ratio([1, 4], [2, 2]) == pytest.approx(1.25)
    top = headline(case)
    assert top["plain_images_per_second"] == 20.0
    assert top["end_to_end_over_model"] == case["end_to_end_over_model"]


@pytest.mark.parametrize("preset", ["paper", "original", "caffenet", "torchvision"])
def test_the_plain_network_computes_the_same(compose_config: ComposeConfig, preset: str) -> None:
    model = compose_config(
        f"model={preset}", "model.width=0.125", "model.fc=[64,64]", "model.classes=10",
        "model.input_channels=3", "model.dropout=0",
    ).model  # fmt: skip
    torch.manual_seed(0)
    ours, plain = AlexNet(model), plain_network(model)
    for name, parameter in ours.named_parameters():
        if name.endswith("weight"):  # so that the response norms matter and no logit is all bias
            nn.init.kaiming_normal_(parameter)
    plain.load_state_dict(ours.state_dict())
    assert not any(isinstance(module, LocalResponseNorm) for module in plain.modules())
    norms = sum(isinstance(module, nn.LocalResponseNorm) for module in plain.modules())
    assert norms == sum(isinstance(module, LocalResponseNorm) for module in ours.modules())
    images = 50 * torch.randn(2, 3, model.input_size, model.input_size)
    with torch.no_grad():
        expected, found = ours(images), plain(images)
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_images_are_written_as_jpeg_once(tiny: ComposeConfig, tmp_path: Path) -> None:
    subject = Subject(tiny(), 8, StoreKind.mapped)
    config, store = subject.config, subject.once
    folder = jpeg_folder(store, str(tmp_path), progress=False)
    files = sorted(folder.rglob("*.jpg"))
    assert {int(file.stem) for file in files} == set(store.indices("train").tolist())
    for file in files[::7]:
        index = int(file.stem)
        assert int(file.parent.name) == store.labels[index]
        with Image.open(file) as image:
            assert image.format == "JPEG"
            differences = np.asarray(image).astype(int) - store.images[:].astype(int)
            errors = abs(differences).mean((1, 2, 3))
            assert errors.argmin() == index
            assert errors[index] < 8  # color is stored at half of the resolution
    stamp = files[0].stat().st_mtime_ns
    assert jpeg_folder(store, str(tmp_path), progress=False) == folder
    assert files[0].stat().st_mtime_ns == stamp
    images = image_folder(folder, config)
    assert (len(images), len(images.classes)) == (len(files), len(store.classes))
    pixels, label = images[0]
    assert (pixels.shape, pixels.dtype, label) == ((3, 64, 64), torch.float32, 0)
    # The endless store has each of them as often as any other.
    counts = np.bincount(subject.store.indices("train"), minlength=len(store.labels))
    assert set(np.flatnonzero(counts)) == set(store.indices("train"))
    assert len({*counts[store.indices("train")]}) == 1
    assert counts.sum() >= 1_000_000


def test_steps_of_the_model_are_those_of_training(tiny: ComposeConfig) -> None:
    """The same weights to the bit after three steps, by Lightning and by the benchmark."""
    config = tiny("model.dropout=0", "optim.warmup_steps=0", "optim.clip_norm=0.5")
    subject = Subject(config, 8, StoreKind.mapped)
    subject.config.optim.lr = 0.01
    batches = subject.batches + subject.batches[:1]
    assert [part.shape for part in batches[0]] == [(8, 3, 64, 64), (8,)]
    found: list[dict[str, torch.Tensor]] = []
    for by_hand in (False, True):
        seed_everything(0, verbose=False)
        subject.forget()
        classifier = subject.classifier
        start = {name: p.clone() for name, p in classifier.named_parameters()}
        if by_hand:

            def run(trainer: Any, module: Classifier) -> None:
                for number, batch in enumerate(batches):
                    step(trainer, module, batch, number)

            instead_of_training(subject, run, batches)
        else:
            trainer = make_trainer(
                subject.config, max_epochs=1, logger=False, enable_checkpointing=False,
                enable_progress_bar=False, limit_val_batches=0, gradient_clip_val=0.5,
            )  # fmt: skip
            trainer.fit(classifier, DataLoader(batches, batch_size=None))
        found.append(dict(classifier.named_parameters()))
        assert any(not torch.equal(p, start[name]) for name, p in found[-1].items())
    for name, parameter in found[0].items():
        assert torch.equal(parameter, found[1][name]), name


@pytest.mark.parametrize(("precision", "factor"), [("bf16-mixed", 1), ("32-true", 2)])
def test_the_ceiling_is_arithmetic_and_memory_in_turn(precision: str, factor: int) -> None:
    layers = plan(ModelConfig(classes=1000, input_channels=3))
    flops, bandwidth = 1e12, 5e10
    seconds = 128 * (4.136e9 / flops + 9.4e6 * factor / bandwidth) + 1.83e9 / bandwidth
    found = images_per_second(layers, 128, precision, flops, bandwidth)
    assert found == pytest.approx(128 / seconds, rel=0.005)


def test_kernels_count_each_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "STORED_IMAGES", 1)
    found = {name: size for name, size, _ in kernels.cases(2, torch.device("cpu"))}
    norm1, norm2 = 2 * 290_400 * 2, 2 * 186_624 * 2  # images, activations, bytes of bf16
    assert found == {
        "norm1 forward": 2 * norm1,
        "norm1 backward": 3 * norm1,
        "norm2 forward": 2 * norm2,
        "norm2 backward": 3 * norm2,
        "crop": 2 * 224 * 224 * 3 * (1 + 2),
    }
