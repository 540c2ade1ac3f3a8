"""Weights of the cold ranker fitted on cross-fitted vectors, and with towers without a tenth of the items.

    python benchmarks/cold_cross_fitting.py RUN

A run fits the weights on warm items that are ranked as if they were cold: their vectors come from a
regression that was fitted without them, but the towers were trained on their events. Here the towers are
trained once more without all events on a tenth of the warm items, which are really cold for them. Evidence,
forms and weights are chosen again with these towers. Prints both choices, and NDCG@10 of both on the cold
items of the test, ranked among themselves with the towers of the run, with a 95% interval of the paired
difference over users.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl

from features.inputs import SeenItems
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED
from training.cold_ranker import ColdRankerChoice, choose_cold_ranker, make_cold_ranker
from training.cold_start import fit_cold_start_head
from training.evaluation import EvaluationSet, EvaluationSettings, System, ViewResult, evaluate
from training.fitting import FitInputs, fit_towers, validation_users
from training.pipeline import Run

HIDDEN = 0.1  # fraction of the warm items
CROSS_FITTED, HELD_OUT = "cross-fitted vectors", "towers without a tenth of the items"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    run = Run.open(parser.parse_args().run)
    choices = {CROSS_FITTED: run.fitted.cold_ranker, HELD_OUT: choice_of_held_out_items(run)}
    for name, choice in choices.items():
        weights = ", ".join(f"{key} {value:.2f}" for key, value in choice.weights.items())
        print(f"{name} ({choice.num_lists:,} lists): {weights}")
    result = on_test(run, choices)
    for name, estimates in result.models.items():
        print(f"{name}: cold pool NDCG@10 {estimates['ndcg@10'].value:.4f} of {result.num_users} users")
    change = result.differences[HELD_OUT]["ndcg@10"]
    print(f"difference {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]")


def choice_of_held_out_items(run: Run) -> ColdRankerChoice:
    """The choice on items whose events the towers were not trained on."""
    config, split = run.config, run.split.in_memory()
    inputs = FitInputs.of(run.dataset, run.vectors, split, config)
    rng, warm = np.random.default_rng(config.train.seed), np.flatnonzero(inputs.features.trained)
    hidden = np.sort(rng.choice(warm, int(HIDDEN * len(warm)), replace=False))
    names = [inputs.features.item_ids.external[item - NUM_RESERVED] for item in hidden]
    is_left = ~pl.col(Columns.ITEM).is_in(names)
    rest = replace(split, train=split.train.filter(is_left), validation=split.validation.filter(is_left))
    without = FitInputs.of(run.dataset, run.vectors, rest, config)
    model = fit_towers(without, None, checkpoint=None).model
    fit_cold_start_head(
        model, validation_users(model, without), config.model, chosen=None, seed=config.train.seed
    )
    vector_ND = np.zeros_like(model.item_arrays().vectors)
    vector_ND[hidden] = model.item_arrays().vectors[hidden]
    alone = config.model.cold_start.model_copy(update={"num_folds": 1})
    # Users with their events on the hidden items, as the new towers embed them without these.
    users = validation_users(model, inputs)
    return choose_cold_ranker(inputs.features, users, vector_ND, alone, seed=config.train.seed)


def on_test(run: Run, choices: dict[str, ColdRankerChoice]) -> ViewResult:
    """The cold pool of the test, ordered by the weights of each choice."""
    fitted, settings = run.fitted, run.config.evaluate
    histories = run.split.before_test(fitted.builder)
    systems = []
    for name, choice in choices.items():
        ranker = make_cold_ranker(fitted.features, choice, run.config.model.cold_start)
        recommender = fitted.recommender.with_cold_ranker(ranker)
        systems.append(System.of(fitted, name, recommender, histories, settings))
    data = EvaluationSet(split=run.split, items=fitted.features, seen=SeenItems(histories))
    made = EvaluationSettings(exclude_seen=settings.exclude_seen, main_model=CROSS_FITTED)
    return evaluate(systems, data, made).views["cold_pool"]


if __name__ == "__main__":
    main()
