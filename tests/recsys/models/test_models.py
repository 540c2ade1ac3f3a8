from dataclasses import replace

import numpy as np
import pytest
import torch
from model_parts import tiny_features, tiny_history, tiny_schema

from recsys.config import ItemTowerConfig, ModelConfig, RankerConfig, UserTowerConfig
from recsys.errors import ConfigError
from recsys.history import collate
from recsys.models.dropout import apply_dropout, use_generator
from recsys.models.embeddings import CategoryEmbedding, ItemIdEmbedding, export_categories
from recsys.models.fusion import build_fusion, masked_softmax
from recsys.models.item_tower import drop_tokens
from recsys.models.ranker import Ranker
from recsys.models.retriever import Retriever
from recsys.models.user_tower import embedded, look_up, recency_bias

CONFIG = ModelConfig(dim=16)


@pytest.fixture
def retriever():
    torch.manual_seed(0)
    return Retriever(tiny_features(), tiny_schema(), CONFIG).eval()


def test_only_the_modalities_that_are_named_are_read():
    features = tiny_features()

    def model(modalities):
        torch.manual_seed(0)
        return Retriever(
            features, tiny_schema(), ModelConfig(dim=16, item=ItemTowerConfig(modalities=modalities))
        )

    assert set(model(None).spec.dense_dims) == {"text", "image"}
    assert set(model(None).spec.category_sizes) == {"genres"}
    assert model(("categories",)).spec == model(("genres",)).spec
    assert not model(("genres",)).spec.dense_dims
    only_text = model(("text",))
    assert (set(only_text.spec.dense_dims), only_text.spec.category_sizes) == ({"text"}, {})
    before = only_text.item_arrays(as_cold=True).vectors
    only_text.set_features(replace(features, dense={**features.dense, "image": features.dense["image"] + 1}))
    np.testing.assert_array_equal(only_text.item_arrays(as_cold=True).vectors, before)
    with pytest.raises(ConfigError, match=r"modalities: the items have no 'images'; did you mean 'image'"):
        model(("images",))


def test_heads_start_by_reading_further_and_further_back():
    start = recency_bias(4, 101)
    assert (start[-1] == 1).all()
    assert (start[:-1].diff(dim=1) < 0).all()
    assert (start[1:-1, 1:] > start[:-2, 1:]).all()
    torch.testing.assert_close(start[:-1, 0], torch.full((3,), 2.0))
    torch.testing.assert_close(start[0, 1] / start[0, 0], torch.tensor(np.exp(-1.0), dtype=torch.float32))
    assert (recency_bias(4, 1) == 1).all()  # without distances
    assert (recency_bias(1, 9) == 1).all()


def test_torchrec_categories_equal_their_plain_twin():
    embedding = CategoryEmbedding(sizes={"genres": 9, "makers": 4}, dim=6)
    ids = {"genres": torch.tensor([[2, 3, 0], [0, 0, 0], [8, 8, 1]]), "makers": torch.tensor([[3], [0], [2]])}
    pooled, plain = embedding(ids), export_categories(embedding)
    for field in ids:
        torch.testing.assert_close(pooled[field], plain[field](ids[field]))
    torch.testing.assert_close(pooled["genres"][0], embedding.weight("genres")[[2, 3]].mean(0))
    assert (pooled["makers"][1] == 0).all()


def test_torchrec_id_rows_are_rows_of_the_table():
    embedding = ItemIdEmbedding(num_items=7, dim=4)
    rows = torch.tensor([6, 1, 1, 2])
    torch.testing.assert_close(embedding(rows), embedding.weight[rows])


def test_masked_softmax_sums_to_one_or_to_zero():
    weight = masked_softmax(
        torch.randn(3, 4), torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    )
    torch.testing.assert_close(weight.sum(1), torch.tensor([1.0, 0.0, 1.0]))
    assert (weight[0, 2:] == 0).all()


def test_attention_fusion_equals_attention_written_out():
    """Keys and values of every token, softmax a head, weighed sum: what the shorter products come to."""
    torch.manual_seed(0)
    fusion = build_fusion("attention", dim=8, num_heads=2)
    token, mask = torch.randn(5, 3, 8), torch.rand(5, 3) < 0.7
    mask[0] = False
    token = token * mask.unsqueeze(-1)
    key, value = fusion.key_value(token).chunk(2, dim=-1)
    pooled = torch.zeros(5, 8)
    for item in range(5):
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            at = mask[item].nonzero().flatten()
            if len(at):
                weight = torch.softmax(key[item, at, part] @ fusion.query[head] / 2.0, dim=0)
                pooled[item, part] = weight @ value[item, at, part]
    mean = token.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(fusion(token, mask), mean + fusion.output(pooled))


