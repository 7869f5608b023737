"""Weights of others: our presets are the same networks and take them."""

import struct
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_exp.config import Config
from alexnet_exp.config.model import ModelConfig
from alexnet_exp.errors import UserError
from alexnet_exp.network.alexnet import AlexNet
from alexnet_exp.network.pretrained import digest, from_torchvision, load_weights, read_weights
from tests.conftest import ComposeConfig
from tests.network.conftest import ModelOf, images, on_meta

CLASSES = 10


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.alexnet(num_classes=CLASSES).eval()


def test_torchvision_preset_computes_what_torchvision_does(
    model_of: ModelOf, theirs: nn.Module
) -> None:
    config = model_of("model=torchvision", f"model.classes={CLASSES}")
    ours = empty(config).eval()
    assert from_torchvision(ours, theirs.state_dict()) is ours
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)
    image = images(config) / 60
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image), rtol=0, atol=1e-5)


def test_torchvisions_file_computes_on_pixels_what_torchvision_does(
    compose_config: ComposeConfig, theirs: nn.Module, tmp_path: Path
) -> None:
    narrow, file = deepcopy(theirs), tmp_path / "alexnet.pth"
    for place, shape in ((1, (9216, 64)), (4, (64, 48)), (6, (48, CLASSES))):
        narrow.classifier[place] = nn.Linear(*shape)
    # As torchvision's example saves it, whose layers may be spread over devices.
    state = {k.replace("features.", "features.module."): v for k, v in narrow.state_dict().items()}
    torch.save({"epoch": 90, "state_dict": state}, file)
    given = ("model=torchvision", "model.fc=[64,48]", f"model.weights={file}")
    config = settled(compose_config(*given))
    shape, generator = (2, 3, 224, 224), torch.Generator().manual_seed(0)
    pixels = torch.randint(256, shape, generator=generator).double()
    expects = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    center, std = (torch.tensor(v).double()[:, None, None] for v in (expects.mean, expects.std))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        ours = empty(config.model).eval().to(dtype)
        mean, lines = load(ours, config)
        kept = "fc8 is kept for 10 classes, taken to be those of data=synthetic in order"
        assert lines == [f"weights: from {file}", f"weights: {kept}"]
        with torch.inference_mode():
            expected = narrow.to(dtype)(((pixels / 255 - center) / std).to(dtype))
            scaled = (pixels - 255 * center) * config.augmentation.scale
            found = ours(scaled.to(dtype))
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert mean.shape == (256, 256, 3)
    theirs_first, ours_first = narrow.features[0].weight, ours.features.conv1.weight
    ratio = ours_first.norm() / theirs_first.norm()
    assert 0.97 < ratio < 1.03, "or its learning rate would be another"
    torch.testing.assert_close(mean[3, 5], 255 * center.flatten().float(), rtol=0, atol=1e-4)


def empty(config: ModelConfig) -> AlexNet:
    """The network before anything is drawn."""
    return on_meta(config).to_empty(device="cpu")


def settled(config: Config, classes: int = CLASSES) -> Config:
    """As data of so many classes has it."""
    config.model = replace(config.model, classes=classes, input_channels=3)
    return config


def load(network: AlexNet, config: Config) -> tuple[Tensor, list[str]]:
    names = [f"class {number}" for number in range(config.model.classes or 0)]
    return load_weights(network, read_weights(config.model), config, names)


# Caffe's format, written by hand: varints, floats, and fields with their length in front.
def varint(number: int) -> bytes:
    head, rest = number & 127, number >> 7
    return bytes([head | 128]) + varint(rest) if rest else bytes([head])


def part(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(numbers: Tensor, old: bool) -> bytes:
    if old:  # num, channels, height, width
        shape = [1] * (4 - numbers.ndim) + list(numbers.shape)
        described = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(shape, 1))
    else:
        described = part(7, part(1, b"".join(map(varint, numbers.shape))))
    data = struct.pack(f"<{numbers.numel()}f", *numbers.flatten().tolist())
    return described + part(5, data) + part(6, data[:8])  # and its gradient, which nobody reads


