"""The learned tables of a model divided among processes by TorchRec, and updated as gradients flow back.

TorchRec's planner places each table: as a whole on one process, or a part of its rows on each.
`DistributedModelParallel` exchanges ids and vectors, and updates the rows that were read in the backward pass
by row-wise Adagrad, so that neither time nor memory of a step grow with the tables. It does both at one
process, too. It needs a process group of torch.

Legend: N items, D width, S rows of the part of a table that this process holds.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torchrec.distributed.comm_ops import set_gradient_division
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embedding_types import EmbeddingComputeKernel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import KernelConfig, TopologyFactory, TrainerConfig
from torchrec.distributed.types import ShardingEnv, ShardingType

from recsys.models.embeddings import CategoryEmbedding, ItemIdEmbedding, TableVectors
from recsys.models.retriever import Retriever

EPSILON = 1e-8  # of Adagrad, beside the root of the summed squares
RESERVED = 0.15  # of the memory, which the planner leaves to the rest of the training
WEIGHT, MOMENT = "weight", "momentum1"


class _BagSharder(EmbeddingBagCollectionSharder):  # type: ignore[misc]
    """TorchRec offers no division by rows on a CPU, where gloo can do it as well."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return [ShardingType.TABLE_WISE.value, ShardingType.ROW_WISE.value]


@dataclass(frozen=True, kw_only=True)
class Part:
    """This process's part of a table; the tensors are the table's own memory."""

    name: str
    start: int  # first row
    weight_SD: Tensor
    moment_S: Tensor  # mean over D of the summed squares of the gradients

    def tensor(self, kind: str) -> Tensor:
        """The weights or the moments."""
        return self.weight_SD if kind == WEIGHT else self.moment_S


