"""How many cores training and evaluation take: a number of them fixes the order in which sums are taken."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def threads(num: int | None) -> Iterator[None]:
    """While this is open torch, BLAS and OpenMP have `num` threads each; None leaves them as they are."""
    if num is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        with threadpool_limits(num):
            yield
    finally:
        torch.set_num_threads(before)
