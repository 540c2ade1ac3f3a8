"""Loss and gradients of one batch of windows, a shard a core.

On a CPU one thread a shard beats several threads an operation: the work between matrix products is bound
by memory and hardly splits. The catalogue is embedded in shards of its rows; its vectors are then the
leaves of as many shards of windows; what these send back flows through the item tower, shard by shard.
Gradients are summed in the shards' order and every shard draws its dropout from a stream of its own, so
that a seed and a number of shards fix the result. What `train.auxiliary` adds stands in modules of its own:
losses on items alone go beside the shards, and against an adversary the step is taken a second time.

Legend: B windows, L events, P predictions, N items that may be predicted, D width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from recsys.config import TrainConfig
from recsys.ids import NUM_RESERVED
from recsys.models.dropout import drawing_from
from recsys.models.losses import chunked_cross_entropy, sampled_cross_entropy
from recsys.models.retriever import Retriever, sequence_tensors
from training.precision import choose_dtype
from training.sequences import Window, target_mask
from training.towers.adversarial import (
    Moved,
    is_adversarial,
    opened,
    perturbation,
)
from training.towers.hard_negatives import HardNegatives
from training.towers.item_losses import ItemLosses
from training.towers.negative_sampling import Negatives, NegativeSampler
from training.towers.shards import (
    Embedded,
    Gradients,
    Pass,
    Shards,
    set_gradients,
    summed,
    trainable,
)

T = TypeVar("T")


class Step:
    """By full or by sampled softmax; `num_shards` of None takes as many as torch has threads.

    Raises `ConfigError` for an option of `config` that has no meaning on this catalogue.
    """

    def __init__(
        self,
        model: Retriever,
        config: TrainConfig,
        *,
        num_shards: int | None = None,
        index_kind: str = "exact",
    ) -> None:
        self.model, self.config = model, config
        self.trained_rows = torch.from_numpy(np.flatnonzero(model.features.trained))
        self.dtype = choose_dtype(config)
        self.is_sampled = len(self.trained_rows) > config.sampled_above
        rows = self.trained_rows
        self.hard = HardNegatives.of(model, rows, config, is_sampled=self.is_sampled, index_kind=index_kind)
        self._sampler = NegativeSampler(model.features, rows, config.num_negatives, self.hard)
        self.item_losses = ItemLosses.of(model, config.auxiliary, rows)
        self.adversary = config.auxiliary.adversarial
        self._is_adversarial = is_adversarial(model, self.adversary.weight)
        on_cpu = model.device.type == "cpu"
        self.num_shards = num_shards or (torch.get_num_threads() if on_cpu else 1)
        self._pool = ThreadPoolExecutor(self.num_shards) if self.num_shards > 1 else None
        # Where sampled, the tables are large, and so is a dense gradient of them: one of it is enough.
        self._num_item_shards = 1 if self.is_sampled else self.num_shards
        self._item_parameters = trainable(
            *(module for name, module in model.named_children() if name != "user_tower")
        )
        learns_temperature = model.log_temperature.requires_grad
        self._user_parameters = [
            *trainable(model.user_tower),
            *([model.log_temperature] if learns_temperature else []),
        ]

    @contextmanager
    def one_core_a_shard(self) -> Iterator[None]:
        """While steps are taken an operation has one thread; what runs in between has all again."""
        before = torch.get_num_threads()
        if self._pool is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def start_epoch(self) -> None:
        """What an epoch makes anew: the index of hard negatives."""
        if self.hard is not None:
            self.hard.refresh()

    def backward(self, windows: list[Window]) -> float:
        """Set the gradient of every parameter to that of the loss, and return the loss.

        It is the mean over the targets, plus what `train.auxiliary` weighs in.
        """
        shards = self._shards(windows)
        beside = self._start_item_losses()
        passes = [self._pass(shards)]
        if self._is_adversarial:
            moved = [
                {name: perturbation(gradient, self.adversary.radius) for name, gradient in of_shard.items()}
                for of_shard in passes[0].of_content
            ]
            passes.append(self._pass(shards, moved, weight=self.adversary.weight))
        loss, of_items = beside()
        set_gradients(self._user_parameters, [shard for each in passes for shard in each.of_users])
        set_gradients(self._item_parameters, [shard for each in passes for shard in each.of_items] + of_items)
        return sum((each.loss for each in passes), loss)

    def _shards(self, windows: list[Window]) -> Shards:
        negatives = self._sampler.draw(windows) if self.is_sampled else None
        parts = [part for at in range(self.num_shards) if (part := windows[at :: self.num_shards])]
        rows = self._rows(windows, negatives)
        place_N = torch.full((self.model.features.size,), len(rows))
        place_N[rows] = torch.arange(len(rows))
        seeds = torch.randint(2**62, (self._num_item_shards + len(parts),)).tolist()
        return Shards(
            rows=rows.tensor_split(self._num_item_shards),
            windows=parts,
            row_seeds=seeds[: self._num_item_shards],
            window_seeds=seeds[self._num_item_shards :],
            place_N=place_N,
            negatives=negatives,
            num_targets=sum(int(window.target.sum()) for window in windows),
        )

    def _pass(self, shards: Shards, moved: Sequence[Moved] = (), *, weight: float = 1.0) -> Pass:
        """The mean loss times `weight`, with the modalities' vectors of each shard `moved`."""
        moves = moved or [{}] * len(shards.rows)
        embedded = self._each(self._embed, list(zip(shards.rows, shards.row_seeds, moves, strict=True)))
        # One row of zeros at the end stands for padding and for whatever is not embedded.
        vectors = [part.vector_ND for part in embedded]
        whole_ND = torch.cat(
            [*(part.detach() for part in vectors), vectors[0].new_zeros(1, vectors[0].shape[1])]
        )
        tasks = zip(shards.windows, shards.window_seeds, strict=True)
        read = self._each(self._read, [(part, seed, whole_ND, shards, weight) for part, seed in tasks])
        grad_ND = summed([gradient for _, _, gradient in read])
        assert grad_ND is not None
        parts = grad_ND[:-1].tensor_split(len(shards.rows))
        sent_back = self._each(self._send_back, list(zip(embedded, parts, strict=True)))
        return Pass(
            loss=float(sum(loss for loss, _, _ in read)),
            of_users=[gradients for _, gradients, _ in read],
            of_items=[gradients for gradients, _ in sent_back],
            of_content=[content for _, content in sent_back],
        )

    def _each(self, work: Callable[..., T], tasks: Sequence[tuple[object, ...]]) -> list[T]:
        if self._pool is None or len(tasks) == 1:
            return [work(*task) for task in tasks]
        return [future.result() for future in [self._pool.submit(work, *task) for task in tasks]]

    def _start(self, work: Callable[..., T], *task: object) -> Callable[[], T]:
        """Begin with it beside the shards; what comes back waits for the answer."""
        if self._pool is not None:
            return self._pool.submit(work, *task).result
        found = work(*task)
        return lambda: found

    def _start_item_losses(self) -> Callable[[], tuple[float, list[Gradients]]]:
        if self.item_losses is None:
            return lambda: (0.0, [])
        rows, seed = self.item_losses.draw(), int(torch.randint(2**62, ()))
        return self._start(self._item_loss, self.item_losses, rows, seed)

    def _item_loss(self, losses: ItemLosses, rows: Tensor, seed: int) -> tuple[float, list[Gradients]]:
        with self._stream(seed), self.autocast():
            loss = losses.loss(rows)
        gradients = torch.autograd.grad(loss, self._item_parameters, allow_unused=True)
        return float(loss.detach()), [gradients]

    def _embed(self, rows: Tensor, seed: int, moved: Moved) -> Embedded:
        with self._stream(seed), self.autocast():
            inputs = self.model.item_inputs(rows)
            if not self._is_adversarial:
                return Embedded(vector_ND=self.model.embed_inputs(inputs).vector_ND)
            inputs, content = opened(inputs, moved)
            return Embedded(vector_ND=self.model.embed_inputs(inputs).vector_ND, content=content)

    def _read(
        self, windows: list[Window], seed: int, whole_ND: Tensor, shards: Shards, weight: float
    ) -> tuple[float, Gradients, Tensor | None]:
        """This shard's part of the mean loss, and its gradients for the user tower and the items."""
        item_ND = whole_ND.detach().requires_grad_()
        with self._stream(seed):
            mean = self._loss(windows, item_ND, shards.place_N, shards.negatives)
        share = weight * sum(int(window.target.sum()) for window in windows) / max(shards.num_targets, 1)
        leaves = [*self._user_parameters, item_ND]
        loss = mean * share
        *gradients, items = torch.autograd.grad(loss, leaves, allow_unused=True)
        return float(loss.detach()), gradients, items

    def _loss(
        self, windows: list[Window], item_ND: Tensor, place_N: Tensor, negatives: Negatives | None
    ) -> Tensor:
        model = self.model
        item_BL, inputs, _ = sequence_tensors([w.history for w in windows], model.schema, model.device)
        with self.autocast():
            state_BPD = model.user_tower.states(item_ND[place_N[item_BL].to(model.device)], inputs)
        where = target_mask(windows, item_BL.shape[1])
        state_PD = state_BPD[:, :-1][where.to(model.device)] / model.temperature
        row_P = item_BL[where]
        if negatives is not None:
            return self._sampled_loss(state_PD, item_ND, place_N, row_P, negatives)
        return chunked_cross_entropy(
            state_PD,
            item_ND[:-1].to(self.dtype),
            place_N[row_P].to(model.device),
            temperature=1.0,
            chunk=self.config.loss_chunk,
        )

    def _send_back(self, embedded: Embedded, grad_ND: Tensor) -> tuple[Gradients, Mapping[str, Tensor]]:
        """The vectors' gradient as that of the items' parameters, and of their modalities' vectors."""
        vector_ND, content = embedded.vector_ND, embedded.content
        leaves = [*self._item_parameters, *content.values()]
        found = torch.autograd.grad(
            vector_ND, leaves, grad_outputs=grad_ND.to(vector_ND.dtype), allow_unused=True
        )
        num = len(self._item_parameters)
        return found[:num], dict(zip(content, found[num:], strict=True))

    @contextmanager
    def _stream(self, seed: int) -> Iterator[None]:
        with drawing_from(torch.Generator(self.model.device).manual_seed(seed)):
            yield

    def autocast(self) -> torch.autocast:
        """Matrix products in bfloat16 where that was chosen."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def _rows(self, windows: list[Window], negatives: Negatives | None) -> Tensor:
        """Catalogue rows that the step embeds: all trained ones, or those that it meets."""
        if negatives is None:
            return self.trained_rows
        items = [torch.from_numpy(window.history.item) for window in windows]
        rows = torch.unique(torch.cat([*items, negatives.row_J]))
        return rows[rows >= NUM_RESERVED]

    def _sampled_loss(
        self, state_PD: Tensor, item_ND: Tensor, place_N: Tensor, row_P: Tensor, negatives: Negatives
    ) -> Tensor:
        device, negative_J, log_q_N = state_PD.device, negatives.row_J, negatives.log_q_N
        return sampled_cross_entropy(
            state_PD,
            item_ND[place_N[row_P].to(device)].to(self.dtype),
            item_ND[place_N[negative_J].to(device)].to(self.dtype),
            target_id_P=row_P.to(device),
            negative_id_J=negative_J.to(device),
            target_log_q_P=log_q_N[row_P].to(device),
            negative_log_q_J=log_q_N[negative_J].to(device),
            temperature=1.0,
        )
