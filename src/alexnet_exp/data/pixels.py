"""Where the pixels of a batch lie when it is augmented."""

import numpy as np
import torch
from torch import Tensor

from alexnet_exp.data.store.images import Images
from alexnet_exp.data.stream import Stream

_COPIED_BYTES = 64 << 20


class InMemory:
    """Images (M, S, S, C) uint8 in one tensor on the device: a whole store, or one batch."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.contiguous()
        self.device = images.device

    def gather(self, rows: Tensor) -> Tensor:
        """A copy of some images: rows (N,) int64 to (N, S, S, C) uint8."""
        return self.images[rows]

    def addresses(self, rows: Tensor) -> Tensor:
        """Where those images lie in this process's memory, (N,) int64; on a CPU alone."""
        return self.images.data_ptr() + rows * self.images[0].numel()


class Mapped:
    """Images of a raw store, mapped into the memory of a CPU: read where they are cropped."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.device = torch.device("cpu")

    def gather(self, rows: Tensor) -> Tensor:
        """As ``InMemory.gather``."""
        return torch.from_numpy(self._images[rows.numpy()])

    def addresses(self, rows: Tensor) -> Tensor:
        """As ``InMemory.addresses``."""
        return torch.from_numpy(self._images.addresses(rows.numpy()))


Pixels = InMemory | Mapped


def put_on(images: Images, device: torch.device, threads: int) -> InMemory:
    """All images of a store in the memory of a device, read or decoded by threads."""
    resident = torch.empty(images.shape, dtype=torch.uint8, device=device)
    rows = max(1, _COPIED_BYTES * len(images) // max(1, images.nbytes))
    pieces = np.split(np.arange(len(images)), range(rows, len(images), rows))
    start = 0
    for piece in Stream(images, device, threads, ahead=1).batches(pieces):
        resident[start : start + len(piece)] = piece
        start += len(piece)
    return InMemory(resident)