def caffemodel(layers: Iterable[tuple[str, list[Tensor]]], old: bool) -> bytes:
    name, blobs, layer = (4, 6, 2) if old else (1, 7, 100)
    return part(1, b"a net") + b"".join(
        part(layer, part(name, label.encode()) + part(3, b"top")
             + b"".join(part(blobs, blob(each, old)) for each in own))
        for label, own in layers
    )  # fmt: skip


NARROW = ("model.width=0.125", "model.fc=[256,256]", "model.input_size=99", "data.image_size=120")


def caffe_layers(preset: str) -> list[tuple[str, list[Tensor]]]:
    """Of a narrow net of Caffe's, in the order of its definition."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> list[Tensor]:
        size = 2 * torch.Size(shape[1:]).numel() ** -0.5
        return [size * torch.randn(shape, generator=generator),
                torch.rand(shape[0], generator=generator)]  # fmt: skip

    norm_first = ["norm{}", "pool{}"] if preset == "bvlc_alexnet" else ["pool{}", "norm{}"]
    weighted = {
        "conv1": drawn(12, 3, 11, 11), "conv2": drawn(32, 6, 5, 5), "conv3": drawn(48, 32, 3, 3),
        "conv4": drawn(48, 24, 3, 3), "conv5": drawn(32, 24, 3, 3),
        "fc6": drawn(32, 128), "fc7": drawn(32, 32), "fc8": drawn(CLASSES, 32),
    }  # fmt: skip
    after = {f"conv{i}": [(step.format(i), []) for step in norm_first] for i in (1, 2)}
    return [
        entry for name, own in weighted.items() for entry in [(name, own), *after.get(name, [])]
    ]


def caffes_net(layers: list[tuple[str, list[Tensor]]], x: Tensor) -> Tensor:
    """What Caffe computes of images (N, 3, S, S) in BGR less their mean; float64."""
    for name, own in layers:
        weight, bias = (each.double() for each in own) if own else (x, x)
        if name.startswith("conv"):
            stride, padding = (4, 0) if name == "conv1" else (1, weight.shape[-1] // 2)
            groups = 1 if name in ("conv1", "conv3") else 2
            x = F.conv2d(x, weight, bias, stride, padding, groups=groups).relu()
        elif name.startswith("norm"):  # over all maps, alpha by 5
            x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1)
        elif name.startswith("pool"):
            x = F.max_pool2d(x, 3, 2)
        else:
            x = F.max_pool2d(x, 3, 2).flatten(1) if name == "fc6" else x
            x = F.linear(x if name == "fc6" else x.relu(), weight, bias)
    return x


@pytest.mark.parametrize("preset", ["bvlc_alexnet", "caffenet"])
@pytest.mark.parametrize("old", [False, True])
def test_caffes_file_computes_what_caffe_does(
    compose_config: ComposeConfig, tmp_path: Path, preset: str, old: bool
) -> None:
    layers, file = caffe_layers(preset), tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel(layers, old))
    pixels = torch.randint(256, (2, 3, 120, 120), generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([104.0, 117.0, 123.0])[:, None, None].expand(3, 120, 120)
    given = [f"model={preset}", f"model.weights={file}", *NARROW]
    if old:
        mean = 200 * torch.rand(3, 120, 120, generator=torch.Generator().manual_seed(2))
        (tmp_path / "mean.binaryproto").write_bytes(blob(mean, old=True))
        given.append(f"model.weights_mean={tmp_path}/mean.binaryproto")
    config = settled(compose_config(*given))
    ours = AlexNet(config.model).eval().double()
    subtracted, (line, _) = load(ours, config)
    assert ("channel means" in line) != old
    view = slice(7, 106)
    with torch.inference_mode():
        rgb = pixels.flip(1).double() - subtracted.double().permute(2, 0, 1)
        expected = caffes_net(layers, (pixels.double() - mean)[..., view, view])
        found = ours(rgb[..., view, view])
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def caffes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("caffe") / "net.caffemodel"
    file.write_bytes(caffemodel(caffe_layers("caffenet"), old=False))
    return file


def test_only_an_output_layer_for_other_classes_starts_anew(
    compose_config: ComposeConfig, caffes: Path
) -> None:
    config = settled(compose_config("model=caffenet", f"model.weights={caffes}", *NARROW), 3)
    ours = AlexNet(config.model)
    fresh = {name: value.clone() for name, value in ours.state_dict().items()}
    _, lines = load(ours, config)
    assert lines[1] == "weights: fc8 starts anew: 10 classes there, 3 here"
    layers = dict(caffe_layers("caffenet"))
    for name, value in ours.state_dict().items():
        _, layer, kind = name.split(".")
        loaded = layers[layer][kind == "bias"]
        loaded = loaded.flip(1) if name == "features.conv1.weight" else loaded
        assert torch.equal(value, fresh[name] if layer == "fc8" else loaded), name


Spoil = Callable[[Path, Path], Path]


def cut(name: str) -> Spoil:
    def spoil(caffes: Path, folder: Path) -> Path:
        (folder / name).write_bytes(caffes.read_bytes()[:-1000])
        return folder / name

    return spoil


def page(name: str) -> Spoil:
    def spoil(caffes: Path, folder: Path) -> Path:
        (folder / name).write_text("<!DOCTYPE html><title>Not found</title>\n")
        return folder / name

    return spoil


def lacking(caffes: Path, folder: Path) -> Path:
    (folder / "part.caffemodel").write_bytes(caffemodel(caffe_layers("caffenet")[:-1], old=False))
    return folder / "part.caffemodel"


def state(**tensors: Tensor) -> Spoil:
    def spoil(caffes: Path, folder: Path) -> Path:
        torch.save(tensors, folder / "other.pth")
        return folder / "other.pth"

    return spoil


def state_of(classes: int = 1000) -> dict[str, Tensor]:
    with torch.device("meta"):
        return torchvision.models.alexnet(num_classes=classes).state_dict()


def last_bias(value: Tensor) -> Spoil:
    """Of torchvision's state dict, the rest of which is as it should be."""
    layers = dict.fromkeys(state_of(), torch.zeros(2))
    return state(**layers | {"classifier.6.bias": value})


