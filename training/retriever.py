"""Training of the towers: next-item prediction over the catalogue, stopped early on validation.

Legend: B windows, L events, P predictions, N items that may be predicted, D width.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recsys.batches import ItemFeatures, SequenceSchema
from recsys.config import ModelConfig, TrainConfig
from recsys.ids import NUM_RESERVED
from recsys.losses import chunked_cross_entropy, sampled_cross_entropy
from recsys.models.retriever import Retriever, sequence_tensors
from recsys.progress import Progress, silent
from training.checkpoint import TrainingState, load_state, save_state
from training.windows import Sequence, Window, WindowSampler

logger = logging.getLogger(__name__)
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class FittedRetriever:
    model: Retriever
    best_epoch: int  # epochs that the kept parameters were trained for
    best_score: float  # validation NDCG@10, NaN without validation
    curve: list[dict[str, float]]  # an entry an epoch


def fit_retriever(
    features: ItemFeatures,
    schema: SequenceSchema,
    sequences: Mapping[str, Sequence],
    *,
    model_config: ModelConfig,
    config: TrainConfig,
    validate: Callable[[Retriever], float] | None = None,
    epochs: int | None = None,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    progress: Progress = silent,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> FittedRetriever:
    """Train both towers on `sequences`; with `validate`, keep the best epoch and stop when it stays away.

    `epochs` overrides the configured number (a refit). A `checkpoint` of the same `fingerprint` goes on
    where it stopped. Raises `FloatingPointError` if a loss or a parameter is not finite.
    """
    torch.manual_seed(config.seed)
    num_epochs = epochs or config.epochs
    model = Retriever(features, schema, model_config).to(config.device)
    tokens = _batch_tokens(sequences, config)
    sampler = WindowSampler(sequences, max_length=schema.max_length, batch_tokens=tokens, seed=config.seed)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.98)
    )
    total_steps = num_epochs * len(sampler.epoch(0))  # about: epochs cut histories at other places
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(total_steps, config.warmup_fraction))
    state = load_state(checkpoint, fingerprint, model, optimizer, scheduler) or TrainingState()
    step = _Step(model, config)
    while state.epoch < num_epochs and not _has_stalled(state, config, validate):
        losses = []
        model.train()
        for windows in sampler.epoch(state.epoch):
            losses.append(_update(step, windows, optimizer))
            scheduler.step()
            done = scheduler.last_epoch
            progress("train", done, max(total_steps, done), _note(state, losses))
        state.epoch += 1
        entry = {"loss": float(np.mean(losses))}
        if validate is not None:
            entry["validation_ndcg_at_10"] = validate(model)
        state.record(entry, model)
        if on_epoch is not None:
            on_epoch(state.epoch, entry)
        save_state(checkpoint, fingerprint, state, model, optimizer, scheduler)
    if state.best_parameters is not None:
        model.load_state_dict(state.best_parameters)
    _reject_not_finite(model)
    model.eval()
    return FittedRetriever(
        model=model,
        best_epoch=state.best_epoch or state.epoch,
        best_score=state.best_score,
        curve=state.curve,
    )


def _batch_tokens(sequences: Mapping[str, Sequence], config: TrainConfig) -> int:
    num_events = sum(len(sequence.target) for sequence in sequences.values())
    return max(1, min(config.batch_tokens, num_events // config.steps_per_epoch))


def _has_stalled(state: TrainingState, config: TrainConfig, validate: object) -> bool:
    return validate is not None and state.epoch - state.best_epoch >= config.patience


def _note(state: TrainingState, losses: list[float]) -> str:
    best = "" if math.isnan(state.best_score) else f", best NDCG@10 {state.best_score:.4f}"
    return f"epoch {state.epoch + 1}, loss {losses[-1]:.3f}{best}"


def _update(step: "_Step", windows: list[Window], optimizer: torch.optim.Optimizer) -> float:
    loss = step.loss(windows)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"the training loss is {value}; lower train.learning_rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(step.model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    return value


class _Step:
    """The loss of one batch of windows, by full or by sampled softmax."""

    def __init__(self, model: Retriever, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.trained_rows = torch.from_numpy(np.flatnonzero(model.features.trained))
        self.dtype = _dtype(config)
        self.is_sampled = len(self.trained_rows) > config.sampled_above
        popularity = torch.from_numpy(model.features.popularity)[self.trained_rows] + 1.0
        self.negative_rate = popularity / popularity.sum()
        self.log_q_N = torch.zeros(model.features.size)  # log of the times that an item is drawn a step
        self.log_q_N[self.trained_rows] = torch.log(self.negative_rate * config.num_negatives)

    def loss(self, windows: list[Window]) -> Tensor:
        model = self.model
        item_BL, inputs, _ = sequence_tensors([w.history for w in windows], model.schema, model.device)
        negatives = self._negatives() if self.is_sampled else None
        rows = self.trained_rows if negatives is None else self._needed_rows(item_BL, negatives)
        with self.autocast():
            vector_ND = model.embed_items(rows).vector_ND
        place = torch.full((model.features.size,), len(rows))
        place[rows] = torch.arange(len(rows))
        # One row of zeros at the end stands for padding and for whatever is not embedded.
        padded_ND = torch.cat([vector_ND, vector_ND.new_zeros(1, vector_ND.shape[1])])
        with self.autocast():
            state_BPD = model.user_tower.states(padded_ND[place[item_BL].to(model.device)], inputs)
        where = _target_mask(windows, item_BL.shape[1])
        state_PD = state_BPD[:, :-1][where.to(model.device)] / model.temperature
        row_P = item_BL[where]
        if negatives is not None:
            return self._sampled_loss(state_PD, vector_ND, place, row_P, negatives)
        return chunked_cross_entropy(
            state_PD,
            vector_ND.to(self.dtype),
            place[row_P].to(model.device),
            temperature=1.0,
            chunk=self.config.loss_chunk,
        )

    def autocast(self) -> torch.autocast:
        """Matrix products in bfloat16 where that was chosen."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def _negatives(self) -> Tensor:
        picked = torch.multinomial(self.negative_rate, self.config.num_negatives, replacement=True)
        return self.trained_rows[picked]

    def _needed_rows(self, item_BL: Tensor, negatives: Tensor) -> Tensor:
        rows = torch.unique(torch.cat([item_BL.flatten(), negatives]))
        return rows[rows >= NUM_RESERVED]

    def _sampled_loss(
        self, state_PD: Tensor, vector_ND: Tensor, place_N: Tensor, row_P: Tensor, negative_J: Tensor
    ) -> Tensor:
        device = state_PD.device
        return sampled_cross_entropy(
            state_PD,
            vector_ND[place_N[row_P].to(device)],
            vector_ND[place_N[negative_J].to(device)],
            target_id_P=row_P.to(device),
            negative_id_J=negative_J.to(device),
            target_log_q_P=self.log_q_N[row_P].to(device),
            negative_log_q_J=self.log_q_N[negative_J].to(device),
            temperature=1.0,
        )


def _dtype(config: TrainConfig) -> torch.dtype:
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


def _target_mask(windows: list[Window], width: int) -> Tensor:
    """Which events are predicted. Shape [B, L]."""
    mask = np.zeros((len(windows), width), np.bool_)
    for row, window in enumerate(windows):
        mask[row, : len(window.target)] = window.target
    return torch.from_numpy(mask)


def _schedule(total_steps: int, warmup_fraction: float) -> Callable[[int], float]:
    """Linear warm-up, then a cosine to 2% of the peak."""
    warmup = max(1, round(total_steps * warmup_fraction))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * done))

    return factor


def _parameter_groups(model: Retriever, weight_decay: float) -> list[dict[str, object]]:
    """Decay for matrices; none for biases, norms and embedding tables' rows seen seldom."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _reject_not_finite(model: Retriever) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise FloatingPointError(f"parameter {name} is not finite; lower train.learning_rate")
