"""A run is what its overrides say, or the user is told."""

from collections.abc import Callable, Iterator

import pytest

from alexnet_exp.config import compose, composing, conf_folder, to_config
from alexnet_exp.errors import UserError
from alexnet_exp.experiments import check_overrides

Check = Callable[..., list[str]]
EXPERIMENTS = sorted(file.stem for file in (conf_folder() / "experiment").glob("*.yaml"))


@pytest.fixture
def check() -> Iterator[Check]:
    with composing():
        yield lambda *overrides: check_overrides(to_config(compose(overrides)), list(overrides))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_changes_something(check: Check, experiment: str) -> None:
    assert check(f"+experiment={experiment}") == []
    assert check(f"+experiment={experiment}", "recipe=paper") == []


@pytest.mark.parametrize(
    "overrides",
    [
        ("+experiment=no_flips", "data=fashion_mnist", "model=d2l"),
        ("+experiment=no_tower_communication", "model=torchvision"),
        ("+experiment=no_tower_communication", "model=one_gpu"),
        ("+experiment=no_crops", "data=cifar10", "model=cifar_small"),
        ("+experiment=no_lrn", "model=torchvision"),
        ("+experiment=no_dropout", "model.dropout_after=[]"),
        ("+experiment=no_dropout", "model.dropout=0"),
    ],
)
def test_idle_experiments_are_refused(check: Check, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="changes nothing here"):
        check(*overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ("+experiment=no_crops", "data=cifar10", "model=cifar_small", "model.input_size=28"),
        ("+experiment=no_crops", "model.input_size=256", "augmentation.min_scale=0.5"),
        ("+experiment=tanh", "model=torchvision"),
    ],
)
def test_experiments_with_an_effect_are_not(check: Check, overrides: tuple[str, ...]) -> None:
    assert check(*overrides) == []


@pytest.mark.parametrize(
    ("overrides", "undone"),
    [
        (("+experiment=no_lrn", "model.normalization=lrn"), "model.normalization=none"),
        (("+experiment=no_augmentation", "augmentation.crops=true"), "augmentation.crops=False"),
        (("+experiment=original", "optim=paper"), "optim.name=original"),
        (("+experiment=one_gpu", "model=caffenet"), "model.name=one_gpu"),
    ],
)
def test_undone_experiments_are_refused(
    check: Check, overrides: tuple[str, ...], undone: str
) -> None:
    with pytest.raises(UserError, match=f"sets {undone}, and another override makes it"):
        check(*overrides)


def test_experiments_that_contradict_each_other_are_refused(check: Check) -> None:
    with pytest.raises(
        UserError, match=r"no_lrn sets model\.normalization=none and .*original sets"
    ):
        check("+experiment=[original,no_lrn]")
    with pytest.raises(UserError, match=r"no_conv2 sets model\.without=\['conv2'\] and"):
        check("+experiment=[no_conv2,no_conv3]")


def test_each_of_several_experiments_does_something(check: Check) -> None:
    assert check("+experiment=[no_lrn,no_dropout]") == []
    assert check("+experiment=[one_gpu,no_lrn,no_crops]") == []
    with pytest.raises(UserError, match="experiment=no_tower_communication changes nothing here"):
        check("+experiment=[no_tower_communication,one_gpu]")
    with pytest.raises(UserError, match="experiment=no_crops changes nothing here"):
        check("+experiment=[no_augmentation,no_crops]")


def test_names_of_presets_choose_nothing(check: Check) -> None:
    for override in ("optim.name=adam", "++model.name=caffenet", "augmentation.name=none"):
        name = override.lstrip("+").partition("=")[0]
        with pytest.raises(UserError, match=f"{name} is only a label"):
            check(override)
    assert check("model.name=mine") == []


def test_what_a_recipe_changes_in_a_chosen_option_is_said(check: Check) -> None:
    chosen = ("data=fashion_mnist", "model=d2l", "augmentation=crops_flips")
    (note,) = check(*chosen)
    assert note.startswith("note: recipe=fashion_mnist changes augmentation=crops_flips: ")
    assert "augmentation.crops=False, augmentation.flips=False" in note
    assert check(*chosen, "recipe=paper") == []
    (note,) = check("model=caffenet", "model.init.bias=0.5")
    assert "model.init.inner_std=0.03 (" in note, "a field of the user's own is not the recipe's"
