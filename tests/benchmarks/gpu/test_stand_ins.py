"""Stand-ins give what the packages give; a placeholder can be imported and not used."""

import importlib
import sys
from typing import Annotated, Any, Literal

import pytest
import torch
import torchrec
from torchrec.modules.embedding_configs import EmbeddingBagConfig, EmbeddingConfig, PoolingType

from benchmarks.gpu import stand_ins
from benchmarks.gpu.stand_ins import pydantic as records
from benchmarks.gpu.stand_ins import torchrec as tables


def collections(module: Any, bag: Any, table: Any, mean: Any) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    each = table(name="item", feature_names=["item"], num_embeddings=9, embedding_dim=4)
    bags = [
        bag(name=name, feature_names=[name], num_embeddings=7, embedding_dim=4, pooling=mean)
        for name in ("kind", "brand")
    ]
    return [module.EmbeddingCollection(tables=[each]), module.EmbeddingBagCollection(tables=bags)]


def jagged(module: Any, keys: list[str]) -> Any:
    """Two rows of each key: ids 1 and 3, and id 2; the second key's first row is empty."""
    if keys == ["item"]:
        return module.KeyedJaggedTensor(keys, torch.tensor([1, 3, 2]), lengths=torch.ones(3).int())
    lengths = torch.tensor([2, 1, 0, 1]).int()
    return module.KeyedJaggedTensor(keys, torch.tensor([1, 3, 2, 5]), lengths=lengths)


def test_tables_are_those_of_torchrec_in_names_values_and_gradients() -> None:
    real = collections(torchrec, EmbeddingBagConfig, EmbeddingConfig, PoolingType.MEAN)
    replaced = collections(tables, tables.EmbeddingBagConfig, tables.EmbeddingConfig, tables.PoolingType.MEAN)
    for one, other, keys in zip(real, replaced, (["item"], ["kind", "brand"]), strict=True):
        other.load_state_dict(one.state_dict())
        answers = [one(jagged(torchrec, keys)), other(jagged(tables, keys))]
        vectors = [
            torch.cat([answer[key].values() if keys == ["item"] else answer[key] for key in keys])
            for answer in answers
        ]
        torch.testing.assert_close(vectors[1], vectors[0])
        for vector in vectors:
            vector.square().sum().backward()
        for (name, one_weight), (_, other_weight) in zip(
            one.named_parameters(), other.named_parameters(), strict=True
        ):
            torch.testing.assert_close(other_weight.grad, one_weight.grad, msg=name)


class Inner(records.BaseModel):
    size: Annotated[int, records.Field(ge=1)] = 3
    kind: Literal["a", "b"] = "a"


class Limits(records.BaseModel):
    most: int = 7


class Both(Inner, Limits):
    least: int = 1


class Outer(records.BaseModel):
    model_config = records.ConfigDict(frozen=True)
    inner: Inner = Inner()
    parts: tuple[Inner, ...] = ()
    named: float = records.Field(gt=0)
    maybe: tuple[int, ...] | None = None
    made: dict[str, int] = records.Field(default_factory=dict)


def test_records_are_built_from_json_and_written_back() -> None:
    found = Outer.model_validate({"inner": {"size": 5}, "parts": [{"kind": "b"}], "named": 1.5, "maybe": [2]})
    assert found.inner == Inner(size=5)
    assert found.parts == (Inner(kind="b"),)
    assert (found.maybe, found.made) == ((2,), {})
    assert Outer.model_validate(found.model_dump()) == found
    assert found.model_copy(update={"named": 2.0}).named == 2.0


def test_records_have_the_fields_of_all_their_bases() -> None:
    assert Both(size=2).model_dump() == {"most": 7, "size": 2, "kind": "a", "least": 1}
    assert set(Limits.model_fields) == {"most"}


def test_records_refuse_unknown_names_missing_values_and_changes() -> None:
    with pytest.raises(records.ValidationError, match="has no"):
        Outer(named=1.0, other=2)
    with pytest.raises(records.ValidationError, match="needs named"):
        Outer()
    with pytest.raises(AttributeError, match="frozen"):
        Inner().size = 4


def test_a_placeholder_is_imported_and_its_use_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_ins, "PLACEHOLDERS", ("no_such_package",))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    assert stand_ins.provide() == {"no_such_package": "absent"}
    module = importlib.import_module("no_such_package.part")
    annotation = module.Table | None
    with pytest.raises(ModuleNotFoundError, match=r"no_such_package\.part\.Table\.read was called"):
        annotation.read("file")
    for name in [name for name in sys.modules if name.startswith("no_such_package")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_missing_part_of_an_installed_package_stays_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages look for optional parts of their own, and go on without them."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    stand_ins.provide()
    with pytest.raises(ModuleNotFoundError, match=r"scipy\.no_such_part"):
        importlib.import_module("scipy.no_such_part")


def test_what_is_installed_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    assert stand_ins.is_installed("numpy")
    assert not stand_ins.is_installed("no_such_package")
    assert "torchrec" not in stand_ins.provide()
