"""Every preset's network in plain torch, written from its source and not from ours.

Each function takes ``w``, weights by name (``conv1.weight``, ``fc8.bias``, in torch's shapes),
images ``x`` of shape (images, channels, size, size), the share ``p`` that dropout masks and whether
the network is ``training``; it gives logits (images, classes). Masks are drawn from torch's
generator, layer by layer.

Sources: the paper (NIPS 2012); ``layers/layers-145.cfg`` and its ``layer-params`` in the authors'
released code, with cuda-convnet's ``layer.py`` for what a field means; ``example-layers/*.cfg`` of
cuda-convnet for CIFAR-10; ``models/*/train_val.prototxt`` of Caffe; torchvision's ``alexnet.py``;
Dive into Deep Learning, section 8.1; the lecture and TensorFlow code of ``Test2_alexnet`` in
WZMIAOMIAO/deep-learning-for-image-processing.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Network = Callable[[Weights, Tensor, float, bool], Tensor]


def conv(
    w: Weights,
    name: str,
    x: Tensor,
    stride: int = 1,
    pad: int = 0,
    towers: int = 1,
    ceil: bool = False,
) -> Tensor:
    """Each tower's part of the kernels on its part of the maps; ``ceil`` pads right and bottom."""
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    kernel, rest = weight.shape[-1], 0
    if ceil:
        rest = -(x.shape[-1] + 2 * pad - kernel) % stride
    x = F.pad(x, (pad, pad + rest, pad, pad + rest))
    ins, outs = x.shape[1] // towers, weight.shape[0] // towers
    parts = []
    for tower in range(towers):
        seen = x[:, tower * ins : (tower + 1) * ins]
        own = slice(tower * outs, (tower + 1) * outs)
        parts.append(F.conv2d(seen, weight[own], bias[own], stride))
    return torch.cat(parts, 1)


def local(w: Weights, name: str, x: Tensor, pad: int) -> Tensor:
    """A kernel and biases of its own at every position; weights (maps, inputs, positions)."""
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    side = x.shape[-1]
    kernel = 2 * pad + 1
    bias = bias.view(weight.shape[0], side * side)
    x = F.pad(x, (pad, pad, pad, pad))
    columns = []
    for row in range(side):
        for column in range(side):
            at = row * side + column
            seen = x[:, :, row : row + kernel, column : column + kernel].flatten(1)
            columns.append(seen @ weight[:, :, at].T + bias[:, at])
    return torch.stack(columns, 2).view(len(x), -1, side, side)


