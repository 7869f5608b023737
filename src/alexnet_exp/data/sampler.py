"""Which images make up which batch: a pure function of seed, epoch, rank and world size.

An epoch's permutation of 1.28 million images takes 10 MB; no pixel is read for it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alexnet_exp.errors import UserError


class TrainSampler:
    """Batches of one global permutation per epoch; each rank takes its slice of every batch.

    Images that do not fill the last global batch are left to a later epoch's permutation.

    ``indices`` (N,) int64 are the store's rows of the training images; ``batch_size`` is global.

    Raises:
        UserError: The batch does not divide by the processes, or is larger than the data.
    """

    def __init__(
        self, indices: np.ndarray, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size % world_size:
            raise UserError(
                f"data.batch_size={batch_size} is global and does not divide by the {world_size}"
                f" processes: choose a multiple of {world_size}"
            )
        if batch_size > len(indices):
            raise UserError(
                f"data.batch_size={batch_size} is more than the {len(indices)} training images:"
                f" set data.batch_size={max(world_size, len(indices) // world_size * world_size)}"
                " or less"
            )
        self.indices, self.batch_size, self.seed = indices, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.indices) // self.batch_size

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Yield this rank's indices of each global batch, (N,) int64."""
        # numpy mixes both numbers; torch's CPU generator would keep 32 bits of one.
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.indices)
        local = self.batch_size // self.world_size
        for step in range(len(self)):
            start = step * self.batch_size + self.rank * local
            yield order[start : start + local]
