import numpy as np
from model_parts import tiny_history

from training.sequences import TrainingSequence, WindowSampler


def _sequences(*lengths):
    return {
        f"u{at}": TrainingSequence(
            history=tiny_history(np.arange(2, 2 + length), seed=at), target=np.ones(length, np.bool_)
        )
        for at, length in enumerate(lengths)
    }


def _sampler(*lengths, max_length=8, batch_tokens=32, seed=0):
    return WindowSampler(_sequences(*lengths), max_length=max_length, batch_tokens=batch_tokens, seed=seed)


def test_every_event_is_a_target_of_one_window_and_is_read_with_what_came_before():
    for epoch in range(5):
        windows = [window for batch in _sampler(30).epoch(epoch) for window in batch]
        predicted = np.sort(np.concatenate([window.history.item[window.target] for window in windows]))
        np.testing.assert_array_equal(predicted, np.arange(2, 32))
        assert max(len(window.target) for window in windows) <= 8
        for window in windows:
            assert (np.diff(window.history.item) == 1).all()
            assert window.target[0] == (window.history.item[0] == 2)


def test_short_histories_are_one_window():
    (batch,) = _sampler(8).epoch(0)
    np.testing.assert_array_equal(batch[0].history.item, np.arange(2, 10))
    assert batch[0].target.all()


def test_epochs_differ_and_repeat():
    def starts(sampler, epoch):
        return sorted(int(w.history.item[0]) for batch in sampler.epoch(epoch) for w in batch)

    assert starts(_sampler(100), 0) == starts(_sampler(100), 0)
    assert len({tuple(starts(_sampler(100), epoch)) for epoch in range(6)}) > 1


def test_batches_stay_within_their_tokens():
    for batch in _sampler(3, 5, 8, 20, 1, 2, 2, 7).epoch(0):
        assert len(batch) * max(len(window.target) for window in batch) <= 32


def test_a_window_without_a_target_is_left_out():
    sequences = _sequences(3)
    nothing = TrainingSequence(history=sequences["u0"].history, target=np.zeros(3, np.bool_))
    sampler = WindowSampler({"u0": nothing}, max_length=8, batch_tokens=32, seed=0)
    assert len(sampler.epoch(0)) == 0


def test_ranks_divide_the_windows_of_each_batch():
    lengths = [5, 30, 8, 3, 17, 2, 9]

    def items(part):
        sampler = WindowSampler(_sequences(*lengths), max_length=8, batch_tokens=32, seed=0, part=part)
        return [[w.history.item.tolist() for w in batch] for batch in sampler.epoch(1)]

    whole, ranks = items((0, 1)), [items((rank, 3)) for rank in range(3)]
    assert all(len(batches) == len(whole) for batches in ranks)
    for at, batch in enumerate(whole):
        assert sorted(batch) == sorted(items for batches in ranks for items in batches[at])