@pytest.mark.parametrize("kind", ["attention", "mean", "gated"])
def test_fusion_never_reads_an_absent_token(kind):
    torch.manual_seed(0)
    fusion = build_fusion(kind, dim=8, num_heads=2)
    token, mask = torch.randn(5, 3, 8), torch.tensor([[True, False, True]]).expand(5, 3)
    other = token.clone()
    other[:, 1] = 1e3
    torch.testing.assert_close(fusion(token, mask), fusion(other, mask))
    assert not torch.allclose(fusion(token, mask), fusion(token, torch.ones(5, 3, dtype=torch.bool)))


def test_item_vectors_are_of_unit_length_and_cold_items_share_no_id(retriever):
    rows = torch.arange(2, 32)
    before = retriever.embed_items(rows)
    torch.testing.assert_close(before.vector_ND.norm(dim=1), torch.ones(30))
    cold = ~retriever.features.trained[2:]
    assert cold.any()
    assert not before.mask_NT[cold, -1].any()
    with torch.no_grad():
        retriever.item_id.weight.add_(1.0)
    after = retriever.embed_items(rows)
    torch.testing.assert_close(before.vector_ND[cold], after.vector_ND[cold])
    assert not torch.allclose(before.vector_ND[~cold], after.vector_ND[~cold])


def test_dropped_tokens_never_leave_an_item_without_any():
    config = ItemTowerConfig(id_dropout=1.0, modality_dropout=1.0)
    model = Retriever(tiny_features(), tiny_schema(), ModelConfig(dim=16, item=config))
    mask = torch.rand(200, 4) < 0.5
    masked = drop_tokens(mask, model.item_tower._dropout_rates(mask))
    assert (masked.any(1) == mask.any(1)).all()


def test_blind_twin_has_the_id_alone():
    config = ModelConfig(dim=16, item=ItemTowerConfig(use_content=False))
    model = Retriever(tiny_features(), tiny_schema(), config)
    assert model.spec.token_names == ("id",)


def _states(model, histories):
    batch = collate(histories, model.schema)
    vectors = torch.from_numpy(model.item_arrays().vectors)[torch.from_numpy(batch.item)]
    inputs = {name: torch.from_numpy(array) for name, array in batch.inputs.items()}
    with torch.no_grad():
        return model.user_tower.states(vectors, inputs)


@pytest.fixture(params=["softmax", "pointwise"])
def attending(request):
    torch.manual_seed(0)
    user = UserTowerConfig(attention=request.param, feed_forward=request.param == "softmax")
    return Retriever(tiny_features(), tiny_schema(), ModelConfig(dim=16, user=user)).eval()


def test_states_are_causal(attending):
    retriever = attending
    first, second = tiny_history([3, 4, 5, 6]), tiny_history([3, 4, 9, 12])
    states = _states(retriever, [first, second])
    torch.testing.assert_close(states[0, :3], states[1, :3])  # own token and the two shared events
    assert not torch.allclose(states[0, 3], states[1, 3])


def test_padding_changes_nothing(attending):
    retriever = attending
    short, long = tiny_history([3, 4]), tiny_history([5, 6, 7, 8, 9])
    alone = _states(retriever, [short])
    together = _states(retriever, [short, long])
    torch.testing.assert_close(alone[0, :3], together[0, :3])


def test_user_vector_is_the_state_after_the_last_event(retriever):
    histories = [tiny_history([3, 4, 5]), tiny_history([])]
    batch = collate(histories, retriever.schema)
    vectors = retriever.item_arrays().vectors[batch.item]
    user = retriever.embed_users({**batch.inputs, "event_vector": vectors, "length": batch.length})
    states = _states(retriever, histories)
    np.testing.assert_allclose(user[0], states[0, 3], atol=1e-6)
    np.testing.assert_allclose(user[1], states[1, 0], atol=1e-6)


