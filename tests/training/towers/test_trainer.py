import numpy as np
import pytest
import torch
from model_parts import tiny_features, tiny_history, tiny_schema
from step_parts import assert_same_step, step_gradients, tiny_model

from recsys.config import ItemTowerConfig, ModelConfig, TrainConfig, UserTowerConfig
from training.sequences import TrainingSequence, Window, target_mask
from training.towers.train_step import TrainStep
from training.towers.trainer import fit_retriever

SCHEMA = tiny_schema(review_text_dim=0, review_audio_dim=0, profile_sizes={})
PLAIN = ModelConfig(
    dim=16,
    item=ItemTowerConfig(dropout=0.0, id_dropout=0.0, modality_dropout=0.0),
    user=UserTowerConfig(num_blocks=1, dropout=0.0, max_length=8),
)


def _sequences(num=40, num_items=24):
    """Item i is always followed by item i + 1: a rule that a sequence model can learn wholly."""
    rng = np.random.default_rng(0)
    sequences = {}
    for user in range(num):
        start = int(rng.integers(2, num_items - 4))
        items = np.arange(start, start + 6)
        history = tiny_history(items, seed=user, review_text={}, profile={}, event=np.full(6, 2))
        sequences[f"u{user}"] = TrainingSequence(history=history, target=np.ones(6, np.bool_))
    return sequences


def _config(**changes):
    # 4 batches of 60 events an epoch, the whole of `_sequences`.
    values = {"epochs": 10, "learning_rate": 1e-2, "batch_tokens": 120, "steps_per_epoch": 4}
    values["precision"] = "float32"
    return TrainConfig(**(values | changes))


def _fit(config=None, **arguments):
    return fit_retriever(
        tiny_features(), SCHEMA, _sequences(), model_config=PLAIN, config=config or _config(), **arguments
    )


def test_learns_what_follows_what():
    fitted = _fit()
    model = fitted.model
    history = tiny_history([4, 5, 6, 7], review_text={}, profile={}, event=np.full(4, 2))
    from recsys.history import collate

    batch = collate([history], SCHEMA)
    items = model.item_arrays()
    inputs = {**batch.inputs, "event_vector": items.vectors[batch.item], "length": batch.length}
    assert int((model.embed_users(inputs) @ items.vectors.T)[0].argmax()) == 8
    assert fitted.curve[-1]["loss"] < fitted.curve[0]["loss"] / 2


def test_same_seed_same_parameters():
    first, second = (_fit(_config(epochs=2)).model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_goes_on_from_a_checkpoint_to_the_same_end(tmp_path):
    whole = _fit(_config(epochs=4, steps_per_epoch=2)).model.state_dict()
    path = tmp_path / "towers.pt"

    def stop(epoch, entry):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(_config(epochs=4, steps_per_epoch=2), checkpoint=path, fingerprint="a", on_epoch=stop)
    assert path.exists()
    resumed = _fit(_config(epochs=4, steps_per_epoch=2), checkpoint=path, fingerprint="a").model.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_checkpoint_of_another_run_is_not_read(tmp_path):
    path = tmp_path / "towers.pt"
    _fit(_config(epochs=1, steps_per_epoch=1), checkpoint=path, fingerprint="a")
    epochs = []
    _fit(
        _config(epochs=1, steps_per_epoch=1),
        checkpoint=path,
        fingerprint="b",
        on_epoch=lambda epoch, _: epochs.append(epoch),
    )
    assert epochs == [1]


def test_stops_when_validation_stays_away_and_keeps_the_best():
    scores = iter([0.1, 0.5, 0.2, 0.3, 0.9])
    fitted = _fit(_config(epochs=5, steps_per_epoch=1, patience=2), validate=lambda model: next(scores))
    assert (fitted.best_epoch, fitted.best_score, len(fitted.curve)) == (2, 0.5, 4)


def test_does_not_stop_in_the_first_three_quarters_of_training():
    scores = iter([0.5, 0.2, 0.3, 0.4, 0.3, 0.6, 0.1, 0.1])
    fitted = _fit(_config(epochs=8, steps_per_epoch=1, patience=2), validate=lambda model: next(scores))
    assert (fitted.best_epoch, fitted.best_score, len(fitted.curve)) == (6, 0.6, 8)
    scores = iter([0.5, 0.2, 0.3, 0.4, 0.3, 0.4, 0.1, 0.1])
    fitted = _fit(_config(epochs=8, steps_per_epoch=1, patience=2), validate=lambda model: next(scores))
    assert (fitted.best_epoch, fitted.best_score, len(fitted.curve)) == (1, 0.5, 6)


@pytest.mark.parametrize("sampled_above", [50_000, 5])
def test_items_without_training_events_are_no_negatives(sampled_above):
    """Cold items must not be taught to be bad: whatever they are, the loss and its gradients stay."""

    def step_over(cold):
        features = tiny_features()
        for name, vectors in features.dense.items():
            features.present[name][~features.trained] = cold == cold
            vectors[~features.trained] = cold
        model = tiny_model(features=features)
        return step_gradients(model, TrainStep(model, _config(sampled_above=sampled_above, num_negatives=64)))

    loss, gradients = step_over(np.nan)
    assert np.isfinite(loss)
    assert_same_step((loss, gradients), step_over(5.0))


@pytest.mark.parametrize("hard_negatives", [0.0, 0.5])
def test_sampled_softmax_learns_too(hard_negatives):
    fitted = _fit(_config(epochs=5, sampled_above=5, num_negatives=64, hard_negatives=hard_negatives))
    assert fitted.curve[-1]["loss"] < fitted.curve[0]["loss"] - 0.5


AUXILIARY = {"alignment": {"kind": "triplet"}, "views": {"weight": 0.1}, "adversarial": {"weight": 0.2}}
HARD = {"sampled_above": 5, "num_negatives": 16, "hard_negatives": 0.5}


@pytest.mark.parametrize("options", [{"auxiliary": AUXILIARY}, HARD], ids=["auxiliary", "hard negatives"])
def test_options_go_on_from_a_checkpoint_to_the_same_end(options, tmp_path):
    config = _config(epochs=3, steps_per_epoch=2, **options)
    whole = _fit(config).model.state_dict()
    path = tmp_path / "towers.pt"

    def stop(epoch, entry):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(config, checkpoint=path, fingerprint="a", on_epoch=stop)
    resumed = _fit(config, checkpoint=path, fingerprint="a").model.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("sampled", [{}, {"sampled_above": 5, "num_negatives": 64, "hard_negatives": 0.5}])
def test_bfloat16_descends_like_float32(sampled):
    fits = [
        _fit(_config(epochs=4, learning_rate=5e-3, precision=name, **sampled))
        for name in ("float32", "bfloat16")
    ]
    losses = [fitted.curve[-1]["loss"] for fitted in fits]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_targets_stand_where_the_windows_say():
    window = Window(history=tiny_history([2, 3, 4]), target=np.array([True, False, True]))
    np.testing.assert_array_equal(target_mask([window], 4).numpy(), [[1, 0, 1, 0]])


def test_a_loss_that_is_not_finite_stops_the_training():
    features = tiny_features()
    features.dense["text"][5] = np.nan
    with pytest.raises(FloatingPointError, match="learning_rate"):
        fit_retriever(
            features, SCHEMA, _sequences(), model_config=PLAIN, config=_config(epochs=1, steps_per_epoch=1)
        )
