"""Fit and evaluation of a small log, with the results as JSON; run as a program it prints them."""

import hashlib
import json

import torch
from evaluation_parts import evaluated
from fit_parts import fit_split
from fitting_parts import config, log, media

from features.inputs.histories import SeenItems
from features.splits.make import make_split
from training.baselines import Random, choose_baselines
from training.evaluation.evaluate import TopK
from training.evaluation.system import MODEL, System
from training.runtime import threads


def fit_and_evaluate() -> str:
    """Every metric to its last digit, and a digest of every parameter, as JSON."""
    settings, data = config(), log()
    split = make_split(data, settings.split)
    with threads(1):
        fitted = fit_split(data, media(data), split, settings)
        histories = split.before_test(fitted.builder)
        seen, items = SeenItems(histories), fitted.features
        chosen = choose_baselines(
            ("popularity", "als", "bpr"), split, items, seen=seen, has_clock=True, num_threads=1
        )
        models: list[TopK] = [
            System(MODEL, fitted.recommender, histories),
            *(each.model for each in chosen),
            Random(items, seen=seen),
        ]
        evaluation = evaluated(models, split=split, items=items, seen=seen)
    modules = [fitted.retriever.model, *([fitted.ranker.module] if fitted.ranker else [])]
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(name.encode())
            digest.update(value.contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else b"")
    found = {
        "metrics": json.loads(evaluation.to_json()),
        "parameters": digest.hexdigest(),
        "curve": fitted.retriever.curve,
        "chosen": [repr(each.chosen.settings) for each in chosen],
    }
    return json.dumps(found, sort_keys=True)


if __name__ == "__main__":
    print(fit_and_evaluate())  # noqa: T201