def test_a_block_of_either_attention_as_it_is_written_down(attending):
    """Token by token and head by head: what is read, how much of it, the gate, and what is added."""
    block, dim = attending.user_tower.blocks[0], 16
    torch.nn.init.normal_(block.bias.position)
    generator = torch.Generator().manual_seed(1)
    x_BPD = torch.randn(2, 5, dim, generator=generator)
    second_BP = torch.tensor([[0, 0, 5, 60, 4000], [0, 1, 2, 3, 4]])
    ones = torch.ones(5, 5).tril()
    with torch.no_grad():
        found = block(x_BPD, second_BP, ones if block.kind == "softmax" else ones / 3.0)
        bias = block.bias(second_BP)
        gate, value, query, key = block.input(block.norm(x_BPD)).chunk(4, dim=-1)
        silu = torch.nn.functional.silu
        if block.kind == "pointwise":
            value, query, key = silu(value), silu(query), silu(key)
        attended = torch.zeros_like(x_BPD)
        for row, head, at in np.ndindex(2, 4, 5):
            part = slice(4 * head, 4 * head + 4)
            dots = key[row, : at + 1, part] @ query[row, at, part]
            own = bias[row if len(bias) > 1 else 0, head, at, : at + 1]
            if block.kind == "softmax":
                weights = torch.softmax(dots / 2.0 + own, dim=0)
            else:
                weights = silu(dots + own) / 3.0
            attended[row, at, part] = weights @ value[row, : at + 1, part]
        expected = x_BPD + block.output(block.attended_norm(attended) * silu(gate))
        if block.feed_forward is not None:
            norm, wide, _, _, narrow, _ = block.feed_forward
            expected = expected + narrow(silu(wide(norm(expected))))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_leaves_out_as_many_as_asked_and_keeps_the_mean(dtype):
    numbers = torch.ones(1000, 1003, dtype=dtype)
    with use_generator(torch.Generator().manual_seed(3)):
        first, second = apply_dropout(numbers, 0.2), apply_dropout(numbers, 0.2)
    out = (first == 0).float()
    assert first.dtype == dtype
    assert set(first.unique().tolist()) == {0.0, torch.tensor(256 / 205, dtype=dtype).item()}
    # 51 of 256; no place of eight is judged otherwise, and neighbours are judged by themselves.
    by_place = out.flatten()[: 8 * 125_000].view(-1, 8).mean(0)
    torch.testing.assert_close(by_place, torch.full((8,), 51 / 256), atol=0.005, rtol=0)
    assert abs((out[:, 1:] * out[:, :-1]).mean() - (51 / 256) ** 2) < 0.002
    assert abs((out * (second == 0)).mean() - (51 / 256) ** 2) < 0.002
    assert apply_dropout(numbers, 0.0) is numbers
    assert not apply_dropout(numbers, 1.0).any()


PARTS = {
    "event": {"event": np.array([3, 3, 3])},
    "value": {"value": np.array([1.0, 1.0, 1.0], np.float32)},
    "timestamp": {"timestamp": np.array([0, 10**6, 10**13])},
    "profile": {"profile": {"age": np.array([4])}},
    "review_text": {"review_text": {1: np.ones(12, np.float32)}},
    "review_audio": {"review_audio": {1: np.ones(5, np.float32)}},
}


def _last_states(model, what):
    """After three events, and after the same three that differ in one part."""
    for parameter in model.user_tower.blocks[0].bias.parameters():
        torch.nn.init.normal_(parameter)
    plain = tiny_history([3, 4, 5], event=np.array([2, 2, 2]))
    changed = tiny_history([3, 4, 5], **({"event": np.array([2, 2, 2])} | PARTS[what]))
    return _states(model, [plain])[0, 3], _states(model, [changed])[0, 3]


@pytest.mark.parametrize("what", PARTS)
def test_every_part_of_an_event_is_read(retriever, what):
    plain, changed = _last_states(retriever, what)
    assert not torch.allclose(plain, changed)


@pytest.mark.parametrize(
    ("what", "switch"), [("event", "use_kind"), ("value", "use_value"), ("timestamp", "use_time")]
)
def test_a_part_that_is_switched_off_is_not_read(what, switch):
    config = ModelConfig(dim=16, user=UserTowerConfig(**{switch: False}))
    plain, changed = _last_states(Retriever(tiny_features(), tiny_schema(), config).eval(), what)
    torch.testing.assert_close(plain, changed, rtol=0, atol=0)


@pytest.mark.parametrize("use_position", [True, False])
def test_without_the_relative_position_the_order_of_the_past_is_not_read(use_position):
    user = UserTowerConfig(num_blocks=1, use_position=use_position, use_time=False)
    model = Retriever(tiny_features(), tiny_schema(), ModelConfig(dim=16, user=user)).eval()
    torch.nn.init.normal_(model.user_tower.blocks[0].bias.position)
    same = {"event": np.full(4, 2), "value": np.full(4, 4.0, np.float32), "review_text": {}}
    first, second = (tiny_history(items, **same) for items in ([3, 4, 5, 6], [5, 3, 4, 6]))
    states = _states(model, [first, second])
    assert torch.allclose(states[0, 4], states[1, 4], atol=1e-6) == (not use_position)


def _ranker_inputs(num_users=3, num_candidates=4, dim=16, tokens=4, past=6):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    lists = (num_users, num_candidates)
    return [
        draw(num_users, dim),
        draw(num_users, past, dim),
        torch.tensor([[False] * 3 + [True] * 3, [True] * 6, [False] * 6]),
        draw(*lists, dim),
        draw(*lists, tokens, dim),
        torch.rand(*lists, tokens, generator=generator) < 0.7,
        draw(*lists, 2),
        draw(*lists, 2),
        draw(*lists, 3),
    ]


