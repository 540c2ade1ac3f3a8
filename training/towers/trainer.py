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
from torch.optim.lr_scheduler import LambdaLR

from recsys.config import ModelConfig, TrainConfig
from recsys.history import SequenceSchema
from recsys.item_features import ItemFeatures
from recsys.models import Retriever
from recsys.progress import Progress, silent
from training.runtime import choose_device, fits_beside, tensor_float_32
from training.sequences import TrainingSequence, Window, WindowSampler
from training.towers.checkpoint import TrainingState, load_state, save_state
from training.towers.ema import WeightAverage, decay_of
from training.towers.step_audit import audit_step
from training.towers.train_step import TrainStep

logger = logging.getLogger(__name__)
READ_EVERY = 50  # steps on a GPU between two readings of the loss


@dataclass(frozen=True, kw_only=True)
class FittedRetriever:
    model: Retriever
    best_epoch: int  # epochs that the kept parameters were trained for
    best_score: float  # validation NDCG@10, NaN without validation
    curve: list[dict[str, float]]  # an entry an epoch


def fit_retriever(
    features: ItemFeatures,
    schema: SequenceSchema,
    sequences: Mapping[str, TrainingSequence],
    *,
    model_config: ModelConfig,
    config: TrainConfig,
    validate: Callable[[Retriever], float] | None = None,
    epochs: int | None = None,
    index_kind: str = "exact",
    checkpoint: Path | None = None,
    fingerprint: str = "",
    progress: Progress = silent,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> FittedRetriever:
    """Train both towers on `sequences`; with `validate`, keep the best epoch and stop early.

    `epochs` overrides the configured number. A `checkpoint` of the same
    `fingerprint` is resumed. `index_kind` is the index that hard negatives come from.
    Raises `FloatingPointError` if a loss or a parameter is not finite.
    """
    torch.manual_seed(config.seed)
    num_epochs = epochs or config.epochs
    model = place(Retriever(features, schema, model_config), config)
    tokens = _batch_tokens(sequences, config)
    sampler = WindowSampler(sequences, max_length=schema.max_length, batch_tokens=tokens, seed=config.seed)
    optimizer = make_optimizer(model, config)
    epoch_steps = len(sampler.epoch(0))  # approximately: epochs cut histories at other places
    total_steps = num_epochs * epoch_steps
    scheduler = LambdaLR(optimizer, _schedule(total_steps, config))
    average = WeightAverage(model, decay_of(config.average_epochs * epoch_steps))
    parts = (model, optimizer, scheduler, average)
    step = audit_step(TrainStep(model, config, index_kind=index_kind))
    state = load_state(checkpoint, fingerprint, *parts) or TrainingState()
    while state.epoch < num_epochs and not _has_stalled(state, config, validate):
        losses = LossLog(1 if model.device.type == "cpu" else READ_EVERY)
        model.train()
        step.start_epoch()
        with step.one_thread_per_operation(), tensor_float_32(model.device):
            for windows in sampler.epoch(state.epoch):
                losses.add(update(step, windows, optimizer, config.optimizer.max_gradient_norm))
                scheduler.step()
                average.update()
                done = scheduler.last_epoch
                progress("train", done, max(total_steps, done), _note(state, losses.last))
        state.epoch += 1
        entry = {"loss": float(np.mean(losses.read()))}
        with average.applied():
            entry |= {} if validate is None else {"validation_ndcg_at_10": validate(model)}
            state.record(entry, model)
        if on_epoch is not None:
            on_epoch(state.epoch, entry)
        save_state(checkpoint, fingerprint, state, *parts)
    average.keep()
    return _finished(model, state)


def _finished(model: Retriever, state: TrainingState) -> FittedRetriever:
    if state.best_parameters is not None:
        model.load_state_dict(state.best_parameters)
    _reject_not_finite(model)
    return FittedRetriever(
        model=model.eval(),
        best_epoch=state.best_epoch or state.epoch,
        best_score=state.best_score,
        curve=state.curve,
    )


def _batch_tokens(sequences: Mapping[str, TrainingSequence], config: TrainConfig) -> int:
    num_events = sum(len(sequence.target) for sequence in sequences.values())
    return max(1, min(config.batch_tokens, num_events // config.steps_per_epoch))


def _has_stalled(state: TrainingState, config: TrainConfig, validate: object) -> bool:
    """Whether validation has not improved for `patience` epochs; never in the first three quarters.

    Before the learning rate and the average settle, an early epoch can have the best score by chance.
    """
    waited = state.epoch - state.best_epoch
    return validate is not None and waited >= config.patience and 4 * state.epoch >= 3 * config.epochs


def _note(state: TrainingState, loss: float) -> str:
    best = "" if math.isnan(state.best_score) else f", best NDCG@10 {state.best_score:.4f}"
    return f"epoch {state.epoch + 1}, loss {loss:.3f}{best}"


def update(
    step: TrainStep, windows: list[Window], optimizer: torch.optim.Optimizer, max_gradient_norm: float
) -> Tensor:
    """One step of the optimizer; the loss before it, on the model's device."""
    loss = step.backward(windows)
    torch.nn.utils.clip_grad_norm_(step.model.parameters(), max_gradient_norm)
    optimizer.step()
    return loss


class LossLog:
    """The losses of an epoch, read from the device every `every` steps: the host waits for each reading."""

    def __init__(self, every: int) -> None:
        self.every = every
        self._values: list[float] = []
        self._unread: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Raises `FloatingPointError` if a loss that is read now is not finite."""
        self._unread.append(loss)
        if len(self._unread) >= self.every:
            self.read()

    def read(self) -> list[float]:
        """All losses so far. Raises `FloatingPointError` if one is not finite."""
        new = torch.stack(self._unread).tolist() if self._unread else []
        self._values, self._unread = self._values + new, []
        for loss in new:
            if not math.isfinite(loss):
                raise FloatingPointError(f"the training loss is {loss}; lower train.learning_rate")
        return self._values

    @property
    def last(self) -> float:
        """The newest loss that was read; NaN before."""
        return self._values[-1] if self._values else math.nan


def make_optimizer(model: Retriever, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over the model's parameters; on a GPU in one kernel."""
    return torch.optim.AdamW(
        _parameter_groups(model, config.weight_decay),
        lr=config.learning_rate,
        betas=config.optimizer.betas,
        fused=model.device.type == "cuda" or None,
    )


def place(model: Retriever, config: TrainConfig) -> Retriever:
    """`model` on the configured device, beside it the items' features where they fit."""
    model = model.to(choose_device(config))
    if fits_beside(model.features_bytes, model.device, config.features_memory):
        model.place_features(model.device)
    return model


def _schedule(total_steps: int, config: TrainConfig) -> Callable[[int], float]:
    """Linear warm-up, then a cosine to `config.optimizer.final_rate` of the peak."""
    warmup = max(1, round(total_steps * config.warmup_fraction))
    final = config.optimizer.final_rate

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done))

    return factor


def _parameter_groups(model: Retriever, weight_decay: float) -> list[dict[str, object]]:
    """Decay for matrices and tables; none for biases, norms and the temperature."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _reject_not_finite(model: Retriever) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise FloatingPointError(f"parameter {name} is not finite; lower train.learning_rate")
