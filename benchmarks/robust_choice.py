"""How often a choice on few validation users is worse on the test than the simplest option, by rule.

    python benchmarks/robust_choice.py measure RUN OUT.npz [--dataset FOLDER]
    python benchmarks/robust_choice.py draw OUT.npz [OUT.npz ...]

`measure` fits every option of a trained run once and keeps each user's NDCG@10 on validation and on the test:

    ranker       the retriever alone (the simplest), every epoch of the ranker with every blend weight
    half-life    popularity without decay (the simplest), with each half-life
    ridge alpha  of the cold-start head, the largest is the simplest; the test are cold items among themselves
    pull         of predicted popularity, 0 is the simplest; the same test

`draw` draws validation users with replacement, 100, 300 and 1,000, and chooses by the highest mean, or by the
highest mean only where it is better than the simplest by more than one or two standard errors. It prints how
often the chosen option is worse on the whole test than the simplest one, and the mean difference.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from features.inputs import SeenItems
from recsys.arrays import Floats, Ints
from recsys.metrics import Doubles, IdLists, standard_error
from recsys.retrieval import Popularity, top_k
from training.candidates import FitOptions, Interactions, fit_sources
from training.cold_start.content_regression import fit_content_regression
from training.evaluation import EvaluationSet, GroundTruth
from training.fitting import FitInputs, Fitted, make_recommender, validation_users
from training.fitting.recent_popularity import decayed_counts
from training.fitting.validation import is_ranker_user, ranking_task
from training.pipeline import Run
from training.ranker import RankedLists, RankingTask, ranker_epochs, ranker_output, selection_ndcg_by_user

SIZES, DRAWS, ERRORS = (100, 300, 1000), 2000, (0.0, 1.0, 2.0)
Options = dict[str, tuple[Doubles, Doubles]]  # name -> NDCG@10 by user on validation and on the test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("measure")
    command.add_argument("run", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--dataset", type=Path)
    command = commands.add_parser("draw")
    command.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    if args.command == "measure":
        save(args.out, measure(Run.open(args.run, dataset=args.dataset)))
    else:
        print("| set | choice | users | drawn | errors | worse than the simplest | mean difference |")
        print("|" + "---|" * 7)
        for path in args.files:
            for line in draw(path):
                print(line, flush=True)


def measure(run: Run) -> dict[str, Options]:
    """The options of each choice. The run is trained where it is not."""
    fitted, config = run.fitted, run.config
    inputs = FitInputs.of(run.dataset, run.vectors, run.split, config)
    histories = run.split.before_test(fitted.builder)
    data = EvaluationSet(split=run.split, items=fitted.features, seen=SeenItems(histories))
    truth = GroundTruth.of(data, exclude_seen=config.evaluate.exclude_seen)
    found = {"ranker": of_ranker(fitted, inputs, truth)}
    if inputs.schema.has_clock:
        found["half-life"] = of_half_life(fitted, inputs, truth)
    return found | of_cold_start(fitted, inputs, truth)


def of_ranker(fitted: Fitted, inputs: FitInputs, truth: GroundTruth) -> Options:
    """Warm items of users with a history, by rankers that are trained on the first half of the users."""
    config, model = inputs.config, fitted.retriever.model
    settings = config.model.ranker
    assert inputs.source_items is not None, "the run has a ranker"
    sources = fit_sources(
        settings.sources,
        Interactions(user_items=inputs.source_items, num_items=inputs.features.size),
        config.sources,
        FitOptions(num_threads=1, items=inputs.features),
    )
    recommender = make_recommender(model, config, sources=sources)
    of_user = [is_ranker_user(user, settings.target_users) for user in inputs.ground_truth]
    own, others = (
        [user for user, is_own in zip(inputs.ground_truth, of_user, strict=True) if is_own is wanted]
        for wanted in (True, False)
    )
    train = RankedLists.of(recommender, ranking_task(inputs, own))
    histories = inputs.split.before_test(fitted.builder)
    warm = test_items(truth, ~truth.cold)
    users = [user for user in warm if user in histories]
    test = RankingTask(
        histories=[histories[user] for user in users],
        ground_truth=[warm[user] for user in users],
        exclude_seen=config.evaluate.exclude_seen,
    )
    both = [RankedLists.of(recommender, task) for task in (ranking_task(inputs, others), test)]
    nothing = [np.zeros(lists.label_BK.shape, np.float32) for lists in both]
    options = {"retriever": of_both(both, nothing)}
    epochs = ranker_epochs(train, settings, config.train.seed, settings.num_epochs, model.device)
    for epoch, ranker, _ in epochs:
        output = [ranker_output(ranker, lists) for lists in both]
        for weight in settings.blend_weights:
            scaled = [np.float32(weight) * each for each in output]
            options[f"epoch {epoch}, weight {weight:g}"] = of_both(both, scaled)
    return options


def of_both(both: Sequence[RankedLists], output: Sequence[Floats]) -> tuple[Doubles, Doubles]:
    """NDCG@10 by user on validation and on the test."""
    validation, test = (lists.ndcg(each) for lists, each in zip(both, output, strict=True))
    return validation, test


def of_half_life(fitted: Fitted, inputs: FitInputs, truth: GroundTruth) -> Options:
    """All warm items of all users, by popularity."""
    items, nothing = fitted.recommender.items, np.empty(0, np.int64)
    in_validation = inputs.ground_truth | inputs.ground_truth_without_events
    seen_before = {user: inputs.before[user].seen for user in in_validation if user in inputs.before}
    in_test, seen = test_items(truth, ~truth.cold), truth.seen
    rows = {user: row for row, user in enumerate(truth.users)}
    seen_lists = seen.to_lists() if seen is not None else [nothing] * len(truth.users)
    parts = (
        (list(in_validation.values()), [seen_before.get(user, nothing) for user in in_validation]),
        (list(in_test.values()), [seen_lists[rows[user]] for user in in_test]),
    )

    def of(days: float | None) -> tuple[Doubles, Doubles]:
        recent = None if days is None else decayed_counts(inputs.sequences, inputs.features.size, days)
        order = Popularity(replace(items, recent_popularity=recent), temperature=1.0)
        validation, test = (
            selection_ndcg_by_user(
                order.top(len(known), 10, excluded=known, allowed=None), IdLists.from_lists(list(wanted))
            )
            for wanted, known in parts
        )
        return validation, test

    half_lives = inputs.config.model.half_lives_days
    return {"no decay": of(None)} | {f"{days:g} days": of(days) for days in half_lives}


def of_cold_start(fitted: Fitted, inputs: FitInputs, truth: GroundTruth) -> dict[str, Options]:
    """Cold items among themselves by the towers, for each alpha, and for each pull at the chosen alpha."""
    model, seed = fitted.retriever.model, inputs.config.train.seed
    users = validation_users(model, inputs)
    chosen = fit_content_regression(model, users, seed=seed)
    cold = test_items(truth, truth.cold)
    if chosen is None or not cold:
        return {}
    histories = inputs.split.before_test(fitted.builder)
    recommender = fitted.recommender
    cold = {user: items for user, items in cold.items() if user in histories}
    user_UD = recommender.embed([histories[user] for user in cold])

    def on_test(alpha: float, pull: float) -> Doubles:
        made = fit_content_regression(model, users, ridge_alpha=alpha, popularity_pull=pull, seed=seed)
        assert made is not None
        kept, model.cold_start_head = model.cold_start_head, made.head.eval()
        vector_ND = model.item_arrays().vectors
        model.cold_start_head = kept
        ranked_UK, _ = top_k(user_UD @ vector_ND.T, 10, allowed=truth.cold)
        return selection_ndcg_by_user(ranked_UK, IdLists.from_lists(list(cold.values())))

    return {
        "ridge alpha": {
            f"{alpha:g}": (ndcg_U, on_test(alpha, 0.0)) for alpha, ndcg_U in chosen.alpha_ndcg_U.items()
        },
        "pull": {
            f"{pull:g}": (ndcg_U, on_test(chosen.ridge_alpha, pull))
            for pull, ndcg_U in chosen.pull_ndcg_U.items()
        },
    }


def test_items(truth: GroundTruth, kind_N: np.ndarray) -> dict[str, Ints]:
    """The held-out items of each user that are of the kind; users without one are left out."""
    is_kind = kind_N[truth.item]
    return {
        user: truth.item[is_kind & (truth.row == row)]
        for row, user in enumerate(truth.users)
        if (is_kind & (truth.row == row)).any()
    }


def save(path: Path, found: Mapping[str, Options]) -> None:
    """An array for each option and part, named "<choice>|<option>|<part>"."""
    arrays = {}
    for choice, options in found.items():
        for name, parts in options.items():
            for part, value_U in zip(("validation", "test"), parts, strict=True):
                arrays[f"{choice}|{name}|{part}"] = value_U
    np.savez_compressed(path, **arrays)


def load(path: Path) -> dict[str, Options]:
    """What `save` wrote."""
    found: dict[str, Options] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            choice, name, part = key.split("|")
            if part == "validation":
                both = arrays[key], arrays[f"{choice}|{name}|test"]
                found.setdefault(choice, {})[name] = both
    return found


def draw(path: Path) -> list[str]:
    """A row of a Markdown table for each choice, number of users and rule."""
    lines = []
    for choice, options in load(path).items():
        validation_OU = np.stack([validation for validation, _ in options.values()])
        test_O = np.array([test.mean() for _, test in options.values()])
        for size in SIZES:
            for errors in ERRORS:
                chosen = drawn_choices(validation_OU, size, errors)
                gain = test_O[chosen] - test_O[0]
                worse = (gain < -1e-12).mean()
                lines.append(
                    f"| {path.stem} | {choice} | {validation_OU.shape[1]} | {size} | {errors:g} "
                    f"| {worse:.1%} | {gain.mean():+.4f} |"
                )
    return lines


def drawn_choices(value_OU: Doubles, size: int, errors: float) -> Ints:
    """The option chosen in each of `DRAWS` samples of `size` users; the first option is the simplest."""
    rng, chosen = np.random.default_rng(0), np.zeros(DRAWS, np.int64)
    for at in range(DRAWS):
        sample_OU = value_OU[:, rng.integers(value_OU.shape[1], size=size)]
        best = int(sample_OU.mean(1).argmax())
        gain_U = sample_OU[best] - sample_OU[0]
        if gain_U.mean() > errors * standard_error(gain_U):
            chosen[at] = best
    return chosen


if __name__ == "__main__":
    main()
