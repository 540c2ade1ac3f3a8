"""Evaluation on the device: towers, cold-start head and ranker in torch against themselves on the CPU."""

import copy

import numpy as np
import torch

from benchmarks.gpu.folder import RANKER, TOWERS, Arrays, Prepared
from benchmarks.gpu.measure import CouldNotRun, seconds_of
from recsys.history import History, collate
from recsys.models import Ranker, Retriever
from recsys.retrieval import CONTEXT
from training.cold_start.content_regression import fit_content_regression
from training.ranker import ScaledRanker

TOLERANCE = 1e-3  # of a unit vector's components and of a score, float32 without TF32
LEAST_AGREEMENT = 0.99  # of the ten nearest items, as a fraction
USERS, CANDIDATES = 256, 100


def evaluation(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """Item vectors of the catalogue, user vectors and the ten nearest items, on the device and on the CPU."""
    budget, users = (0.2, 32) if quick else (2.0, USERS)
    models = {name: read_towers(prepared).to(name) for name in dict.fromkeys(("cpu", device))}
    for name, model in models.items():
        if name != "cpu":
            model.place_features(model.device)
    items = {name: model.item_arrays().vectors for name, model in models.items()}
    inputs = user_inputs(prepared, items["cpu"], users)
    vectors = {name: model.embed_users(inputs) for name, model in models.items()}
    found: dict[str, object] = {}
    gaps = [float(np.abs(pair[device] - pair["cpu"]).max()) for pair in (items, vectors)]
    agreement = agreement_at_10(vectors[device] @ items[device].T, vectors["cpu"] @ items["cpu"].T)
    found |= {"largest gap of an item vector": gaps[0], "of a user vector": gaps[1]}
    found |= {"agreement of the ten nearest items": agreement}
    if max(gaps) > TOLERANCE or agreement < LEAST_AGREEMENT:
        raise AssertionError(f"the device and the CPU differ: {found}")
    for name, model in models.items():
        seconds = seconds_of(model.item_arrays, model.device, budget=budget)
        found[f"{name}: items/s"] = prepared.features.size / seconds
        seconds = seconds_of(lambda model=model: model.embed_users(inputs), model.device, budget=budget)
        found[f"{name}: users/s in batches of {users}"] = users / seconds
    return found


def cold_start(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """The cold-start head fitted on the device and on the CPU gives the same vectors of cold items."""
    found = {}
    for name in dict.fromkeys(("cpu", device)):
        model = read_towers(prepared).to(name)
        regression = fit_content_regression(model, None, ridge_alpha=10.0, popularity_pull=0.1, seed=0)
        if regression is None:
            raise CouldNotRun("the items have too little content for a regression")
        model.cold_start_head = regression.head.eval()
        found[name] = model.item_arrays().vectors
    gap = float(np.abs(found[device] - found["cpu"]).max())
    if gap > TOLERANCE:
        raise AssertionError(f"vectors of cold items differ by {gap:.2e}")
    return {"largest gap of an item vector": gap}


def ranker(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """The ranker's scores on the device and on the CPU, and one step of its training on the device."""
    module = read_ranker(prepared)
    inputs = ranker_inputs(prepared, 8 if quick else USERS)
    modules = {name: copy.deepcopy(module).to(name) for name in dict.fromkeys(("cpu", device))}
    scores = {name: each.rank(inputs)["score"] for name, each in modules.items()}
    gap = float(np.abs(scores[device] - scores["cpu"]).max())
    if gap > TOLERANCE * max(1.0, float(np.abs(scores["cpu"]).max())):
        raise AssertionError(f"scores of the ranker differ by {gap:.2e}")
    found: dict[str, object] = {"largest gap of a score": gap}
    for name, each in modules.items():
        seconds = seconds_of(
            lambda each=each: each.rank(inputs), torch.device(name), budget=0.2 if quick else 1.5
        )
        found[f"{name}: lists/s of {CANDIDATES} candidates"] = len(scores["cpu"]) / seconds
    return found


def read_towers(prepared: Prepared) -> Retriever:
    """The run's towers on the CPU."""
    model = Retriever(prepared.features, prepared.schema, prepared.config.model)
    state = torch.load(prepared.path / TOWERS, map_location="cpu", weights_only=True)
    own = {name: value for name, value in state.items() if not name.startswith("cold_start_head.")}
    model.load_state_dict(own)
    model.set_features(prepared.features)
    return model.eval()


def read_ranker(prepared: Prepared) -> ScaledRanker:
    """The run's ranker on the CPU."""
    if not (prepared.path / RANKER).exists():
        raise CouldNotRun("the run has no ranker")
    module = ScaledRanker(
        Ranker(
            dim=prepared.config.model.dim,
            config=prepared.config.model.ranker,
            num_sources=prepared.facts["num_sources"],
            num_context=len(CONTEXT),
        ),
        1.0,
    )
    state = torch.load(prepared.path / RANKER, map_location="cpu", weights_only=True)
    module.load_state_dict(state)
    return module.eval()


def histories_of(prepared: Prepared, num: int) -> list[History]:
    """`num` of the users' histories, the same ones again where there are fewer."""
    known = [history for history in prepared.histories if len(history)]
    return [known[at % len(known)] for at in range(num)]


def user_inputs(prepared: Prepared, vectors: np.ndarray, num: int) -> Arrays:
    """Inputs of the user tower for `num` users."""
    batch = collate(histories_of(prepared, num), prepared.schema)
    return {**batch.inputs, "event_vector": vectors[batch.item], "length": batch.length}


def ranker_inputs(prepared: Prepared, num: int) -> Arrays:
    """Random inputs of the ranker for `num` users; its scores depend on all of them."""
    rng, items, config = np.random.default_rng(0), prepared.items, prepared.config.model
    past, sources = config.ranker.history_length, prepared.facts["num_sources"]
    real = np.flatnonzero(items.vectors.any(1))
    chosen = rng.choice(real, (num, CANDIDATES))
    history = rng.choice(real, (num, past))

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "user_vector": items.vectors[rng.choice(real, num)],
        "history_vector": items.vectors[history],
        "history_mask": rng.random((num, past)) < 0.7,
        "candidate_vector": items.vectors[chosen],
        "candidate_tokens": items.tokens[chosen].astype(np.float32),
        "candidate_token_mask": items.token_mask[chosen],
        "source_scores": normal(num, CANDIDATES, sources),
        "source_ranks": normal(num, CANDIDATES, sources),
        "candidate_context": normal(num, CANDIDATES, len(CONTEXT)),
    }


def agreement_at_10(one_BN: np.ndarray, other_BN: np.ndarray) -> float:
    """Mean fraction of the ten highest columns of a row that both have."""
    pairs = zip(np.argsort(-one_BN)[:, :10], np.argsort(-other_BN)[:, :10], strict=True)
    return float(np.mean([len(set(one) & set(other)) / len(one) for one, other in pairs]))