def other_layer(name: str, *values: Tensor) -> Spoil:
    def spoil(caffes: Path, folder: Path) -> Path:
        layers = dict(caffe_layers("caffenet")) | {name: [*values, torch.zeros(12)]}
        (folder / "net.caffemodel").write_bytes(caffemodel(list(layers.items()), old=False))
        return folder / "net.caffemodel"

    return spoil


def whole(caffes: Path, folder: Path) -> Path:
    return caffes


@pytest.mark.parametrize(
    ("spoil", "overrides", "message"),
    [
        (cut("a.caffemodel"), [], r"a\.caffemodel is damaged or not a file of Caffe's"),
        (page("b.caffemodel"), [], r"b\.caffemodel is damaged or not a file of Caffe's"),
        (page("c.pth"), [], r"c\.pth is damaged or holds no weights"),
        (cut("d.pth"), [], r"d\.pth is damaged or holds no weights"),
        (lambda caffes, folder: folder / "e.pth", [], r"model\.weights=.*e\.pth does not exist"),
        (lacking, [], r"part\.caffemodel has no layer fc8 with weight and bias: it is not Caffe's"),
        (other_layer("conv1", torch.zeros(12)), [], r"net\.caffemodel is damaged or not a file of"),
        (other_layer("fc6", torch.zeros(2, 1, 3, 4)), [], r"net\.caffemodel is damaged or not a"),
        (other_layer("conv1", torch.full((12, 3, 11, 11), torch.nan)), [],
         "conv1.weight has values that are not finite"),
        (state(fc=torch.zeros(2)), [], r"other\.pth: features\.0\.weight is missing from"),
        (state(a=3), [], r"other\.pth is damaged or holds no weights"),
        (last_bias(torch.tensor(3.0)), [], r"other\.pth is damaged or holds no weights"),
        (last_bias(torch.ones(3).to_sparse()), [], r"other\.pth is damaged or holds no weights"),
        (last_bias(torch.ones(3, dtype=torch.int32)), [], r"other\.pth is damaged or holds no w"),
        (state(steps=torch.tensor(3)), [], r"other\.pth: features\.0\.weight is missing from"),
        (whole, ["model=bvlc_alexnet"], "computes otherwise.* model.order: use model=caffenet"),
        (whole, ["model=paper"], "computes otherwise.* model.order.*: use model=caffenet as it is"),
        (whole, ["model=caffenet", "model.activation=tanh"], "by model.activation: use model=caff"),
        (whole, ["model=caffenet", "model.dropout_scaling=test", "model.dropout=0"],
         "by model.dropout, model.dropout_scaling: use model=caffenet as it is"),
        (whole, ["model.width=0.25"],
         r"conv1\.weight is \(12, 3, 11, 11\) in the file and \(24, 3, 11, 11\) in model=caffenet:"
         " use model=caffenet"),
        (whole, ["model.without=[conv4]"], r"conv4\.weight is \(48, 24, 3, 3\) in the file"),
        (whole, ["augmentation.mean_image=false"], r"with augmentation\.mean_image=True: set it"),
        (whole, ["model.weights_mean=nowhere"], r"model\.weights_mean=nowhere does not exist"),
        (whole, ["model.weights_mean={}"], r"net\.caffemodel is damaged or not a file of Caffe's"),
        (whole, ["model.weights_mean={}.mean"], "is 8 x 8 pixels .* no data.image_size fits it"),
        (state(a=torch.zeros(2)), ["model.weights_mean={}"], "goes with a .caffemodel"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_named_with_the_way_out(
    compose_config: ComposeConfig, caffes: Path, tmp_path: Path, spoil: Spoil,
    overrides: list[str], message: str,
) -> None:  # fmt: skip
    Path(f"{caffes}.mean").write_bytes(blob(torch.zeros(3, 8, 8), old=True))
    file = spoil(caffes, tmp_path)
    given = [override.format(caffes) for override in overrides]
    given = given if given and given[0].startswith("model=") else ["model=caffenet", *given]
    config = settled(compose_config(*NARROW, f"model.weights={file}", *given))
    with pytest.raises(UserError, match=message):
        load(on_meta(config.model), config)


def test_digest_is_of_the_content(compose_config: ComposeConfig, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.pth", "b.pth", "c.pth")]
    for file, content in zip(files, (b"one", b"one", b"two"), strict=True):
        file.write_bytes(content)
    models = [compose_config(f"model.weights={file}").model for file in files]
    one, same, two = (digest(model, {}) for model in models)
    assert one == same != two
    assert digest(compose_config().model, {}) is None
    recorded = {"weights": str(files[0]), "weights_digest": one}
    files[0].unlink()
    assert digest(models[0], recorded) == one, "only the start of a run reads the file"
    with pytest.raises(UserError, match=r"model\.weights=.*a\.pth does not exist"):
        digest(models[0], recorded | {"weights": "b.pth"})


def test_torchvision_preset_has_the_modules_of_torchvision(model_of: ModelOf) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.alexnet()
    ours = on_meta(model_of("model=torchvision"))
    assert [repr(module) for module in (*ours.features, *ours.classifier)] == [
        repr(module) for module in (*theirs.features, theirs.avgpool, *theirs.classifier)
    ]


LACKING = state_of()
del LACKING["features.0.bias"]


@pytest.mark.parametrize(
    ("preset", "state", "message"),
    [
        ("paper", state_of(), "use model=torchvision"),
        ("cifar_small", state_of(), "use model=torchvision"),
        ("torchvision", state_of(10), r"model\.classes=10$"),
        ("torchvision", LACKING, r"features\.0\.bias is missing"),
        *(("torchvision", state_of() | {key: torch.zeros(1)}, f"{key} is not")
          for key in ("a.layer1.0.conv1.weight", "module.features.0.weight", "fc.bias")),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(
    model_of: ModelOf, preset: str, state: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_torchvision(on_meta(model_of(f"model={preset}")), state)
