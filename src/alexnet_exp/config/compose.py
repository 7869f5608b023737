"""How Hydra finds and composes the configuration, within a command or without one."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra import initialize_config_dir, version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from alexnet_exp.config.arguments import OPEN, check_arguments, fold_added
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.config.schema import Config
from alexnet_exp.errors import UserError


def conf_folder() -> Path:
    """The Hydra tree: inside the package when installed from a wheel, else beside ``src``."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def register() -> None:
    """Tell Hydra the schema that conf/config.yaml is merged into, and the option model=paper."""
    register_schema("alexnet_exp_schema", Config)
    ConfigStore.instance().store(group="model", name="paper", node=ModelConfig)
    OmegaConf.register_new_resolver("experiment_name", _experiment_name, replace=True)


def register_schema(name: str, schema: type[Config]) -> None:
    """Tell Hydra a schema under the name that a primary configuration's defaults have for it.

    A preset states all its convolutions: those of the schema would shine through.
    """
    node = OmegaConf.structured(
        schema(experiment="${experiment_name:}", model=ModelConfig(conv={}))
    )
    for group in OPEN:  # a file may add arguments of a library
        OmegaConf.set_struct(node[group], False)
    ConfigStore.instance().store(name=name, node=node)


def chosen_experiments(overrides: Sequence[str]) -> list[str]:
    """The options that ``+experiment=...`` names, sorted, each once."""
    values = [re.fullmatch(r"\+*experiment=\[?(.*?)]?", item) for item in overrides]
    return sorted({name.strip() for value in values if value for name in value[1].split(",")})


def _experiment_name(*unnamed: str, _root_: DictConfig) -> str:
    """What a run is recorded as, less the options that change nothing in the result."""
    node = OmegaConf.select(_root_, "hydra")
    if node is None and HydraConfig.initialized():
        node = HydraConfig.get()
    if node is None:
        return Config.experiment
    chosen = chosen_experiments(node.overrides.task)
    chosen = chosen or [str(node.runtime.choices.get("experiment") or Config.experiment)]
    named = [name for name in chosen if name not in (Config.experiment, *unnamed)]
    return "+".join(named) or Config.experiment


def as_hydra(arguments: Sequence[str]) -> list[str]:
    """Arguments of the command line as Hydra wants them.

    A parameter of a W&B sweep can't begin with a +, so that ``experiment=no_lrn`` stands for
    ``+experiment=no_lrn``; several experiments may be given by the name that they are recorded
    under: ``experiment=no_dropout+no_lrn`` is ``+experiment=[no_dropout,no_lrn]``. With a parameter
    for each, ``no_dropout=true no_lrn=false`` is ``+experiment=[no_dropout]``, with seeds of its
    own among the four combinations, as :func:`own_seed` has it.
    """
    given: list[str] = []
    switches: dict[str, bool] = {}
    place = 0
    for argument in arguments:
        switch = re.fullmatch(r"(\w+)=(true|false)", argument, re.IGNORECASE)
        if switch is None or not _is_experiment(switch[1], arguments):
            given.append(_as_hydra(argument))
            continue
        place = place if switches else len(given)
        switches[switch[1]] = switch[2].lower() == "true"
    if switches:
        other = re.search(r"^(-m|--multirun|\+*sweep=.*|\+*experiment=.*)$", "\n".join(given), re.M)
        if other:
            raise UserError(
                f"{next(iter(switches))}=... can't be had beside {other[0]}: name all experiments"
                " in one way, +experiment=[no_lrn,no_dropout]"
            )
        chosen = [name for name, is_on in switches.items() if is_on] or [Config.experiment]
        given.insert(place, f"+experiment=[{','.join(chosen)}]")
        _set_own_seed(given, place + 1, [switches[name] for name in sorted(switches)])
    return given


def _set_own_seed(given: list[str], place: int, switches: Sequence[bool]) -> None:
    """Make the seed, if it is one number, that of this combination of ``switches``."""
    seeds, folds, fold = (
        [item.partition("=")[2] for item in given if item.startswith(f"{name}=")]
        for name in ("seed", "data.folds", "data.fold")
    )
    if not all(map(str.isdecimal, [*seeds, *folds, *fold])):
        return
    seed = int(seeds[-1]) if seeds else Config.seed
    many = max(1, int(folds[-1])) if folds else 1
    parted = (seed, int(fold[-1])) if fold else divmod(seed, many)
    number = int("".join("01"[is_on] for is_on in switches), 2)
    own = f"seed={own_seed(*parted, many, number, 2 ** len(switches))}"
    if seeds:
        place = max(i for i, item in enumerate(given) if item.startswith("seed="))
        given[place] = own
    else:
        given.insert(place, own)


def own_seed(seed: int, fold: int, folds: int, number: int, combinations: int) -> int:
    """Seed of the ``number``-th of so many combinations in a design, where a fold owns every
    ``folds``-th.

    What a seed in common does to all networks without an idea would look like an effect of that
    idea.
    """
    return (seed * combinations + number) * folds + fold


def _is_experiment(name: str, arguments: Sequence[str]) -> bool:
    """Whether one of this name is shipped, or lies in the folder that ``--config-dir`` gives; the
    baseline is none.
    """
    own = re.findall(r"^(?:--config-dir|-cd)[=\n](.+)", "\n".join(arguments), re.MULTILINE)
    folders = (Path(folder, "experiment") for folder in (conf_folder(), *own))
    is_there = any((folder / f"{name}.yaml").is_file() for folder in folders)
    return is_there and name != Config.experiment


def _as_hydra(argument: str) -> str:
    parted = re.fullmatch(r"(\+*)(experiment|sweep)=(.*)", argument)
    if parted is None:
        return argument
    plus, group, value = parted.groups()
    if group == "experiment":
        value = re.sub(r"[\w./-]+(\+[\w./-]+)+", lambda names: f"[{names[0]}]", value)
        value = value.replace("+", ",")
    return f"{plus or '+'}{group}={value}"


@contextmanager
def composing() -> Iterator[None]:
    """Have Hydra read our tree meanwhile; an app of others' gets its own back."""
    outer, base = GlobalHydra.instance().hydra, version.getbase()
    GlobalHydra.instance().clear()
    try:
        register()
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer
        version.VersionBase.instance().version_base = base


def compose(overrides: Sequence[str], primary: str = "config") -> DictConfig:
    """What a command line composes, less ``hydra``; within a command or ``composing``."""
    composed = hydra.compose(primary, as_hydra(overrides), return_hydra_config=True)
    return _less_hydra(composed)


def to_config(composed: DictConfig) -> Config:
    """What Hydra composed, or what was read back, as checked dataclasses.

    Raises:
        UserError: A field that does not exist was added (+name=...), or a value is out of range;
            the message names the override.
    """
    folded = fold_added(_less_hydra(composed))
    try:
        config = OmegaConf.to_object(folded)
    except ValueError as error:
        raise UserError(str(error)) from error
    assert isinstance(config, Config)
    if not config.model.conv:
        raise UserError("there is no network: choose one with model=paper, model=original, ...")
    check_arguments(config)
    return config


def _less_hydra(composed: DictConfig) -> DictConfig:
    """A copy without Hydra's own node, which says how the experiment is named."""
    plain = composed.copy()
    if "hydra" in plain:
        plain.experiment = str(plain.experiment)
        with open_dict(plain):
            del plain["hydra"]
    return plain
