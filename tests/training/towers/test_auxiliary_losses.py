"""Losses on items alone, against the same written out item by item, and on their way through a step."""

from itertools import combinations

import pytest
import torch
from model_parts import tiny_features
from step_parts import assert_same_step, gradients_of, plain_loss, step_gradients, tiny_model

from recsys.config import AuxiliaryConfig, TokenAlignmentConfig, TrainConfig, ViewsConfig
from recsys.errors import ConfigError
from recsys.models.dropout import apply_dropout, use_generator
from recsys.models.losses import contrastive_loss, hardest_triplet_loss
from training.towers.auxiliary_losses import (
    MANY,
    Alignment,
    ItemBatchLoss,
    SelfSupervisedViews,
    sample_places,
)
from training.towers.context import StepContext
from training.towers.train_step import TrainStep

CONTRASTIVE = TokenAlignmentConfig(kind="contrastive", weight=0.7, temperature=0.2)
TRIPLET = TokenAlignmentConfig(kind="triplet", weight=0.7, margin=0.4)
TOWER = None  # alignment reads tokens alone


def trained_rows(model):
    return torch.from_numpy(model.features.trained).nonzero()[:, 0]


def tokens(model):
    inputs = model.item_inputs(trained_rows(model))
    return model.item_tower.tokens(inputs.dense, inputs.category, inputs.identity)


def pair_loss(one, other, config):
    if config.kind == "triplet":
        return hardest_triplet_loss(one, other, margin=config.margin)
    return contrastive_loss(one, other, temperature=config.temperature)


class TestAlignment:
    @pytest.mark.parametrize("config", [CONTRASTIVE, TRIPLET], ids=["contrastive", "triplet"])
    def test_items_that_lack_one_of_two_modalities_take_no_part(self, config):
        drawn = torch.Generator().manual_seed(0)
        token = torch.randn(9, 4, 5, generator=drawn)
        mask = torch.rand(9, 4, generator=drawn) < 0.7
        mask[0, 1] = False
        places = (0, 1, 3)
        expected = []
        for one, other in combinations(places, 2):
            both = [row for row in range(9) if mask[row, one] and mask[row, other]]
            a, b = (torch.stack([token[row, place] for row in both]) for place in (one, other))
            expected.append(pair_loss(a, b, config))
        torch.testing.assert_close(
            Alignment(config, places).loss(TOWER, token, mask), 0.7 * sum(expected) / 3
        )
        token[0, 1] = 1e6  # absent
        torch.testing.assert_close(
            Alignment(config, places).loss(TOWER, token, mask), 0.7 * sum(expected) / 3
        )

    def test_a_pair_of_modalities_that_one_item_has_both_counts_nothing(self):
        token = torch.randn(3, 2, 5, requires_grad=True)
        mask = torch.tensor([[True, True], [True, False], [False, True]])
        loss = Alignment(CONTRASTIVE, (0, 1)).loss(TOWER, token, mask)
        loss.backward()
        assert loss == 0
        assert not token.grad.any()

    def test_aligned_are_the_modalities_that_an_encoder_made(self):
        model = tiny_model()
        assert model.spec.token_names == ("text", "image", "genres", "id")
        assert Alignment.of(CONTRASTIVE, model.spec).places == (0, 1)

    def test_one_modality_cannot_be_aligned(self):
        features = tiny_features()
        features.dense.pop("image")
        with pytest.raises(ConfigError, match="the items have text alone, and two modalities are needed"):
            TrainStep(
                tiny_model(features=features), TrainConfig(auxiliary=AuxiliaryConfig(alignment=CONTRASTIVE))
            )


