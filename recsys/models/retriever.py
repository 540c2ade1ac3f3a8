"""Both towers and their learned tables as one module, over the features of one catalogue.

Legend: N items, M width of a modality, T tokens, C values of a category field, D width, B users, L events.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recsys.arrays import Ints
from recsys.config import TEMPERATURE_RANGE, ItemTowerConfig, ModelConfig
from recsys.errors import ConfigError, did_you_mean
from recsys.history import History, SequenceSchema, collate
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays, ItemFeatures
from recsys.models.cold_start_head import ColdStartHead, replace_cold
from recsys.models.devices import to_device
from recsys.models.dropout import current_generator
from recsys.models.embeddings import CategoryEmbedding, ItemIdEmbedding, TableVectors
from recsys.models.item_tower import (
    ItemInputs,
    ItemOutput,
    ItemTower,
    ItemTowerSpec,
    MappedVectors,
    Standardise,
)
from recsys.models.user_tower import UserTower

EMBED_ROWS = 4096  # items embedded at once outside training
CATEGORIES = "categories"  # means all category fields in `model.item.modalities`


def tower_spec(features: ItemFeatures, config: ModelConfig) -> ItemTowerSpec:
    """Names and sizes of the inputs of the item tower.

    Raises `ConfigError` where `model.item.modalities` names a modality or field that the items do not have.
    """
    dense, fields = _read_content(features, config.item)
    return ItemTowerSpec(
        dim=config.dim,
        dense_dims={name: features.dense[name].shape[1] for name in dense},
        category_sizes={name: features.category_ids[name].size for name in fields},
        category_widths={name: features.categories[name].shape[1] for name in fields},
        num_items=features.size,
        has_id=config.item.use_id or not config.item.use_content,
    )


def _read_content(features: ItemFeatures, config: ItemTowerConfig) -> tuple[list[str], list[str]]:
    """Names of the modality vectors and of the category fields that the item tower reads."""
    if not config.use_content:
        return [], []
    dense, fields, chosen = list(features.dense), list(features.categories), config.modalities
    if chosen is None:
        return dense, fields
    unknown = [name for name in chosen if name not in (*dense, *fields, CATEGORIES)]
    if unknown:
        raise ConfigError(
            f"model.item.modalities: the items have no {unknown[0]!r}; "
            f"{did_you_mean(unknown[0], [*dense, *fields, CATEGORIES])}"
        )
    return (
        [name for name in dense if name in chosen],
        [name for name in fields if name in chosen or CATEGORIES in chosen],
    )


class Retriever(nn.Module):
    """Item tower, user tower, id and category tables."""

    def __init__(self, features: ItemFeatures, schema: SequenceSchema, config: ModelConfig) -> None:
        super().__init__()
        self.spec, self.schema, self.config = tower_spec(features, config), schema, config
        self.item_tower = ItemTower(self.spec, config.item)
        self.user_tower = UserTower(dim=config.dim, config=config.user, schema=schema)
        self.item_id = ItemIdEmbedding(num_items=features.size, dim=config.dim) if self.spec.has_id else None
        sizes = self.spec.category_sizes
        self.category = CategoryEmbedding(sizes=sizes, dim=config.dim) if sizes else None
        log_temperature = torch.tensor(math.log(config.temperature))
        self.log_temperature = nn.Parameter(log_temperature, requires_grad=config.learn_temperature)
        # None: the item tower embeds cold items as well.
        self.cold_start_head: ColdStartHead | None = None
        self.recent_popularity: npt.NDArray[np.float32] | None = None  # [N], of `ItemArrays`
        self.scale = nn.ModuleDict({name: Standardise(width) for name, width in self.spec.dense_dims.items()})
        self._fit_scales(features)
        self.set_features(features)

    def set_features(self, features: ItemFeatures) -> None:
        """Read items from `features` from now on; its widths must equal those of the tower.

        Vectors in a memory-mapped array (`numpy.memmap`) stay in their file.
        """
        self.features = features
        self.id_row_N = torch.from_numpy(features.id_rows())
        self.trained_N = torch.from_numpy(features.trained)
        # Standardised once: the vectors are frozen.
        self.dense = {name: self._standardised(name, features.dense[name]) for name in self.scale}
        self.present = {name: torch.from_numpy(features.present[name]) for name in self.spec.dense_dims}
        self.as_cold = {
            name: (self._standardised(name, array), torch.from_numpy(features.present_as_cold[name]))
            for name, array in features.dense_as_cold.items()
            if name in self.scale
        }
        self.category_ids = {
            name: torch.from_numpy(features.categories[name]) for name in self.spec.category_sizes
        }
        self.has_content_N = self._has_content()

    def _standardised(self, name: str, array: npt.NDArray[Any]) -> Tensor | MappedVectors:
        scale = self.scale[name]
        assert isinstance(scale, Standardise)
        if isinstance(array, np.memmap):
            return MappedVectors(array, scale)
        standardised: Tensor = scale(torch.from_numpy(array))
        return standardised

    @property
    def features_bytes(self) -> int:
        """Memory of the modalities' vectors."""
        tables = [*self.dense.values(), *(vector_NM for vector_NM, _ in self.as_cold.values())]
        return sum(table.nbytes for table in tables)

    def place_features(self, device: torch.device) -> None:
        """Keep the modalities' vectors on `device`. From host memory, rows are copied when they are read."""
        self.dense = {name: table.to(device) for name, table in self.dense.items()}
        self.as_cold = {
            name: (vector_NM.to(device), has_N) for name, (vector_NM, has_N) in self.as_cold.items()
        }

    def _has_content(self) -> Tensor:
        """Items with any content when they are embedded as cold items. Shape [N]."""
        present = self.present | {name: has_N for name, (_, has_N) in self.as_cold.items()}
        fields = [(ids_NC > 0).any(1) for ids_NC in self.category_ids.values()]
        nothing_N = torch.zeros(self.features.size, dtype=torch.bool)
        return torch.stack([nothing_N, *present.values(), *fields]).any(0)

    def _fit_scales(self, features: ItemFeatures) -> None:
        for name, scale in self.scale.items():
            assert isinstance(scale, Standardise)
            scale.fit_rows(features.dense[name], np.flatnonzero(features.trained & features.present[name]))

    @property
    def temperature(self) -> Tensor:
        """The divisor of the cosines, clipped to `TEMPERATURE_RANGE`. A scalar."""
        return self.log_temperature.exp().clamp(*TEMPERATURE_RANGE)

    @property
    def device(self) -> torch.device:
        return self.user_tower.start_D.device

    def table_ids(self, row_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The places of the catalogue rows `row_N` in the tables: rows of ids [N], ids of each field [N, C].

        Rows of the id table are on the model's device, ids of the fields in host memory.
        """
        fields = {name: array[row_N] for name, array in self.category_ids.items()}
        return self._take(self.id_row_N, row_N), fields

    def read_tables(self, row_N: Tensor) -> TableVectors:
        """The vectors of the catalogue rows `row_N` in the learned tables."""
        id_row_N, ids = self.table_ids(row_N)
        return TableVectors(
            identity_ND=None if self.item_id is None else self.item_id(id_row_N),
            category={} if self.category is None else self.category(ids, self.device),
        )

    def item_inputs(
        self, row_N: Tensor, *, as_cold: bool = False, tables: TableVectors | None = None
    ) -> ItemInputs:
        """Inputs of the item tower for the catalogue rows `row_N`, which are in host memory.

        With `as_cold`, every item is read as a cold item: without its id, and with the reviews of
        `ItemFeatures.dense_as_cold`. `tables`, where given, are the vectors of the rows in the tables.
        """
        warm_N = self._take(self.trained_N, row_N) & (not as_cold)
        if self.training:
            warm_N &= ~self._sampled_as_cold(row_N)
        dense, ids = self.content(row_N, warm_N)
        read = self.read_tables(row_N) if tables is None else tables
        category = {name: (read.category[name], (ids[name] > 0).any(1)) for name in ids}
        identity = None if read.identity_ND is None else (read.identity_ND, warm_N)
        return ItemInputs(dense=dense, category=category, identity=identity, warm=warm_N, values=ids)

    def embed_items(self, row_N: Tensor, *, as_cold: bool = False) -> ItemOutput:
        """The item tower's output for catalogue rows `row_N`.

        Outside of training, the vector of a cold item comes from the cold-start head if there is one.
        """
        return self.embed_inputs(self.item_inputs(row_N, as_cold=as_cold))

    def embed_inputs(self, inputs: ItemInputs) -> ItemOutput:
        """The output of `embed_items` for `inputs` of `item_inputs`."""
        output: ItemOutput = self.item_tower(inputs.dense, inputs.category, inputs.identity)
        if self.cold_start_head is not None and not self.training:
            cold_ND = self.cold_start_head(inputs.dense, inputs.values, output.vector_ND)
            return output._replace(vector_ND=replace_cold(output.vector_ND, cold_ND, inputs.warm))
        return output

    def _sampled_as_cold(self, row_N: Tensor) -> Tensor:
        """Items that this training step reads as cold items, sampled at the rate `id_dropout`. Shape [N]."""
        uniform_N = torch.rand(len(row_N), generator=current_generator(), device=self.device)
        return (uniform_N < self.config.item.id_dropout) & self._take(self.has_content_N, row_N)

    def content(
        self, row_N: Tensor, warm_N: Tensor
    ) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
        """Standardised vectors with their presence, and ids of the category fields, of catalogue rows.

        Items with a false `warm_N` have the review vectors of `ItemFeatures.dense_as_cold`.
        """
        placed_N = to_device(row_N, self.device)  # for the tables on the device
        warm_N = to_device(warm_N, self.device)
        dense = {
            name: (self._take(array, row_N, placed_N), self._take(self.present[name], row_N))
            for name, array in self.dense.items()
        }
        for name, (array, present) in self.as_cold.items():
            vector_NM, has_N = dense[name]
            cold_NM, has_cold_N = self._take(array, row_N, placed_N), self._take(present, row_N)
            dense[name] = (
                torch.where(warm_N.unsqueeze(-1), vector_NM, cold_NM),
                torch.where(warm_N, has_N, has_cold_N),
            )
        return dense, {name: self._take(array, row_N) for name, array in self.category_ids.items()}

    def _take(self, table: Tensor | MappedVectors, row_N: Tensor, placed_N: Tensor | None = None) -> Tensor:
        """Rows of `table` on the model's device; `placed_N` are the same rows there."""
        if placed_N is not None and table.device == placed_N.device:
            return table[placed_N]
        return to_device(table[row_N], self.device)

    @torch.no_grad()
    def item_arrays(
        self,
        *,
        as_cold: bool = False,
        instead: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        values: Mapping[str, Tensor] | None = None,
    ) -> ItemArrays:
        """Vectors and tokens of the whole catalogue, in evaluation mode; `as_cold` as in `item_inputs`.

        `instead` replaces inputs: token name -> vectors [N, .] and presence [N]. `values` has the ids [N, C]
        of category fields in `instead`; the ids of a field that it lacks are zeros.
        """
        was_training = self.training
        self.eval()
        outputs: list[ItemOutput] = []
        for rows in torch.arange(self.features.size).split(EMBED_ROWS):
            inputs = self.item_inputs(rows, as_cold=as_cold)
            replaced = {
                name: (vector[rows].to(self.device), has[rows].to(self.device))
                for name, (vector, has) in (instead or {}).items()
            }
            ids = {name: array[rows].to(self.device) for name, array in (values or {}).items()}
            outputs.append(self.embed_inputs(inputs.replaced(replaced, ids)))
        self.train(was_training)
        vector_ND = torch.cat([output.vector_ND for output in outputs]).float().cpu().numpy()
        mask_NT = torch.cat([output.mask_NT for output in outputs]).cpu().numpy()
        token_NTD = torch.cat([output.token_NTD.half() for output in outputs]).cpu().numpy()
        vector_ND[:NUM_RESERVED], mask_NT[:NUM_RESERVED] = 0.0, False
        token_NTD[:NUM_RESERVED] = 0.0
        return ItemArrays(
            vectors=vector_ND,
            tokens=token_NTD,
            token_mask=mask_NT,
            trained=self.features.trained,
            popularity=self.features.popularity,
            recent_popularity=self.recent_popularity,
        )

    @torch.no_grad()
    def embed_users(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """User vectors [B, D] from arrays; the callable that `Recommender` takes."""
        was_training = self.training
        self.eval()
        tensors = {
            name: torch.from_numpy(np.asarray(array)).to(self.device) for name, array in inputs.items()
        }
        vector_BD = self.user_tower(tensors["event_vector"], tensors, tensors["length"])
        self.train(was_training)
        result: npt.NDArray[np.float32] = vector_BD.float().cpu().numpy()
        return result


def sequence_tensors(
    histories: Sequence[History], schema: SequenceSchema, device: torch.device
) -> tuple[Tensor, dict[str, Tensor], Ints]:
    """Items [B, L] and the user tower's other inputs as tensors, and the lengths [B]."""
    batch = collate(histories, schema)
    inputs = {name: to_device(torch.from_numpy(array), device) for name, array in batch.inputs.items()}
    return torch.from_numpy(batch.item), inputs, batch.length
