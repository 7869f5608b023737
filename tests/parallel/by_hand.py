"""Bytes that leave each process in a step, by sums."""

from alexnet_exp.network.plan import LayerPlan

IMAGES = 16

# What gloo puts before each message, and its messages from each of K processes for a collective, in
# units of K - 1.
HEADER = 48
REDUCED, GATHERED = 12, 6


def payload_and_messages(
    strategy: str, layers: list[LayerPlan], devices: int, size: int
) -> tuple[float, float]:
    """Payload of a step by ring algorithms (Patarasuk and Yuan 2009), and messages; all averaged
    gradients of a small network are one.

    An all-reduce is a reduce-scatter and an all-gather, each of which sends all but one process's
    share; gloo's reduce-scatter in torch is an all-reduce. ``size``: bytes of an activation.
    """
    conv = [layer for layer in layers if layer.kind == "conv"]
    fc = [layer for layer in layers if layer.kind == "fc"]
    weights = 4 * sum(layer.parameters for layer in layers)
    rest = (devices - 1) / devices
    inputs = sum(layer.inputs for layer in fc)
    if strategy == "ddp":
        return 2 * rest * weights, REDUCED * (devices - 1)
    if strategy == "fsdp":  # all convolutions, and each fully connected layer; rows are padded
        rows = [(-(-layer.outputs // devices) * devices, layer) for layer in conv + fc]
        padded = sum(4 * count * layer.parameters // layer.outputs for count, layer in rows)
        units = 1 + len(fc)
        return (1 + 1 + 2) * rest * padded, units * (2 * GATHERED + REDUCED) * (devices - 1)
    if strategy == "towers":  # pairs meet at conv3, each fully connected layer and the logits
        pairs, images = devices // 2, IMAGES * 2 / devices
        seen = conv[2].inputs * conv[2].size ** 2 + inputs
        activations = images * size * (1 + 2) * (seen + fc[-1].outputs) / 2
        messages = 5 * (GATHERED + REDUCED)
        gradients = 2 * (pairs - 1) / pairs * weights / 2
        return activations + gradients, messages + REDUCED * (pairs - 1)
    logits = -(-fc[-1].outputs // devices) * devices
    gradients = 2 * 4 * sum(layer.parameters for layer in conv)
    sent = rest * (size * (1 + 2) * IMAGES * (inputs + logits) + gradients)
    messages = 4 * (GATHERED + REDUCED) + REDUCED
    return sent, messages * (devices - 1)
