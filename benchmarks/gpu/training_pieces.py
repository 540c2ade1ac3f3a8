"""Training of the towers on the device: the same step, equal results, nothing read back, and how fast."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.folder import Prepared
from benchmarks.gpu.measure import CouldNotRun, FlopCounter, peak_of, seconds_a_step, synchronise
from recsys.config import ModelConfig, TrainConfig
from recsys.history import EVENT_NUMBERS, History, SequenceSchema
from recsys.ids import NUM_RESERVED, IdMap
from recsys.item_features import ItemFeatures
from recsys.models import Retriever
from training.runtime import tensor_float_32
from training.sequences import TrainingSequence, Window, WindowSampler
from training.towers import fit_retriever
from training.towers.train_step import TrainStep
from training.towers.trainer import make_optimizer, place, update

CPU = torch.device("cpu")
GRADIENT_TOLERANCE = 1e-3  # of the length of a parameter's gradient, float32 without TF32
LOSS_TOLERANCE = 1e-5


@dataclass(kw_only=True)
class Trainer:
    """A model, its step and its optimizer, as `fit_retriever` makes them, and batches to train on."""

    step: TrainStep
    optimizer: torch.optim.Optimizer
    batches: Sequence[list[Window]]
    config: TrainConfig
    at: int = 0

    @property
    def model(self) -> Retriever:
        return self.step.model

    @property
    def device(self) -> torch.device:
        return self.step.model.device

    def update(self) -> torch.Tensor:
        """One step on the next batch; the loss on the device."""
        self.at += 1
        windows = self.batches[self.at % len(self.batches)]
        return update(self.step, windows, self.optimizer, self.config.optimizer.max_gradient_norm)

    @property
    def mean_sequences(self) -> float:
        return float(np.mean([len(windows) for windows in self.batches]))

    @property
    def mean_events(self) -> float:
        return float(np.mean([sum(len(each.target) for each in windows) for windows in self.batches]))


def make_trainer(
    features: ItemFeatures,
    schema: SequenceSchema,
    sequences: dict[str, TrainingSequence],
    model_config: ModelConfig,
    config: TrainConfig,
    batch_tokens: int,
) -> Trainer:
    """The towers on `config.device`, in training mode. The seed fixes parameters and batches."""
    torch.manual_seed(config.seed)
    model = place(Retriever(features, schema, model_config), config).train()
    sampler = WindowSampler(
        sequences, max_length=schema.max_length, batch_tokens=batch_tokens, seed=config.seed
    )
    epoch = sampler.epoch(0)
    step = TrainStep(model, config)
    step.start_epoch()
    return Trainer(
        step=step,
        optimizer=make_optimizer(model, config),
        batches=[epoch[at] for at in range(min(len(epoch), 40))],
        config=config,
    )


def of_folder(prepared: Prepared, device: str, precision: str, *, dropout: bool = True) -> Trainer:
    """The run's own model and settings on the run's sequences."""
    train = prepared.config.train.model_copy(update={"device": device, "precision": precision})
    model, tokens = prepared.config.model, train.batch_tokens
    if not dropout:
        model = without_dropout(model)
        views = train.auxiliary.views.model_copy(update={"weight": 0.0})
        train = train.model_copy(update={"auxiliary": train.auxiliary.model_copy(update={"views": views})})
    return make_trainer(prepared.features, prepared.schema, prepared.sequences, model, train, tokens)


def without_dropout(config: ModelConfig) -> ModelConfig:
    """`config` with nothing random in a step: devices draw different numbers from one seed."""
    item = config.item.model_copy(update={"dropout": 0.0, "id_dropout": 0.0, "modality_dropout": 0.0})
    user = config.user.model_copy(update={"dropout": 0.0, "event_dropout": 0.0})
    return config.model_copy(update={"item": item, "user": user})


def same_step(prepared: Prepared, device: str) -> dict[str, object]:
    """Loss and gradients of one step in float32 on the device and on the CPU. Raises where they differ."""
    found = []
    for name in ("cpu", device):
        trainer = of_folder(prepared, name, "float32", dropout=False)
        torch.manual_seed(1)
        loss = float(trainer.step.backward(trainer.batches[0]))
        gradients = {
            name: parameter.grad.float().cpu()
            for name, parameter in trainer.model.named_parameters()
            if parameter.grad is not None
        }
        found.append((loss, gradients))
    (loss, expected), (other, gradients) = found
    if abs(other - loss) > LOSS_TOLERANCE * abs(loss):
        raise AssertionError(f"the loss is {other} on the device and {loss} on the CPU")
    if expected.keys() != gradients.keys():
        raise AssertionError(f"gradients of {sorted(expected.keys() ^ gradients.keys())} on one device alone")
    floor = 1e-6 * max(float(gradient.norm()) for gradient in expected.values())
    gaps = {
        name: float((gradients[name] - gradient).norm() / gradient.norm().clamp(min=floor))
        for name, gradient in expected.items()
    }
    worst = max(gaps, key=gaps.__getitem__)
    if gaps[worst] > GRADIENT_TOLERANCE:
        raise AssertionError(f"the gradient of {worst} differs by {gaps[worst]:.2e} of its length")
    return {"loss on the CPU": loss, "loss on the device": other, f"largest gap ({worst})": gaps[worst]}


def no_synchronisation(prepared: Prepared, device: str) -> dict[str, object]:
    """Steps of the optimizer in which any wait of the host for the device is an error."""
    if device != "cuda":
        raise CouldNotRun("torch reports waits for a CUDA device alone")
    found: dict[str, object] = {}
    for precision in ("float32", "bfloat16"):
        trainer = of_folder(prepared, device, precision)
        for _ in range(3):
            trainer.update()  # the optimizer makes its state, and cuBLAS its workspace
        synchronise(trainer.device)
        with waits_are_errors(), tensor_float_32(trainer.device):
            for _ in range(10):
                loss = trainer.update()
        found[f"{precision}: 10 steps without a wait, last loss"] = float(loss)
        table = next(iter(trainer.model.dense.values()), None)
        found["features on the device"] = "none" if table is None else str(table.device)
        found["fused optimizer"] = bool(trainer.optimizer.defaults["fused"])
    return found


@contextmanager
def waits_are_errors() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def speed(prepared: Prepared, device: str, *, quick: bool, card: dict[str, Any]) -> dict[str, object]:
    """Sequences per second of the run's own model, on the CPU and the device, and of a larger one."""
    budget, found = (0.05 if quick else 4.0), {}
    for name in dict.fromkeys(("cpu", device)):
        for precision in ("float32", "bfloat16") if name != "cpu" else ("float32",):
            trainer = of_folder(prepared, name, precision)
            found |= _rates(f"run's model, {name}, {precision}", trainer, budget, card)
    for precision in ("float32", "bfloat16"):
        trainer = larger(prepared.schema, device, precision, small=quick or device == "cpu")
        found |= _rates(f"larger model, {device}, {precision}", trainer, budget, card)
    return found