def across_maps(x: Tensor, k: float, alpha: float, towers: int, size: int = 5) -> Tensor:
    """Section 3.3: a / (k + alpha * sum over ``size`` adjacent maps of a tower of a^2)^.75."""
    normalized = []
    for tower in x.chunk(towers, 1):
        maps = tower.shape[1]
        for i in range(maps):
            first, last = max(0, i - size // 2), min(maps - 1, i + size // 2)
            squares = sum(tower[:, j] ** 2 for j in range(first, last + 1))
            normalized.append(tower[:, i] / (k + alpha * squares) ** 0.75)
    return torch.stack(normalized, 1)


def within_map(x: Tensor, scale: float, size: int) -> Tensor:
    """cuda-convnet's rnorm: a / (1 + scale / size^2 * sum over a window of a^2)^.75."""
    reach, side = size // 2, x.shape[-1]
    squares = F.pad(x, (reach, reach, reach, reach)) ** 2
    total = torch.zeros_like(x)
    for row in range(size):
        for column in range(size):
            total = total + squares[:, :, row : row + side, column : column + side]
    return x / (1 + scale / size**2 * total) ** 0.75


def _over_the_border(x: Tensor, value: float) -> Tensor:
    """``x`` with ``value`` right and below, so that windows of 3, 2 apart, drop no pixel."""
    rest = (x.shape[-1] - 3) % 2
    return F.pad(x, (0, rest, 0, rest), value=value)


def max_pool(x: Tensor, ceil: bool = True) -> Tensor:
    """3 x 3 windows, 2 apart; cuda-convnet's and Caffe's last window may reach over the border."""
    return F.max_pool2d(_over_the_border(x, -torch.inf) if ceil else x, 3, 2)


def avg_pool(x: Tensor) -> Tensor:
    """3 x 3 windows, 2 apart, clipped at the border: the mean of the pixels that there are."""
    total = F.avg_pool2d(_over_the_border(x, 0.0), 3, 2, divisor_override=1)
    pixels = F.avg_pool2d(_over_the_border(torch.ones_like(x), 0.0), 3, 2, divisor_override=1)
    return total / pixels


def adaptive_pool(x: Tensor, size: int) -> Tensor:
    """torch's adaptive mean: window i reaches from floor(i n / size) to ceil((i + 1) n / size)."""
    side = x.shape[-1]
    bounds = [(i * side // size, -(-(i + 1) * side // size)) for i in range(size)]
    rows = [x[:, :, first:last].mean(2) for first, last in bounds]
    columns = [torch.stack(rows, 2)[..., first:last].mean(3) for first, last in bounds]
    return torch.stack(columns, 3)


def fc(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def masked_test(x: Tensor, p: float, training: bool) -> Tensor:
    """The authors' dropout (section 4.2): masks in training, times the share kept at test."""
    if not p:
        return x
    return x * torch.empty_like(x).bernoulli_(1 - p) if training else x * (1 - p)


def masked_train(x: Tensor, p: float, training: bool) -> Tensor:
    """Caffe's and torch's dropout: what is kept in training is divided by the share kept."""
    return x * torch.empty_like(x).bernoulli_(1 - p) / (1 - p) if training else x


relu = torch.relu


def paper(w: Weights, x: Tensor, p: float, training: bool, towers: int = 2) -> Tensor:
    """Sections 3.1 to 3.5 and 4.2; alpha is not divided by n. No window reaches over a border."""
    x = relu(conv(w, "conv1", x, stride=4, ceil=True))
    x = max_pool(across_maps(x, 2.0, 1e-4, towers), ceil=False)
    x = relu(conv(w, "conv2", x, pad=2, towers=towers))
    x = max_pool(across_maps(x, 2.0, 1e-4, towers), ceil=False)
    x = relu(conv(w, "conv3", x, pad=1))
    x = relu(conv(w, "conv4", x, pad=1, towers=towers))
    x = max_pool(relu(conv(w, "conv5", x, pad=1, towers=towers)), ceil=False).flatten(1)
    x = masked_test(relu(fc(w, "fc6", x)), p, training)
    x = masked_test(relu(fc(w, "fc7", x)), p, training)
    return fc(w, "fc8", x)


def one_gpu(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """Section 3.2: one tower."""
    return paper(w, x, p, training, towers=1)


def original(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """layers-145.cfg: scale is divided by size, or by its square within a map."""
    x = across_maps(conv(w, "conv1", x, stride=4, ceil=True), 2.0, 1e-4 / 5, 2)
    x = relu(max_pool(x))
    x = relu(conv(w, "conv2", x, pad=2, towers=2))
    x = max_pool(within_map(across_maps(x, 2.0, 1e-4 / 5, 2), 1e-3, 5))
    x = relu(conv(w, "conv3", x, pad=1))
    x = relu(conv(w, "conv4", x, pad=1, towers=2))
    x = relu(max_pool(conv(w, "conv5", x, pad=1, towers=2))).flatten(1)
    x = masked_test(relu(fc(w, "fc6", x)), p, training)
    x = masked_test(relu(fc(w, "fc7", x)), p, training)
    return fc(w, "fc8", x)


def caffe_norm(x: Tensor) -> Tensor:
    """Caffe's LRN: k = 1, alpha divided by local_size, over all maps, whatever their group."""
    return across_maps(x, 1.0, 1e-4 / 5, towers=1)


def caffenet(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """bvlc_reference_caffenet: pooling before LRN; Caffe's convolutions round down."""
    return caffe_upper(
        w, caffe_norm(max_pool(relu(conv(w, "conv1", x, stride=4)))), p, training, True
    )


def bvlc_alexnet(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """bvlc_alexnet: LRN before pooling."""
    return caffe_upper(
        w, max_pool(caffe_norm(relu(conv(w, "conv1", x, stride=4)))), p, training, False
    )


def caffe_upper(w: Weights, x: Tensor, p: float, training: bool, pool_first: bool) -> Tensor:
    x = relu(conv(w, "conv2", x, pad=2, towers=2))
    x = caffe_norm(max_pool(x)) if pool_first else max_pool(caffe_norm(x))
    x = relu(conv(w, "conv3", x, pad=1))
    x = relu(conv(w, "conv4", x, pad=1, towers=2))
    x = max_pool(relu(conv(w, "conv5", x, pad=1, towers=2))).flatten(1)
    x = masked_train(relu(fc(w, "fc6", x)), p, training)
    x = masked_train(relu(fc(w, "fc7", x)), p, training)
    return fc(w, "fc8", x)


def torchvision(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """torchvision.models.alexnet: dropout before fc6 and fc7."""
    x = max_pool(relu(conv(w, "conv1", x, stride=4, pad=2)), ceil=False)
    x = max_pool(relu(conv(w, "conv2", x, pad=2)), ceil=False)
    x = relu(conv(w, "conv3", x, pad=1))
    x = relu(conv(w, "conv4", x, pad=1))
    x = max_pool(relu(conv(w, "conv5", x, pad=1)), ceil=False)
    x = masked_train(adaptive_pool(x, 6).flatten(1), p, training)
    x = masked_train(relu(fc(w, "fc6", x)), p, training)
    return fc(w, "fc8", relu(fc(w, "fc7", x)))


def d2l(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """Dive into Deep Learning, section 8.1: dropout after fc6 and fc7."""
    x = max_pool(relu(conv(w, "conv1", x, stride=4, pad=1)), ceil=False)
    x = max_pool(relu(conv(w, "conv2", x, pad=2)), ceil=False)
    x = relu(conv(w, "conv3", x, pad=1))
    x = relu(conv(w, "conv4", x, pad=1))
    x = max_pool(relu(conv(w, "conv5", x, pad=1)), ceil=False).flatten(1)
    x = masked_train(relu(fc(w, "fc6", x)), p, training)
    x = masked_train(relu(fc(w, "fc7", x)), p, training)
    return fc(w, "fc8", x)


def flowers_notebook(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """Notebooks on five flowers: ZeroPadding2D(((1, 2), (1, 2))), as for any multiple of 4."""
    x = max_pool(relu(conv(w, "conv1", F.pad(x, (1, 2, 1, 2)), stride=4)), ceil=False)
    x = max_pool(relu(conv(w, "conv2", x, pad=2)), ceil=False)
    x = relu(conv(w, "conv3", x, pad=1))
    x = relu(conv(w, "conv4", x, pad=1))
    x = max_pool(relu(conv(w, "conv5", x, pad=1)), ceil=False).flatten(1)
    x = masked_train(relu(fc(w, "fc6", x)), p, training)
    x = masked_train(relu(fc(w, "fc7", x)), p, training)
    return fc(w, "fc8", x)


def cifar_small(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """layers-18pct.cfg, which has no dropout; where a choice of ours adds it, before fc10."""
    x = within_map(relu(max_pool(conv(w, "conv1", x, pad=2))), 5e-5, 3)
    x = within_map(avg_pool(relu(conv(w, "conv2", x, pad=2))), 5e-5, 3)
    x = avg_pool(relu(conv(w, "conv3", x, pad=2))).flatten(1)
    return fc(w, "fc4", masked_test(x, p, training))


def cifar_local(w: Weights, x: Tensor, p: float, training: bool, norm: bool = False) -> Tensor:
    """layers-conv-local-13pct.cfg, which has no dropout either."""
    x = relu(conv(w, "conv1", x, pad=2))
    x = max_pool(across_maps(x, 1.0, 1e-3 / 5, 1) if norm else x)
    x = relu(conv(w, "conv2", x, pad=2))
    x = max_pool(across_maps(x, 1.0, 1e-3 / 5, 1) if norm else x)
    x = relu(local(w, "conv3", x, pad=1))
    x = relu(local(w, "conv4", x, pad=1)).flatten(1)
    return fc(w, "fc5", masked_test(x, p, training))


def cifar_local_lrn(w: Weights, x: Tensor, p: float, training: bool) -> Tensor:
    """layers-conv-local-11pct.cfg as first released: scale .001 over 5 maps, before the pooling."""
    return cifar_local(w, x, p, training, norm=True)


NETWORKS: dict[str, Network] = {
    network.__name__: network
    for network in (
        paper, original, one_gpu, caffenet, bvlc_alexnet, torchvision, d2l,
        flowers_notebook,        cifar_small, cifar_local, cifar_local_lrn,
    )
}  # fmt: skip
