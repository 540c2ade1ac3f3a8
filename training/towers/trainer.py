"""Training of the towers: next-item prediction over the catalogue, stopped early on validation.

Under torchrun all ranks train together, and rank 0 alone validates.
Legend: B windows, L events, P predictions, N items that may be predicted, D width.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from recsys.config import ModelConfig, TrainConfig
from recsys.errors import RankError
from recsys.history import SequenceSchema
from recsys.item_features import ItemFeatures
from recsys.models import Retriever
from recsys.progress import Progress, silent
from training.ranks import ONE_RANK, Ranks, process_group_of_one
from training.runtime import choose_device, fits_beside, tensor_float_32
from training.sequences import TrainingSequence, Window, WindowSampler
from training.towers.checkpoint import TrainingState, load_state, save_state
from training.towers.ema import WeightAverage, decay_of
from training.towers.negative_sampling import is_sampled
from training.towers.step_audit import audit_step
from training.towers.tables import DividedTables, Tables, WholeTables, is_of_tables
from training.towers.train_step import TrainStep

READ_EVERY = 50  # steps on a GPU between two readings of the loss


@dataclass(frozen=True, kw_only=True)
class FittedRetriever:
    model: Retriever  # on rank 0 complete; elsewhere divided tables are missing
    best_epoch: int  # epochs that the kept parameters were trained for
    best_score: float  # validation NDCG@10, NaN without validation
    curve: list[dict[str, float]]  # an entry an epoch
    sharding_plan: str | None = None  # of the tables, where they are divided or there are several ranks


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
    ranks: Ranks = ONE_RANK,
) -> FittedRetriever:
    """Train both towers on `sequences`; with `validate`, keep the best epoch and stop early.

    `epochs` overrides the configured number. A `checkpoint` of the same `fingerprint` is resumed.
    `index_kind` is the index that hard negatives come from. All `ranks` call this function with the same
    arguments; only rank 0 calls `validate`.
    Raises `FloatingPointError` if a loss or a parameter is not finite, `RankError` if a rank is lost.
    """
    ranks.open(choose_device(config).type, config.processes)
    _check_ranks(ranks, fingerprint)
    torch.manual_seed(config.seed)
    num_epochs = epochs or config.epochs
    tokens = _batch_tokens(sequences, config)
    sampler = WindowSampler(
        sequences,
        max_length=schema.max_length,
        batch_tokens=tokens,
        seed=config.seed,
        part=(ranks.rank, ranks.size),
    )
    epoch_steps = len(sampler.epoch(0))  # approximately: epochs cut histories at other places
    total_steps, decay = num_epochs * epoch_steps, decay_of(config.average_epochs * epoch_steps)
    model = place(Retriever(features, schema, model_config), config)
    with ranks.explained(), _tables(model, config, decay, ranks) as tables:
        step = audit_step(TrainStep(model, config, index_kind=index_kind, ranks=ranks, tables=tables))
        training = _Training(step, config, total_steps, decay)
        state = load_state(checkpoint, fingerprint, *training.parts, ranks=ranks) or TrainingState()
        while state.epoch < num_epochs and not _has_stalled(state, config, validate):
            losses = LossLog(1 if model.device.type == "cpu" else READ_EVERY)
            training.take_epoch(sampler.epoch(state.epoch), _reporting(progress, state, losses, total_steps))
            state.epoch += 1
            entry = {"loss": float(np.mean(losses.read()))}
            with training.averaged():
                entry |= {} if validate is None else {"validation_ndcg_at_10": _score(validate, model, ranks)}
                state.record(entry, model if ranks.rank == 0 else None)
            if on_epoch is not None:
                on_epoch(state.epoch, entry)
            save_state(checkpoint, fingerprint, state, *training.parts, ranks=ranks)
        training.keep_average()
    return _finished(model, state, tables, ranks)


def _check_ranks(ranks: Ranks, fingerprint: str) -> None:
    """Raises `RankError` on a rank that has other data, settings or numbers of threads than rank 0."""
    here = fingerprint, torch.get_num_threads()
    if (first := ranks.share(lambda: here)) != here:
        differs = "reads other training data or settings" if first[0] != here[0] else "has other threads"
        raise RankError(f"rank {ranks.rank} {differs} than rank 0; start all of them alike: {first}, {here}")


@contextmanager
def _tables(model: Retriever, config: TrainConfig, decay: float, ranks: Ranks) -> Iterator[Tables]:
    """The tables as `train.tables.optimizer` asks for them."""
    kind = config.tables.optimizer
    is_divided = is_sampled(model.features, config) if kind == "auto" else kind == "rowwise_adagrad"
    if not is_divided or (model.item_id is None and model.category is None):
        yield WholeTables(model, ranks)
        return
    with process_group_of_one(model.device.type):
        tables = DividedTables(model, config.tables, decay=decay, ranks=ranks)
        yield tables


class _Training:
    """The step with its optimizer, schedule and average."""

    def __init__(self, step: TrainStep, config: TrainConfig, total_steps: int, decay: float) -> None:
        self.step, self.config = step, config
        self.optimizer = make_optimizer(step.model, config)
        self.scheduler = LambdaLR(self.optimizer, _schedule(total_steps, config))
        self.average = WeightAverage(trained_parameters(step.model), decay)
        self.parts = (_Towers(step.model), self.optimizer, self.scheduler, self.average, step.tables)

    def take_epoch(self, batches: Sequence[list[Window]], took: Callable[[Tensor, int], None]) -> None:
        """Take a step for each batch; `took` is told the loss, and the number of steps so far."""
        self.step.model.train()
        self.step.start_epoch()
        norm = self.config.optimizer.max_gradient_norm
        with self.step.one_thread_per_operation(), tensor_float_32(self.step.model.device):
            for windows in batches:
                rate = float(self.scheduler.get_last_lr()[0]) / self.config.learning_rate
                loss = update(self.step, windows, self.optimizer, norm, rate)
                self.scheduler.step()
                self.average.update()
                took(loss, self.scheduler.last_epoch)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the model has the averaged parameters, on rank 0 all of them."""
        tables = self.step.tables
        with self.average.applied():
            tables.exchange_average()
            tables.fill()
            yield
            tables.exchange_average()

    def keep_average(self) -> None:
        """Give the model the averaged parameters; training is over."""
        self.average.keep()
        self.step.tables.exchange_average()
        self.step.tables.fill()


