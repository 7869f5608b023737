"""Reads Caffe's files: weights (.caffemodel) and mean images (.binaryproto).

Messages and their numbers are those of Caffe's src/caffe/proto/caffe.proto, trimmed to what is
read; ``protobuf`` skips all other fields.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from torch import Tensor

from alexnet_exp.errors import UserError

# Kind and number of each field; a * is repeated. A list of packed numbers is laid out as bytes are,
# which takes no time to read.
_MESSAGES = {
    "BlobShape": {"dim": ("INT64*", 1)},
    "BlobProto": {
        "num": ("INT32", 1), "channels": ("INT32", 2), "height": ("INT32", 3),
        "width": ("INT32", 4), "data": ("BYTES*", 5), "shape": ("BlobShape", 7),
        "double_data": ("BYTES*", 8),
    },
    "LayerParameter": {"name": ("STRING", 1), "blobs": ("BlobProto*", 7)},
    "V1LayerParameter": {"name": ("STRING", 4), "blobs": ("BlobProto*", 6)},
    "NetParameter": {"layers": ("V1LayerParameter*", 2), "layer": ("LayerParameter*", 100)},
}  # fmt: skip


def read_layers(path: Path) -> dict[str, list[Tensor]]:
    """Every layer of a .caffemodel in order: weight and bias, or nothing, by its name.

    Weights are float32 as Caffe has them: (out, in / groups, k, k), of blobs of before 2014's
    ``shape`` also (1, 1, out, in).

    Raises:
        UserError: The file is damaged or none of Caffe's.
    """
    net = _parse("NetParameter", path)
    layers = {layer.name: [_tensor(blob, path) for blob in layer.blobs]
              for layer in (*net.layers, *net.layer)}  # fmt: skip
    if not any(layers.values()):
        raise unreadable(path)
    return layers


def read_mean(path: Path) -> Tensor:
    """The mean image of a .binaryproto: (S, S, 3) float32, RGB, 0 to 255.

    Raises:
        UserError: The file is damaged or none of Caffe's.
    """
    planes = _tensor(_parse("BlobProto", path), path)
    if planes.ndim != 4 or planes.shape[:2] != (1, 3):  # BGR
        raise unreadable(path)
    return planes[0].flip(0).permute(1, 2, 0).contiguous()


def _parse(message: str, path: Path) -> Any:
    try:
        return _messages()[message].FromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise unreadable(path) from error


def _tensor(blob: Any, path: Path) -> Tensor:
    """float32, of the blob's shape."""
    old = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else old
    numbers, dtype = blob.data, torch.float32
    if blob.double_data:
        numbers, dtype = blob.double_data, torch.float64
    try:
        flat = torch.frombuffer(bytearray().join(numbers), dtype=dtype)
        return flat.reshape(shape).float()
    except (RuntimeError, ValueError) as error:  # fewer or more numbers than the shape has
        raise unreadable(path) from error


def unreadable(path: Path) -> UserError:
    """What a file is that can't be read."""
    return UserError(
        f"{path} is damaged or not a file of Caffe's: fetch it again (one of before 2014 is brought"
        " up to date by Caffe's upgrade_net_proto_binary)"
    )


@cache
def _messages() -> dict[str, Any]:
    """The class of each message."""
    field = descriptor_pb2.FieldDescriptorProto
    package = "alexnet_exp.caffe"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package)
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (kind, number) in fields.items():
            label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            added = described.field.add(name=name, number=number, label=label)
            if kind in _MESSAGES:
                added.type, added.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = field.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in _MESSAGES
    }
