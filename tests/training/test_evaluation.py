"""Networks of many classes, and what an evaluation prints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_exp import Classifier
from alexnet_exp.console import console
from alexnet_exp.data.photos import labeled_photos
from alexnet_exp.data.sources.imagenet import wnids
from alexnet_exp.errors import UserError
from alexnet_exp.training.evaluation import Answers, Average, evaluate_photos
from alexnet_exp.training.evaluation_tables import show
from alexnet_exp.training.settle import make_trainer
from tests.data.drawn import picture
from tests.pictures.test_evaluated import made_up

NAMES = [f"class_{i:02d}" for i in range(14)]


@pytest.fixture
def many(compose_config: Any) -> Classifier:
    """Of 14 classes, and two outputs more, that no class has."""
    config = compose_config("model=cifar_small", "model.width=.2", "trainer.accelerator=cpu",
                            "trainer.precision=32-true", "data.image_size=32")  # fmt: skip
    config.model = replace(config.model, classes=16)
    torch.manual_seed(0)
    made = Classifier(config, NAMES, np.full((32, 32, 3), 120.0), np.eye(3))
    with torch.no_grad():
        for weights in made.network.parameters():
            weights.normal_(0, 0.1)
    return made.eval()


def test_classes_of_imagenet_are_called_by_their_names(compose_config: Any) -> None:
    config = compose_config("model=cifar_small", "model.width=.2", "data.image_size=32")
    classifier = Classifier(config, wnids(), np.zeros((32, 32, 3)), np.eye(3))
    assert classifier.class_names == [*wnids()], "which tells data from other data"
    assert classifier.output_names[0] == "tench"
    assert len({*classifier.output_names}) == 1000


def test_all_probabilities_of_many_classes_are_kept(many: Classifier, tmp_path: Path) -> None:
    files = []
    for label in (3, 11, 13):
        (tmp_path / NAMES[label]).mkdir()
        for number in range(2):
            files.append(tmp_path / NAMES[label] / f"{number}.png")
            Image.fromarray(picture(10 * label + number, (32, 40, 3))).save(files[-1])
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    found = evaluate_photos(make_trainer(many.config, **quiet), many, labeled_photos(tmp_path))
    with torch.no_grad():
        expected = many.probabilities(many.read(files)).numpy()
    assert found.probabilities.shape == (6, 16)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.labels.tolist() == [3, 3, 11, 11, 13, 13]
    assert found.names == list(map(str, files))
    assert np.array_equal(found.pixels(4)[:, :, 0], np.array(Image.open(files[4]))[:, 4:36, 0])
    assert many.output_names == [*NAMES, "14", "15"]


def answers(shares: list[list[float]], names: str, labels: tuple[int, ...] = (0, 1)) -> Answers:
    return Answers(np.array(shares, np.float32), np.array(labels), list(names), lambda place: None)  # type: ignore[arg-type,return-value]


def test_an_average_is_of_the_same_images() -> None:
    average = Average()
    average.add("a", {"test": answers([[0.9, 0.1], [0.6, 0.4]], "xy")}, {})
    average.add("b", {"test": answers([[0.2, 0.8], [0.1, 0.9]], "xy")}, {})
    found = average.outcomes()["test"]
    np.testing.assert_allclose(found.label_probability, [0.55, 0.65])
    assert [one.wrong["top1"].tolist() for _, _, one in average.members] == [
        [False, True], [True, False],
    ]  # fmt: skip
    for other in (answers([[0.5, 0.5]] * 2, "xz"), answers([[0.5, 0.5]] * 2, "xy", (1, 0))):
        with pytest.raises(UserError, match="a and c have other test images: networks are averag"):
            average.add("c", {"test": other}, {})


def test_an_average_has_learned_what_any_of_its_networks_has(many: Classifier) -> None:
    asked = answers([[0.9, 0.1], [0.6, 0.4]], "xy")
    for learned, expected in (
        (([True, False], [True, False]), 1),
        (([True, False], [False, True]), 2),
        (([True, False], None), 1),
        (([False, False], None), None),
        (([False, False], [False, False]), 0),
        ((None, None), None),
    ):
        average = Average()
        for name, own in zip("ab", learned, strict=True):
            known = None if own is None else np.array(own)
            average.add(name, {"photos": asked}, {}, known)
        assert average.evaluation(many).learned == expected


@pytest.mark.parametrize(
    ("learned", "said"), [(3, "3 of these 300 photos are images"), (None, "can't be told"), (0, "")]
)
def test_photos_that_it_has_learned_from_are_said(
    learned: int | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made_up(NAMES[:3])
    metrics = {name.replace("test", "photos"): value for name, value in found.metrics.items()}
    show(replace(found, metrics=metrics, images={"photos": 300}, learned=learned))
    printed = capsys.readouterr().out
    assert said in printed
    assert ("photos are images" in printed, "can't be told" in printed) == (
        learned == 3, learned is None
    )  # fmt: skip


def test_of_many_classes_the_worst_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "width", 120)
    found = made_up(NAMES, 1400, 3.0)
    show(found)
    printed = capsys.readouterr().out
    counts = found.outcomes.confusion(14)
    wrong = counts.sum(1) - counts.diagonal()
    lines = [line.split() for line in printed.splitlines() if line.startswith("class_")]
    worst = [line for line in lines if line[1] == "100"]
    order = np.argsort(-wrong, kind="stable")[:10]
    assert [line[0] for line in worst] == [NAMES[label] for label in order]
    for line in worst:
        row = counts[NAMES.index(line[0])].copy()
        row[NAMES.index(line[0])] = 0
        assert line[2] == f"{wrong[NAMES.index(line[0])]:.1f}"
        assert line[-2:] == [NAMES[int(row.argmax())], f"({row.max()})"]
    assert "confusion matrix" not in printed
    assert f"{100 * found.outcomes.calibration_error:.1f} % expected calibration" in printed
    show(made_up(NAMES[:3]))
    assert "confusion matrix" in capsys.readouterr().out