class _Towers:
    """The state of a model without its learned tables, which have a state of their own."""

    def __init__(self, model: Retriever) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        return {name: each for name, each in self.model.state_dict().items() if not is_of_tables(name)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state, strict=False)


def _score(validate: Callable[[Retriever], float], model: Retriever, ranks: Ranks) -> float:
    return ranks.share(lambda: validate(model))


def _finished(model: Retriever, state: TrainingState, tables: Tables, ranks: Ranks) -> FittedRetriever:
    if ranks.rank == 0:
        if state.best_parameters is not None:
            model.load_state_dict(state.best_parameters)
        _reject_not_finite(model)
    return FittedRetriever(
        model=model.eval(),
        best_epoch=state.best_epoch or state.epoch,
        best_score=state.best_score,
        curve=state.curve,
        sharding_plan=tables.plan if ranks.size > 1 or isinstance(tables, DividedTables) else None,
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


def _reporting(
    progress: Progress, state: TrainingState, losses: "LossLog", total_steps: int
) -> Callable[[Tensor, int], None]:
    """Logs the loss of a step and shows progress."""

    def took(loss: Tensor, done: int) -> None:
        losses.add(loss)
        progress("train", done, max(total_steps, done), _note(state.epoch, losses.last, state.best_score))

    return took


def _note(epoch: int, loss: float, best_score: float) -> str:
    best = "" if math.isnan(best_score) else f", best NDCG@10 {best_score:.4f}"
    return f"epoch {epoch + 1}, loss {loss:.3f}{best}"


def update(
    step: TrainStep,
    windows: list[Window],
    optimizer: torch.optim.Optimizer,
    max_gradient_norm: float,
    rate: float = 1.0,
) -> Tensor:
    """One step of the optimizers; the loss before it, on the model's device.

    `rate` is the learning rate as a fraction of its peak, for tables with an optimizer of their own.
    """
    step.tables.set_rate(rate)
    loss = step.backward(windows)
    factor = step.clip(max_gradient_norm)
    optimizer.step()
    step.tables.update(factor)
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
    """AdamW over the model's parameters, but for tables that TorchRec updates; on a GPU in one kernel."""
    return torch.optim.AdamW(
        _parameter_groups(trained_parameters(model), config.weight_decay),
        lr=config.learning_rate,
        betas=config.optimizer.betas,
        fused=model.device.type == "cuda" or None,
    )


def trained_parameters(model: Retriever) -> list[nn.Parameter]:
    """Those that gradients are set for; tables that TorchRec updates are not among them."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


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


def _parameter_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Decay for matrices and tables; none for biases, norms and the temperature."""
    decayed = [p for p in parameters if p.ndim >= 2]
    plain = [p for p in parameters if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _reject_not_finite(model: Retriever) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise FloatingPointError(f"parameter {name} is not finite; lower train.learning_rate")
