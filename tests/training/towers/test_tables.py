"""The learned tables of a step: read once, and written once, whole or divided by TorchRec."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from step_parts import assert_same_step, gradients_of, tiny_model, tiny_windows

from recsys.config import TablesConfig, TrainConfig
from recsys.models import Part
from training.ranks import process_group_of_one
from training.towers.ema import TableAverage, WeightAverage
from training.towers.tables import DividedTables, ShardGradient, StepRows, WholeTables, is_of_tables
from training.towers.train_step import TrainStep
from training.towers.trainer import update

ROWS = torch.tensor([2, 3, 5, 8, 13, 21])
RATE = 0.5
ID_TABLE = "item_id.collection.embeddings.item_id.weight"


@pytest.fixture
def divided() -> Iterator[DividedTables]:
    """The tables of a tiny model in a group of one process."""
    with warnings.catch_warnings(), process_group_of_one():
        yield DividedTables(tiny_model(), TablesConfig(learning_rate=RATE), decay=0.9)


def tables_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in model.state_dict().items() if is_of_tables(name)}


def test_divided_tables_start_with_the_weights_of_the_model(divided: DividedTables) -> None:
    plain = tiny_model()
    read, expected = divided.read(ROWS), plain.read_tables(ROWS)
    for one, other in zip(read.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(one, other)
    divided.fill()
    for name, tensor in tables_of(plain).items():
        assert torch.equal(divided.sharded.model.state_dict()[name], tensor)


def test_an_update_is_that_of_rowwise_adagrad_and_leaves_other_rows_alone(divided: DividedTables) -> None:
    """moment += mean(g^2), weight -= rate * g / (sqrt(moment) + eps), twice."""
    gradient = torch.randn(len(ROWS), 16, generator=torch.Generator().manual_seed(0))
    expected, moment = tables_of(tiny_model())[ID_TABLE], torch.zeros(len(ROWS), 1)
    divided.set_rate(1.0)
    for scale in (1.0, 0.25):
        read = divided.read(ROWS)
        zeros = [torch.zeros_like(each) for each in read.tensors()[1:]]
        divided.receive(read, [gradient, *zeros])
        assert divided.squared_norm() == pytest.approx(float(gradient.square().sum()))
        divided.update(torch.tensor(scale))
        moment += (scale * gradient).square().mean(1, keepdim=True)
        expected[ROWS] -= RATE * scale * gradient / moment.sqrt()
    divided.fill()
    torch.testing.assert_close(divided.sharded.model.state_dict()[ID_TABLE], expected)


def test_state_goes_into_other_tables_with_moments_and_average(divided: DividedTables) -> None:
    def step(tables: DividedTables, seed: int) -> None:
        tables.set_rate(1.0)
        read = tables.read(ROWS)
        draw = torch.Generator().manual_seed(seed)
        tables.receive(read, [torch.randn(each.shape, generator=draw) for each in read.tensors()])
        tables.update(torch.tensor(1.0))

    step(divided, 0)
    state = divided.state_dict()
    other = DividedTables(tiny_model(), TablesConfig(learning_rate=RATE), decay=0.9)
    other.load_state_dict(state)
    for tables in (divided, other):
        step(tables, 1)
        tables.exchange_average()
        tables.fill()
    found, expected = (tables_of(tables.sharded.model) for tables in (other, divided))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)


def test_a_step_over_divided_tables_has_the_gradients_of_one_over_whole_tables(
    divided: DividedTables,
) -> None:
    """The factor of clipping, too, where no two items share a row, as they share the rows of a category."""
    config = TrainConfig(precision="float32", sampled_above=5, num_negatives=8)
    models, found = [tiny_model(modalities=("text", "image")) for _ in range(2)], []
    for model, tables in zip(models, (DividedTables(models[0], TablesConfig()), None), strict=True):
        torch.manual_seed(1)
        step = TrainStep(model, config, num_shards=2, tables=tables)
        loss = float(step.backward(tiny_windows()))
        dense = {name: each for name, each in gradients_of(model).items() if not is_of_tables(name)}
        found.append((loss, dense, float(step.clip(1e-3))))
    assert_same_step(found[0][:2], found[1][:2])
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-4)


def test_a_step_changes_the_rows_that_it_reads_and_no_other(divided: DividedTables) -> None:
    model = divided.sharded.model
    config = TrainConfig(precision="float32", sampled_above=5, num_negatives=2, auxiliary={"num_items": 2})
    dense = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = tables_of(tiny_model())[ID_TABLE]
    step = TrainStep(model, config, num_shards=1, tables=divided)
    update(step, tiny_windows()[:1], torch.optim.SGD(dense, lr=0.1), 1.0)
    divided.fill()
    changed = (model.state_dict()[ID_TABLE] != before).any(1).nonzero()[:, 0]
    assert set(changed.tolist()) <= set(divided.row_N.tolist()) | {1}
    assert 0 < len(changed) < len(before) / 2


def test_gradients_of_shards_that_read_one_row_are_summed() -> None:
    model = tiny_model()
    tables = WholeTables(model)
    rows = StepRows(ROWS, tables.read(ROWS))
    first, second = rows.leaves(torch.tensor([3, 8])), rows.leaves(torch.tensor([8, 21]))
    assert first.place_M.tolist() == [1, 3]
    ones = [torch.ones(2, 16)] * 2
    shards = [
        ShardGradient(place_M=first.place_M, gradients=ones),
        ShardGradient(place_M=second.place_M, gradients=[None, ones[1]]),
    ]
    of_ids, of_genres = rows.sum_gradients(shards)
    assert of_ids[:, 0].tolist() == [0, 1, 0, 1, 0, 0]
    assert of_genres[:, 0].tolist() == [0, 1, 0, 2, 0, 1]


def test_an_average_of_changed_rows_is_the_average_of_every_step() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(6, 3, generator=draw))
    whole = WeightAverage([weight], 0.8)
    part = Part(name="table", start=10, weight_SD=weight.data, moment_S=torch.zeros(6))
    lazy = TableAverage([part], 0.8)
    for number in range(12):
        rows = torch.randperm(6, generator=draw)[:2].sort().values
        lazy.before_change({"table": torch.cat([torch.tensor([3]), rows + 10, torch.tensor([16])])})
        with torch.no_grad():
            weight[rows] += torch.randn(2, 3, generator=draw)
        whole.update()
        lazy.update()
        if number % 5 == 4:
            own = weight.detach().clone()
            lazy.exchange()
            torch.testing.assert_close(weight.detach(), whole.average[0])
            lazy.exchange()
            assert torch.equal(weight.detach(), own)
    assert lazy.num_updates == 12
