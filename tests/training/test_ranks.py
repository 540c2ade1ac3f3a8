"""A training in a single process, and the errors of the exchange between processes."""

import pytest
import torch
import torch.distributed as dist

from recsys.config import ProcessesConfig
from recsys.errors import RankError
from training.ranks import ONE_RANK, TorchrunRanks, process_group_of_one, ranks_of_process


def test_one_rank_keeps_what_it_has() -> None:
    tensor = torch.arange(3.0)
    ONE_RANK.sum_(tensor)
    assert tensor.tolist() == [0, 1, 2]
    assert ONE_RANK.gather(tensor) is tensor
    assert ONE_RANK.share(lambda: 7) == 7
    assert ranks_of_process() is ONE_RANK


def test_a_group_of_one_ends_with_its_context_unless_there_was_one() -> None:
    with process_group_of_one():
        with process_group_of_one():
            assert dist.get_world_size() == 1
        assert dist.is_initialized()
    assert not dist.is_initialized()


@pytest.fixture
def ranks() -> TorchrunRanks:
    """Rank 1 of two; nobody else is there."""
    found = TorchrunRanks(dist.HashStore(), 1, 2)  # type: ignore[attr-defined]
    found.config = ProcessesConfig(timeout_seconds=5, first_rank_timeout_seconds=1)
    return found


def test_silence_of_rank_0_is_an_error_with_the_remedy(ranks: TorchrunRanks) -> None:
    with pytest.raises(RankError, match=r"rank 1 of 2 has lost the others.*train.processes.timeout_seconds"):
        ranks.share(lambda: 1)


def test_only_messages_of_the_exchange_are_explained(ranks: TorchrunRanks) -> None:
    closed = "[../third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [::1]:1"
    with pytest.raises(RankError, match="Connection closed by peer"), ranks.explained():
        raise RuntimeError(closed)
    with pytest.raises(RuntimeError, match="shapes differ"), ranks.explained():
        raise RuntimeError("shapes differ")