class ShardedTables:
    """Takes the tables of `model`, which has whole ones again after `fill`."""

    def __init__(self, model: Retriever, *, id_sharding: str, category_sharding: str) -> None:
        self.model = model
        modules = {"item_id": model.item_id, "category": model.category}
        self._module = nn.ModuleDict({name: each for name, each in modules.items() if each is not None})
        whole = {name: tensor.detach() for name, tensor in self._module.state_dict().items()}
        # The training loss is divided by the targets of all processes, so gradients are summed, not averaged.
        set_gradient_division(False)
        _silence_torchrec()
        with torch.random.fork_rng():  # the parts differ in size, and would draw more or fewer random numbers
            self._parallel = self._shard(id_sharding, category_sharding)
        self._sharded: dict[str, ShardedTensor] = dict(self._parallel.state_dict())
        self._parts = {part.name: part for part in self._find_parts()}
        self.load({WEIGHT: whole})
        self._leave_empty_tables()

    @property
    def plan(self) -> str:
        """The sharding plan as text: for each table the kind of division, the ranks and their rows."""
        return str(self._parallel.plan)

    @property
    def parts(self) -> Sequence[Part]:
        """This process's parts of the tables; none of a table that other processes hold."""
        return tuple(self._parts.values())

    def ids(self, row_N: Tensor) -> dict[str, Tensor]:
        """The rows of each table that the catalogue rows `row_N` read, ascending, none twice."""
        id_row_N, fields = self.model.table_ids(row_N)
        found = {"item_id.collection.embeddings.item_id.weight": torch.unique(id_row_N.cpu())}
        for field, ids_NC in fields.items():
            found[f"category.collection.embedding_bags.{field}.weight"] = torch.unique(ids_NC[ids_NC > 0])
        return {name: found[name] for name in self._sharded}

    def read(self, row_N: Tensor) -> TableVectors:
        """The vectors of this process's catalogue rows. All processes call it at once."""
        longest = torch.tensor(len(row_N))
        dist.all_reduce(longest, dist.ReduceOp.MAX)
        num_bags = max(int(longest), 1)  # TorchRec takes no empty batch, nor batches of different sizes
        id_row_N, ids = self.model.table_ids(row_N)
        item_id, category = (dict(self._module.items()).get(name) for name in _MODULES)
        return TableVectors(
            identity_ND=None if item_id is None else item_id(id_row_N, num_bags),
            category={} if category is None else category(ids, self.model.device, num_bags),
        )

    def set_learning_rate(self, rate: float) -> None:
        """The rate of updates by vectors that are read from now on; `read` passes it to the backward pass."""
        optimizer = self._parallel.fused_optimizer
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()  # hands the rate over and does nothing else

    def update(self, read: TableVectors, gradients: Sequence[Tensor]) -> None:
        """Flow the gradients of `read.tensors()` back, which updates the rows that any process has read."""
        torch.autograd.backward(read.tensors(), list(gradients))

    def whole(self) -> dict[str, dict[str, Tensor]]:
        """Weights and moments of whole tables by name on rank 0; none elsewhere. All processes call it."""
        found: dict[str, dict[str, Tensor]] = {WEIGHT: {}, MOMENT: {}}
        for name in self._sharded:
            for kind, of_kind in found.items():
                whole = self._gather(name, kind)
                if whole is not None:
                    of_kind[name] = whole
        return found

    def load(self, whole: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take this process's parts of whole tables, as `whole` returns them. Moments may be missing."""
        for kind, tensors in whole.items():
            for part in self.parts:
                own = part.tensor(kind)
                own.copy_(tensors[part.name][part.start : part.start + len(own)])

    def fill(self) -> None:
        """Give the model whole tables on rank 0. All processes call it, and again after each change."""
        tables = dict(_plain_weights(self.model))
        for name in self._sharded:
            # In a single process the model gets the memory of the tables.
            whole = self._parts[name].weight_SD if dist.get_world_size() == 1 else self._gather(name, WEIGHT)
            if whole is not None:
                module, key = tables[name]
                module.register_parameter(key, nn.Parameter(whole, requires_grad=False))

    def _gather(self, name: str, kind: str) -> Tensor | None:
        """One whole tensor on rank 0, None elsewhere."""
        metadata, rank = self._sharded[name].metadata(), dist.get_rank()
        num, width = metadata.size
        shape = (num, width) if kind == WEIGHT else (num,)
        whole = torch.empty(shape, device=self.model.device) if rank == 0 else None
        for shard in metadata.shards_metadata:
            assert shard.placement is not None
            holder, start, size = shard.placement.rank(), shard.shard_offsets[0], shard.shard_sizes[0]
            if not size:
                continue
            if whole is None:
                if holder == rank:
                    dist.send(self._parts[name].tensor(kind), 0)
            elif holder == 0:
                whole[start : start + size] = self._parts[name].tensor(kind)
            else:
                dist.recv(whole[start : start + size], holder)
        return whole

    def _shard(self, id_sharding: str, category_sharding: str) -> DistributedModelParallel:
        fused = {"optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD, "learning_rate": 0.0, "eps": EPSILON}
        sharders = [EmbeddingCollectionSharder(fused_params=fused), _BagSharder(fused_params=fused)]
        fields = () if self.model.category is None else self.model.category.fields
        kinds = {**dict.fromkeys(fields, category_sharding), "item_id": id_sharding}
        group, device = dist.group.WORLD, self.model.device
        assert group is not None
        planner = EmbeddingShardingPlanner(
            topology=_topology(device.type),
            storage_reservation=FixedPercentageStorageReservation(RESERVED),
            constraints={
                name: ParameterConstraints(
                    sharding_types=[kind], compute_kernels=[EmbeddingComputeKernel.FUSED.value]
                )
                for name, kind in kinds.items()
            },
        )
        return DistributedModelParallel(
            self._module,
            env=ShardingEnv.from_process_group(group),
            device=device,
            plan=planner.collective_plan(self._module, sharders, group),
            sharders=sharders,
        )

    def _find_parts(self) -> Iterator[Part]:
        """By rows or whole, a process has at most one part of a table."""
        state = self._parallel.fused_optimizer.state_dict()["state"]
        for name, sharded in self._sharded.items():
            for shard in sharded.local_shards():
                (moment,) = (each for key, each in state[name].items() if key.endswith(MOMENT))
                yield Part(
                    name=name,
                    start=shard.metadata.shard_offsets[0],
                    weight_SD=shard.tensor,
                    moment_S=moment.local_shards()[0].tensor,
                )

    def _leave_empty_tables(self) -> None:
        """The model's own tables, without memory until `fill`."""
        model, meta = self.model, torch.device("meta")
        if model.item_id is not None:
            model.item_id = ItemIdEmbedding(num_items=model.spec.num_items, dim=model.spec.dim, device=meta)
        if model.category is not None:
            sizes = model.spec.category_sizes
            model.category = CategoryEmbedding(sizes=sizes, dim=model.spec.dim, device=meta)
        for module in (model.item_id, model.category):
            if module is not None:
                module.requires_grad_(False)


def _silence_torchrec() -> None:
    """Hide warnings of torch about TorchRec's own calls, which no user can change."""
    warnings.filterwarnings("ignore", r"`torch.distributed.\w+_tensor` is deprecated", FutureWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


_MODULES = ("item_id", "category")


def _plain_weights(model: Retriever) -> Iterator[tuple[str, tuple[nn.Module, str]]]:
    """Every parameter of the model's own tables: its name among the tables, its module and key there."""
    for name in _MODULES:
        table = getattr(model, name)
        if table is not None:
            for path, _ in table.named_parameters():
                parent, _, key = path.rpartition(".")
                yield f"{name}.{path}", (table.get_submodule(parent), key)


def _topology(device: str) -> object:
    num, local = dist.get_world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    trainer = TrainerConfig(world_size=num, local_world_size=local, ddr_cap_bytes=memory // local)
    return TopologyFactory.create_topology(trainer, kernel_config=KernelConfig(compute_device=device))