class TestViews:
    def test_without_dropout_a_view_is_the_item(self):
        model = tiny_model()
        token, mask = tokens(model)
        config = ViewsConfig(weight=1.0, token_dropout=0.0, feature_dropout=0.0, temperature=0.3)
        vector = model.embed_items(trained_rows(model)).vector_ND
        expected = contrastive_loss(vector, vector, temperature=0.3)
        torch.testing.assert_close(SelfSupervisedViews(config).loss(model.item_tower, token, mask), expected)

    def test_each_view_leaves_out_tokens_and_dimensions_of_its_own(self):
        model = tiny_model()
        token, mask = tokens(model)
        config = ViewsConfig(weight=1.0, token_dropout=0.5, feature_dropout=0.25)
        with use_generator(torch.Generator().manual_seed(3)):
            found = SelfSupervisedViews(config).loss(model.item_tower, token, mask)
        draw, views = torch.Generator().manual_seed(3), []
        for _ in range(2):
            with use_generator(draw):
                kept = apply_dropout(torch.ones_like(token), 0.25)
            chance = torch.rand(mask.shape, generator=draw)
            left = mask & (chance >= 0.5)
            for row in range(len(left)):
                left[row] = left[row] if left[row].any() else mask[row]
            views.append(model.item_tower.fuse(token * kept, left))
        assert not torch.allclose(*views)
        torch.testing.assert_close(found, contrastive_loss(*views, temperature=0.1))

    def test_an_item_without_a_token_takes_no_part(self):
        model = tiny_model()
        token, mask = tokens(model)
        mask[0] = False
        config = ViewsConfig(weight=1.0, token_dropout=0.0, feature_dropout=0.0)
        expected = SelfSupervisedViews(config).loss(model.item_tower, token[1:], mask[1:])
        torch.testing.assert_close(SelfSupervisedViews(config).loss(model.item_tower, token, mask), expected)
        assert SelfSupervisedViews(config).loss(model.item_tower, token[:2], mask[:2]) == 0


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("alignment", [CONTRASTIVE, TRIPLET], ids=["contrastive", "triplet"])
def test_a_step_adds_their_gradients_to_the_plain_loss(alignment, num_shards):
    views = ViewsConfig(weight=0.3, token_dropout=0.0, feature_dropout=0.0)
    model = tiny_model()
    vector = model.embed_items(torch.arange(model.features.size)).vector_ND
    token, mask = tokens(model)
    loss = plain_loss(model, vector)
    loss = loss + Alignment(alignment, (0, 1)).loss(model.item_tower, token, mask)
    own = vector[trained_rows(model)]
    loss = loss + 0.3 * contrastive_loss(own, own, temperature=views.temperature)
    loss.backward()
    expected = loss.item(), gradients_of(model)
    model.zero_grad()
    auxiliary = AuxiliaryConfig(alignment=alignment, views=views)
    step = TrainStep(model, TrainConfig(precision="float32", auxiliary=auxiliary), num_shards=num_shards)
    assert_same_step(step_gradients(model, step), expected)


def test_the_batch_is_of_trained_items_no_item_twice():
    model = tiny_model()
    config = AuxiliaryConfig(num_items=7, views=ViewsConfig(weight=1.0))
    losses = ItemBatchLoss.of(StepContext(model, TrainConfig()), config)
    drawn = [losses.draw([]).own_rows for _ in range(20)]
    assert all(len(rows) == len(rows.unique()) == 7 for rows in drawn)
    assert set(torch.cat(drawn).tolist()) == set(trained_rows(model).tolist())


def test_a_model_that_is_blind_to_content_has_none():
    model = tiny_model(use_content=False)
    config = AuxiliaryConfig(alignment=CONTRASTIVE, views=ViewsConfig(weight=1.0))
    assert ItemBatchLoss.of(StepContext(model, TrainConfig()), config) is None


@pytest.mark.parametrize("num", [5, 8, 8 * MANY, 8 * MANY + 1, 10**9])
def test_a_sample_has_no_number_twice(num):
    found = sample_places(num, 8)
    assert len(found.unique()) == len(found)
    assert found.min() >= 0
    assert found.max() < num
    assert len(found) == min(num, 8) if num <= 8 * MANY else 1 <= len(found) <= 8