def _rates(label: str, trainer: Trainer, budget: float, card: dict[str, Any]) -> dict[str, object]:
    device = trainer.device
    with tensor_float_32(device), trainer.step.one_thread_per_operation():
        trainer.update()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds = seconds_a_step(trainer.update, device, budget=budget)
        peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        num_counted = min(len(trainer.batches), 10)
        with FlopCounter() as counter:
            for _ in range(num_counted):
                trainer.update()
    rate = counter.total / num_counted / seconds
    found: dict[str, object] = {
        f"{label}: sequences/s": trainer.mean_sequences / seconds,
        f"{label}: events/s": trainer.mean_events / seconds,
        f"{label}: ms a step": 1e3 * seconds,
    }
    if trainer.step.context.num_shards == 1:  # the counter sees the products of its own thread alone
        found[f"{label}: TFLOP/s"] = rate / 1e12
    if device.type == "cuda":
        found[f"{label}: largest kernels, ms a step"] = largest_kernels(trainer)
        found[f"{label}: peak memory, MB"] = (peak_bytes or 0) / 1e6
        peak = peak_of(torch.cuda.get_device_name(device))
        found[f"{label}: MFU of the data sheet, %"] = "card not listed" if peak is None else 100 * rate / peak
        if measured := card.get("bfloat16 product, TFLOP/s"):
            found[f"{label}: MFU of the measured product, %"] = rate / 1e10 / float(measured)
    return found


