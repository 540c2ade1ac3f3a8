"""The processes of one training: a single one, or those that torchrun has started.

    torchrun --nproc-per-node 2 -m recsys.cli run DATASET --out RUN

Each process is a rank. Rank 0 writes files, tracks and prints. All ranks take the steps of a training
together and exchange tensors by gloo on a CPU and by NCCL on a GPU. Results that rank 0 computes alone go to
the others through the key-value store of torchrun, which has another time limit than an exchange of tensors.
"""

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import cache
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import HashStore, PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from recsys.config import ProcessesConfig
from recsys.errors import RankError

T = TypeVar("T")
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
# Parts of gloo's messages about a process that has ended or is silent. It raises RuntimeError for all faults.
_LOST = ("gloo", "Connection closed", "Connection reset", "Broken pipe", "Timed out", "timed out")


class Ranks(Protocol):
    """The ranks of a training. All of them make the same calls in the same order."""

    rank: int
    size: int

    def open(self, device: str, config: ProcessesConfig) -> None:
        """Prepare the exchange of tensors on `device`, once."""
        ...

    def close(self) -> None:
        """End the exchange of tensors."""
        ...

    def sum_(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over all ranks."""
        ...

    def gather(self, row_N: Tensor) -> Tensor:
        """The one-dimensional tensors of all ranks, one after the other; lengths may differ."""
        ...

    def share(self, make: Callable[[], T]) -> T:
        """The result of `make`, which is called on rank 0 alone, on every rank."""
        ...

    def explained(self) -> AbstractContextManager[None]:
        """Within, the loss of another rank is a `RankError`."""
        ...


class OneRank:
    """A training in a single process."""

    rank, size = 0, 1

    def open(self, device: str, config: ProcessesConfig) -> None: ...

    def close(self) -> None: ...

    def sum_(self, tensor: Tensor) -> None: ...

    def gather(self, row_N: Tensor) -> Tensor:
        return row_N

    def share(self, make: Callable[[], T]) -> T:
        return make()

    def explained(self) -> AbstractContextManager[None]:
        return nullcontext()


class TorchrunRanks:
    """This process among those that torchrun has started."""

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.rank, self.size, self.config = rank, size, ProcessesConfig()
        self._store, self._num_shared = store, 0

    @classmethod
    def connect(cls) -> "TorchrunRanks":
        """Meet the other processes at the address that torchrun has left in the environment."""
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        store, rank, size = next(rendezvous("env://"))
        # The store of torchrun outlives a restart, and with it what the processes before have written.
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(PrefixStore(f"recsys/{restart}", store), rank, size)

    def open(self, device: str, config: ProcessesConfig) -> None:
        self.config = config
        if dist.is_initialized():
            return
        with self.explained():
            dist.init_process_group(
                BACKENDS[device],
                store=PrefixStore("tensors", self._store),
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=config.timeout_seconds),
            )

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def sum_(self, tensor: Tensor) -> None:
        with self.explained():
            dist.all_reduce(tensor)

    def gather(self, row_N: Tensor) -> Tensor:
        lengths = torch.zeros(self.size, dtype=torch.int64)
        lengths[self.rank] = len(row_N)
        self.sum_(lengths)
        padded = row_N.new_zeros(int(lengths.max()))
        padded[: len(row_N)] = row_N
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        with self.explained():
            dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths.tolist(), strict=True)])

    def share(self, make: Callable[[], T]) -> T:
        key, self._num_shared = f"shared/{self._num_shared}", self._num_shared + 1
        if self.rank == 0:
            value = make()
            self._store.set(key, pickle.dumps(value))  # type: ignore[arg-type]  # it takes bytes
            return value
        with self.explained():
            self._store.wait([key], timedelta(seconds=self.config.first_rank_timeout_seconds))
            received: T = pickle.loads(self._store.get(key))
        return received

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not (isinstance(error, dist.DistError) or any(sign in str(error) for sign in _LOST)):
                raise
            raise RankError(
                f"rank {self.rank} of {self.size} has lost the others: {_last_line(str(error))}. A process "
                f"has ended, or has not answered for train.processes.timeout_seconds = "
                f"{self.config.timeout_seconds}; look above for its own message. The same command goes on "
                "from the last checkpoint, as does torchrun --max-restarts 3"
            ) from error


ONE_RANK = OneRank()


@cache
def ranks_of_process() -> Ranks:
    """The ranks among which this process was started; `ONE_RANK` without torchrun."""
    return TorchrunRanks.connect() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ONE_RANK


@contextmanager
def process_group_of_one(device: str = "cpu") -> Iterator[None]:
    """Within, torch has a process group, which TorchRec needs; in a single process a group of one."""
    if dist.is_initialized():
        yield
        return
    dist.init_process_group(BACKENDS[device], store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _last_line(message: str) -> str:
    return message.strip().splitlines()[-1].strip().rstrip(".")
