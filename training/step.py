"""Loss and gradients of one batch of windows, a shard a core.

On a CPU one thread a shard beats several threads an operation: the work between matrix products is bound
by memory and hardly splits. The catalogue is embedded in shards of its rows; its vectors are then the
leaves of as many shards of windows; what these send back flows through the item tower, shard by shard.
Gradients are summed in the shards' order and every shard draws its dropout from a stream of its own, so
that a seed and a number of shards fix the result.

Legend: B windows, L events, P predictions, N items that may be predicted, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from recsys.config import TrainConfig
from recsys.ids import NUM_RESERVED
from recsys.losses import chunked_cross_entropy, sampled_cross_entropy
from recsys.models.dropout import drawing_from
from recsys.models.retriever import Retriever, sequence_tensors
from training.windows import Window

Gradients = Sequence[Tensor | None]
T = TypeVar("T")


class Step:
    """By full or by sampled softmax; `num_shards` of None takes as many as torch has threads."""

    def __init__(self, model: Retriever, config: TrainConfig, *, num_shards: int | None = None) -> None:
        self.model, self.config = model, config
        self.trained_rows = torch.from_numpy(np.flatnonzero(model.features.trained))
        self.dtype = choose_dtype(config)
        self.is_sampled = len(self.trained_rows) > config.sampled_above
        popularity = torch.from_numpy(model.features.popularity)[self.trained_rows] + 1.0
        self.negative_rate = popularity / popularity.sum()
        self.log_q_N = torch.zeros(model.features.size)  # log of the times that an item is drawn a step
        self.log_q_N[self.trained_rows] = torch.log(self.negative_rate * config.num_negatives)
        on_cpu = model.device.type == "cpu"
        self.num_shards = num_shards or (torch.get_num_threads() if on_cpu else 1)
        self._pool = ThreadPoolExecutor(self.num_shards) if self.num_shards > 1 else None
        # Where sampled, the tables are large, and so is a dense gradient of them: one of it is enough.
        self._num_item_shards = 1 if self.is_sampled else self.num_shards
        self._item_parameters = _trainable(
            *(module for name, module in model.named_children() if name != "user_tower")
        )
        learns_temperature = model.log_temperature.requires_grad
        self._user_parameters = [
            *_trainable(model.user_tower),
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

    def backward(self, windows: list[Window]) -> float:
        """Set the gradient of every parameter to that of the mean loss, and return the loss."""
        negatives = self._negatives() if self.is_sampled else None
        shards = [part for at in range(self.num_shards) if (part := windows[at :: self.num_shards])]
        rows = self._rows(windows, negatives)
        place_N = torch.full((self.model.features.size,), len(rows))
        place_N[rows] = torch.arange(len(rows))
        seeds = torch.randint(2**62, (self._num_item_shards + len(shards),)).tolist()
        item_seeds, user_seeds = seeds[: self._num_item_shards], seeds[self._num_item_shards :]

        row_shards = rows.tensor_split(self._num_item_shards)
        embedded = self._each(self._embed, list(zip(row_shards, item_seeds, strict=True)))
        # One row of zeros at the end stands for padding and for whatever is not embedded.
        width = embedded[0].shape[1]
        whole_ND = torch.cat([*(part.detach() for part in embedded), embedded[0].new_zeros(1, width)])
        num_targets = sum(int(window.target.sum()) for window in windows)
        read = self._each(
            self._read,
            [
                (part, whole_ND, place_N, negatives, num_targets, seed)
                for part, seed in zip(shards, user_seeds, strict=True)
            ],
        )
        _set_gradients(self._user_parameters, [gradients for _, gradients, _ in read])
        grad_ND = _sum([gradient for _, _, gradient in read])
        assert grad_ND is not None
        parts = grad_ND[:-1].tensor_split(self._num_item_shards)
        sent_back = self._each(self._send_back, list(zip(embedded, parts, strict=True)))
        _set_gradients(self._item_parameters, sent_back)
        return float(sum(loss for loss, _, _ in read))

    def _each(self, work: Callable[..., T], tasks: Sequence[tuple[object, ...]]) -> list[T]:
        if self._pool is None or len(tasks) == 1:
            return [work(*task) for task in tasks]
        return [future.result() for future in [self._pool.submit(work, *task) for task in tasks]]

    def _embed(self, rows: Tensor, seed: int) -> Tensor:
        with self._stream(seed), self.autocast():
            return self.model.embed_items(rows).vector_ND

    def _read(
        self,
        windows: list[Window],
        whole_ND: Tensor,
        place_N: Tensor,
        negatives: Tensor | None,
        num_targets: int,
        seed: int,
    ) -> tuple[float, Gradients, Tensor | None]:
        """This shard's part of the mean loss, and its gradients for the user tower and the items."""
        item_ND = whole_ND.detach().requires_grad_()
        with self._stream(seed):
            mean = self._loss(windows, item_ND, place_N, negatives)
        share = sum(int(window.target.sum()) for window in windows) / max(num_targets, 1)
        leaves = [*self._user_parameters, item_ND]
        loss = mean * share
        *gradients, items = torch.autograd.grad(loss, leaves, allow_unused=True)
        return float(loss.detach()), gradients, items

    def _loss(
        self, windows: list[Window], item_ND: Tensor, place_N: Tensor, negatives: Tensor | None
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

    def _send_back(self, embedded_ND: Tensor, grad_ND: Tensor) -> Gradients:
        return torch.autograd.grad(
            embedded_ND, self._item_parameters, grad_outputs=grad_ND.to(embedded_ND.dtype), allow_unused=True
        )

    @contextmanager
    def _stream(self, seed: int) -> Iterator[None]:
        with drawing_from(torch.Generator(self.model.device).manual_seed(seed)):
            yield

    def autocast(self) -> torch.autocast:
        """Matrix products in bfloat16 where that was chosen."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def _rows(self, windows: list[Window], negatives: Tensor | None) -> Tensor:
        """Catalogue rows that the step embeds: all trained ones, or those that it meets."""
        if negatives is None:
            return self.trained_rows
        items = [torch.from_numpy(window.history.item) for window in windows]
        rows = torch.unique(torch.cat([*items, negatives]))
        return rows[rows >= NUM_RESERVED]

    def _negatives(self) -> Tensor:
        picked = torch.multinomial(self.negative_rate, self.config.num_negatives, replacement=True)
        return self.trained_rows[picked]

    def _sampled_loss(
        self, state_PD: Tensor, item_ND: Tensor, place_N: Tensor, row_P: Tensor, negative_J: Tensor
    ) -> Tensor:
        device = state_PD.device
        return sampled_cross_entropy(
            state_PD,
            item_ND[place_N[row_P].to(device)],
            item_ND[place_N[negative_J].to(device)],
            target_id_P=row_P.to(device),
            negative_id_J=negative_J.to(device),
            target_log_q_P=self.log_q_N[row_P].to(device),
            negative_log_q_J=self.log_q_N[negative_J].to(device),
            temperature=1.0,
        )


def choose_dtype(config: TrainConfig) -> torch.dtype:
    """What matrix products are computed in."""
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    has_it = (
        config.device == "cuda"
        or torch.backends.cpu.get_cpu_capability().startswith("AMX")
        or _has_bfloat16()
    )
    return torch.bfloat16 if has_it else torch.float32


def _has_bfloat16() -> bool:
    supports: bool = torch.cpu._is_avx512_bf16_supported()
    return supports


def target_mask(windows: list[Window], width: int) -> Tensor:
    """Which events are predicted. Shape [B, L]."""
    mask = np.zeros((len(windows), width), np.bool_)
    for row, window in enumerate(windows):
        mask[row, : len(window.target)] = window.target
    return torch.from_numpy(mask)


def _trainable(*modules: nn.Module) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def _sum(tensors: Sequence[Tensor | None]) -> Tensor | None:
    total: Tensor | None = None
    for tensor in tensors:
        if tensor is not None:
            total = tensor if total is None else total + tensor
    return total


def _set_gradients(parameters: Sequence[nn.Parameter], shards: Sequence[Gradients]) -> None:
    for parameter, parts in zip(parameters, zip(*shards, strict=True), strict=True):
        parameter.grad = _sum(parts)
