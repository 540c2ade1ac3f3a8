"""A training that one process takes alone, or several under torchrun; its results as JSON lines of rank 0.

    python tests/support/rank_parts.py "CASE;CASE" [CHECKPOINT]
    torchrun --nproc-per-node 2 tests/support/rank_parts.py "CASE;CASE" [CHECKPOINT]

Run as a program by tests/training/towers/test_ranks.py, since the ranks of a training are processes.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from model_parts import tiny_features, tiny_history, tiny_schema

from recsys.config import ItemTowerConfig, ModelConfig, TrainConfig, UserTowerConfig
from training.ranks import ranks_of_process
from training.sequences import TrainingSequence
from training.towers import fit_retriever

SCHEMA = tiny_schema(review_text_dim=0, review_audio_dim=0, profile_sizes={})
SAMPLED = {"sampled_above": 5, "num_negatives": 64}
TABLES = {"optimizer": "rowwise_adagrad"}
BY_ROWS = {**TABLES, "id_sharding": "row_wise", "category_sharding": "row_wise"}
WHOLE = {**TABLES, "id_sharding": "table_wise", "category_sharding": "table_wise"}
AUXILIARY = {"alignment": {"kind": "contrastive", "weight": 0.5}, "adversarial": {"weight": 0.2}}
NOTHING = {"views": {"weight": 0.0}}
# Settings of `train`, and the dropout. An exact case draws nothing in shards, so that its result does not
# depend on their number.
CASES = {
    "full, adamw": {},
    "sampled, adamw": {**SAMPLED, "tables": {"optimizer": "adamw"}},
    "full, by rows": {"tables": BY_ROWS},
    "sampled, by rows": {**SAMPLED, "tables": BY_ROWS},
    "sampled, whole": {**SAMPLED, "tables": WHOLE},
    "auxiliary": {"auxiliary": AUXILIARY, "tables": BY_ROWS},
    "full, exact": {"auxiliary": NOTHING, "dropout": 0.0},
    "sampled, exact": {**SAMPLED, "tables": BY_ROWS, "auxiliary": NOTHING, "dropout": 0.0},
    "hard negatives": {**SAMPLED, "hard_negatives": 0.5, "tables": BY_ROWS},
}
NUM_EPOCHS = 3


def sequences(num=40):
    """Item i is always followed by item i + 1."""
    rng = np.random.default_rng(0)
    found = {}
    for user in range(num):
        items = np.arange(start := int(rng.integers(2, 20)), start + 6)
        history = tiny_history(items, seed=user, review_text={}, profile={}, event=np.full(6, 2))
        found[f"u{user}"] = TrainingSequence(history=history, target=np.ones(6, np.bool_))
    return found


def train(case, checkpoint=None, *, on_epoch=None, timeout_seconds=60):
    """The fit of `CASES[case]` by the ranks of this process."""
    dropout = CASES[case].get("dropout", 0.3)
    chosen = {name: value for name, value in CASES[case].items() if name != "dropout"}
    model = ModelConfig(
        dim=16,
        item=ItemTowerConfig(dropout=dropout, id_dropout=dropout, modality_dropout=dropout),
        user=UserTowerConfig(num_blocks=1, dropout=dropout, max_length=8),
    )
    settings = {"epochs": NUM_EPOCHS, "learning_rate": 5e-3, "batch_tokens": 120, "steps_per_epoch": 3}
    config = TrainConfig(
        precision="float32",
        processes={"timeout_seconds": timeout_seconds},
        **settings,
        **chosen,
    )
    return fit_retriever(
        tiny_features(),
        SCHEMA,
        sequences(),
        model_config=model,
        config=config,
        validate=spread,
        checkpoint=checkpoint,
        fingerprint=case,
        on_epoch=on_epoch,
        ranks=ranks_of_process(),
    )


def spread(model):
    """Stands for a validation score: a number on which every parameter of the item tower has an effect."""
    return float(model.item_arrays().vectors[2:].std(0).mean())


def main(cases, checkpoint=None, *flags):
    """Train each case, and write its curve, the sums of its parameters and its plan as a line.

    With the flag kill, rank 1 is killed in the last epoch, once a checkpoint. With the flag freeze, it stops
    answering there. With the flag stop, all ranks end there.
    """
    ranks = ranks_of_process()

    def end_a_rank(epoch, entry):
        marker = Path(f"{checkpoint}.killed")
        if "kill" in flags and epoch == NUM_EPOCHS and ranks.rank == 1 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "freeze" in flags and epoch == NUM_EPOCHS and ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if "stop" in flags and epoch == NUM_EPOCHS:
            raise KeyboardInterrupt

    for case in cases.split(";"):
        path = checkpoint and Path(f"{checkpoint}.{case}")
        try:
            seconds = 5 if "freeze" in flags else 60
            fitted = train(case, path, on_epoch=end_a_rank, timeout_seconds=seconds)
        except KeyboardInterrupt:
            continue
        if ranks.rank == 0:
            state = fitted.model.state_dict()
            sums = {name: float(tensor.double().abs().sum()) for name, tensor in state.items()}
            found = {"case": case, "curve": fitted.curve, "sums": sums, "plan": fitted.sharding_plan}
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
    ranks.close()


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    main(*sys.argv[1:])