def test_ranker_starts_at_zero_and_its_attentions_are_distributions():
    config = RankerConfig(history_length=6)
    ranker = Ranker(dim=16, config=config, num_sources=2, num_context=3).eval()
    inputs = _ranker_inputs()
    output = ranker(*inputs)
    assert (output.score_BK == 0).all()
    torch.testing.assert_close(output.history_attention_BKH.sum(-1)[:2], torch.ones(2, 4))
    assert (output.history_attention_BKH[0, :, :3] == 0).all()
    assert (output.history_attention_BKH[2] == 0).all()
    has_token = inputs[5].any(-1).float()
    torch.testing.assert_close(output.token_attention_BKT.sum(-1), has_token)


def test_candidates_are_scored_each_on_its_own():
    """Shape suffixes in earnest: K candidates give K scores, none of which depends on the others."""
    ranker = Ranker(dim=16, config=RankerConfig(history_length=6), num_sources=2, num_context=3).eval()
    torch.nn.init.normal_(ranker.head[-1].weight)
    inputs = _ranker_inputs()
    whole = ranker(*inputs).score_BK
    assert whole.shape == (3, 4)
    single = [tensor[:, 1:2] if at >= 3 else tensor for at, tensor in enumerate(inputs)]
    torch.testing.assert_close(ranker(*single).score_BK[:, 0], whole[:, 1])


def _reviewed(**item):
    """Known items have the mean of many reviews, shown as new another vector, or none (row 3)."""
    features = tiny_features()
    size = features.size
    known, few = np.full((size, 4), 1.0, np.float32), np.full((size, 4), -1.0, np.float32)
    has, has_as_cold = np.arange(size) >= 2, (np.arange(size) >= 2) & (np.arange(size) != 3)
    few[~features.trained] = known[~features.trained]  # a new item has but one way to be shown
    features = replace(
        features,
        dense={**features.dense, "review_text": known},
        present={**features.present, "review_text": has},
        dense_as_cold={"review_text": few},
        present_as_cold={"review_text": has_as_cold},
    )
    return Retriever(features, tiny_schema(), ModelConfig(dim=16, item=ItemTowerConfig(**item)))


@pytest.mark.parametrize("how", ["asked for", "drawn in training"])
def test_an_item_shown_as_new_has_neither_id_nor_the_reviews_of_its_buyers(how):
    model, rows = _reviewed(id_dropout=1.0), torch.arange(2, 32)
    asked = how == "asked for"
    vector_NM, has_N = model.train(not asked).item_inputs(rows, as_cold=asked).dense["review_text"]
    inputs = model.item_inputs(rows, as_cold=asked)
    few_NM = model.as_cold["review_text"][0][rows]
    torch.testing.assert_close(vector_NM, few_NM)
    assert not torch.allclose(few_NM, model.dense["review_text"][rows])
    assert has_N.tolist() == [row != 3 for row in rows.tolist()]
    assert not inputs.identity[1].any()


def test_a_known_item_shows_id_and_all_reviews_outside_of_training():
    model, rows = _reviewed(id_dropout=1.0), torch.arange(2, 32)
    inputs = model.eval().item_inputs(rows)
    torch.testing.assert_close(inputs.dense["review_text"][0], model.dense["review_text"][rows])
    assert torch.equal(inputs.identity[1], model.trained_N[rows])


def test_an_item_without_content_is_never_drawn_as_new():
    features = tiny_features()
    for array in (*features.present.values(), features.categories["genres"]):
        array[4] = 0
    config = ModelConfig(dim=16, item=ItemTowerConfig(id_dropout=1.0))
    warm_N = Retriever(features, tiny_schema(), config).train().item_inputs(torch.arange(2, 32)).warm
    assert warm_N.nonzero().flatten().tolist() == [2]


def test_half_of_the_items_of_a_step_are_shown_as_new_and_not_always_the_same():
    model, rows = _reviewed(id_dropout=0.5).train(), torch.arange(2, 27)
    torch.manual_seed(0)
    warm = torch.stack([model.item_inputs(rows).warm for _ in range(40)])
    assert 0.4 < warm.float().mean() < 0.6
    assert warm.any(0).all()
    assert not warm.all(0).any()


def test_biases_are_looked_up_alike_on_every_device():
    """Forward and gradient of the form for a GPU equal those of the plain index."""
    torch.manual_seed(0)
    table, place = torch.randn(2, 5, requires_grad=True), torch.randint(0, 5, (3, 4, 4))
    weight = torch.randn(2, 3, 4, 4)
    found = [look(table, place) for look in (embedded, look_up)]
    gradients = [torch.autograd.grad((values * weight).sum(), table)[0] for values in found]
    assert torch.equal(found[0], table[:, place])
    assert torch.equal(found[1], table[:, place])
    torch.testing.assert_close(*gradients)