def largest_kernels(trainer: Trainer, num_steps: int = 3, num: int = 4) -> str:
    """The operations whose kernels take most of the device's time, with their time a step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(num_steps):
            trainer.update()
        synchronise(trainer.device)
    times = {event.key: event.self_device_time_total / 1e3 / num_steps for event in profile.key_averages()}
    largest = sorted(times, key=times.__getitem__, reverse=True)[:num]
    return "; ".join(f"{name[:60]} {times[name]:.2f}" for name in largest)


def larger(schema: SequenceSchema, device: str, precision: str, *, small: bool) -> Trainer:
    """Generated items and users of the size of a shop, so that the device has work: values mean nothing.

    A processor would take minutes for a step of it, so there it is `small`.
    """
    num_items, num_users, length, dim = (200, 40, 20, 32) if small else (20_000, 2_000, 200, 256)
    rng = np.random.default_rng(0)
    size = num_items + NUM_RESERVED
    real = np.arange(size) >= NUM_RESERVED
    features = ItemFeatures(
        item_ids=IdMap([str(number) for number in range(num_items)]),
        dense={
            name: rng.standard_normal((size, width), np.float32)
            for name, width in (("text", 384), ("image", 1280))
        },
        present={"text": real, "image": real},
        categories={"kind": rng.integers(2, 52, (size, 3))},
        category_ids={"kind": IdMap([str(number) for number in range(50)])},
        trained=real,
        popularity=rng.integers(1, 100, size).astype(np.float32) * real,
    )
    schema = replace(
        schema, max_length=length, review_text_dim=0, review_audio_dim=0, profile_sizes={}, num_event_kinds=4
    )
    config = ModelConfig.model_validate(
        {"dim": dim, "user": {"num_blocks": 2 if small else 4, "num_heads": 4, "max_length": length}}
    )
    train = TrainConfig.model_validate({"device": device, "precision": precision})
    sequences = {str(user): _sequence(rng, size, length) for user in range(num_users)}
    tokens = 200 if small else 25_600
    return make_trainer(features, schema, sequences, config, train, tokens)


def _sequence(rng: np.random.Generator, size: int, length: int) -> TrainingSequence:
    events = {
        "item": rng.integers(NUM_RESERVED, size, length),
        "event": np.full(length, 2),
        "timestamp": np.cumsum(rng.integers(1, 10**11, length)),
        **{name: rng.standard_normal(length).astype(np.float32) for name in EVENT_NUMBERS},
    }
    return TrainingSequence(history=History.of(events), target=np.ones(length, np.bool_))


def fit(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """`fit_retriever` from the first to the last step on the device: the loss falls, all is finite."""
    epochs = 2 if quick else 6
    train = prepared.config.train.model_copy(update={"device": device, "epochs": epochs})
    fitted = fit_retriever(
        prepared.features,
        prepared.schema,
        prepared.sequences,
        model_config=prepared.config.model,
        config=train,
    )
    losses = [entry["loss"] for entry in fitted.curve]
    if not losses[-1] < losses[0]:
        raise AssertionError(f"the loss does not fall: {losses}")
    return {"epochs": epochs, "loss of the first epoch": losses[0], "loss of the last epoch": losses[-1]}
