"""The parts of a fit that follow the towers, on disk, so that a later step does not fit them again.

checkpoints/<stage>.after_towers/
  contents.json     key, SHA-256 of every other file, choices, sizes of the modules
  modules.pt        parameters of the cold-start head, of the ranker, and of the cross-fitted rankers
  sources/          the candidate sources
  cold_ranker/      the cold ranker, where there is one
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

import recsys
from recsys.checksums import files_below, sha256_of
from recsys.errors import RecsysError
from recsys.files import replacing_directory
from recsys.models import ColdStartHead, Ranker, Retriever
from recsys.retrieval import (
    CONTEXT,
    CandidateSource,
    ColdRanker,
    load_cold_ranker,
    load_sources,
    save_cold_ranker,
    save_sources,
)
from training.cold_ranker import ColdRankerChoice
from training.cold_start import ColdItems
from training.fitting.checkpoint_key import digest_of_parameters
from training.fitting.inputs import FitInputs
from training.fitting.without_events import WithoutEvents
from training.ranker import CrossFittedRankers, FittedRanker, ScaledRanker

logger = logging.getLogger(__name__)
CONTENTS, MODULES, SOURCES, COLD_RANKER = "contents.json", "modules.pt", "sources", "cold_ranker"
FORMAT = 5  # of the directory; 1 had no cross-fitted rankers, 2 no cold ranker, 3 no half-life, 4 other rules


@dataclass(frozen=True, kw_only=True)
class AfterTowers:
    """Cold-start head, candidate sources, ranker, and the choices on validation."""

    head: ColdStartHead | None
    sources: tuple[CandidateSource, ...]  # that add candidates; none where the ranker is left out
    ranker: FittedRanker | None
    cold_items: ColdItems
    without_events: WithoutEvents
    cold_ranker: ColdRanker | None
    cold_ranker_choice: ColdRankerChoice

    def save(self, directory: Path, key: str) -> None:
        """Write `directory`, whole or not at all; a former one is replaced."""
        directory.parent.mkdir(parents=True, exist_ok=True)
        with replacing_directory(directory) as draft:
            modules: dict[str, nn.Module | None] = {"head": self.head}
            if self.ranker is not None:
                modules["ranker"] = self.ranker.module
                if (both := self.ranker.cross_fitted) is not None:
                    modules |= {"for_validation": both.for_validation, "for_train": both.for_train}
            states = {name: module.state_dict() for name, module in modules.items() if module is not None}
            with (draft / MODULES).open("wb") as file:
                torch.save(states, file)
            save_sources(self.sources, draft / SOURCES)
            if self.cold_ranker is not None:
                save_cold_ranker(self.cold_ranker, draft / COLD_RANKER)
            contents = {
                "key": key,
                "files": {name: sha256_of(draft / name) for name in files_below(draft)},
                "num_landmarks": None if self.head is None else len(self.head.landmark_MW),
                "ranker": None if self.ranker is None else _ranker_record(self.ranker),
                "cold_items": asdict(self.cold_items),
                "without_events": asdict(self.without_events),
                "cold_ranker": asdict(self.cold_ranker_choice),
            }
            text = json.dumps({**contents, "sha256": _digest(contents)}, indent=2)
            (draft / CONTENTS).write_text(text + "\n", "utf-8")

    @classmethod
    def load(cls, directory: Path, key: str, model: Retriever) -> Self | None:
        """The parts that `save` wrote with the same `key`, for the towers `model`.

        None, with a warning, where a file is damaged; None where there are none of the same inputs.
        """
        try:
            contents = json.loads((directory / CONTENTS).read_text("utf-8"))
            if contents.pop("sha256") != _digest(contents):
                raise ValueError(f"{CONTENTS} has another checksum than when it was written")
            if contents["key"] != key:
                return None
            changed = [name for name, sha in contents["files"].items() if sha256_of(directory / name) != sha]
            if changed:
                raise ValueError(f"{changed[0]} has another checksum than when it was written")
            return cls._read(directory, contents, model)
        except FileNotFoundError as error:
            if directory.exists():
                logger.warning("%s: %s; ranker and cold-start head are fitted again", directory, error)
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecsysError) as error:
            logger.warning(
                "%s is damaged (%s); ranker and cold-start head are fitted again", directory, error
            )
            return None

    @classmethod
    def _read(cls, directory: Path, contents: dict[str, Any], model: Retriever) -> Self:
        states = torch.load(directory / MODULES, map_location="cpu", weights_only=True)
        head = None
        if contents["num_landmarks"] is not None:
            head = ColdStartHead(model.spec, num_landmarks=contents["num_landmarks"])
            head.load_state_dict(states["head"])
            head = head.to(model.device).eval()
        ranker = contents["ranker"]
        return cls(
            head=head,
            sources=load_sources(directory / SOURCES),
            ranker=None if ranker is None else _ranker(ranker, states, model),
            cold_items=ColdItems.from_dict(contents["cold_items"]),
            without_events=WithoutEvents(**contents["without_events"]),
            cold_ranker=(
                load_cold_ranker(directory / COLD_RANKER) if (directory / COLD_RANKER).exists() else None
            ),
            cold_ranker_choice=ColdRankerChoice(**contents["cold_ranker"]),
        )


def load_or_fit(
    directory: Path | None, key: Callable[[], str], model: Retriever, fit: Callable[[], AfterTowers]
) -> AfterTowers:
    """The parts in `directory`, else those of `fit`, which are written there. None: nothing is kept."""
    if directory is None:
        return fit()
    now = key()
    parts = AfterTowers.load(directory, now, model)
    if parts is None:
        parts = fit()
        parts.save(directory, now)
    return parts


def after_towers_key(inputs: FitInputs, towers_key: str, model: Retriever) -> str:
    """A hexadecimal SHA-256 of everything that the fit of the parts reads.

    `towers_key` is the key of the towers' checkpoint, `model` the trained towers.
    """
    config = inputs.config
    read = [
        FORMAT,
        recsys.__version__,
        towers_key,
        inputs.dataset.fingerprint(),
        inputs.split.protocol,
        inputs.split.description,
        *(
            section.model_dump_json()
            for section in (config.model, config.sources, config.index, config.split)
        ),
        config.evaluate.exclude_seen,
        config.search.enabled,
        digest_of_parameters(model),
    ]
    digest = hashlib.sha256(repr(read).encode())
    for user, items in inputs.ground_truth_without_events.items():
        digest.update(user.encode())
        digest.update(items.tobytes())
    return digest.hexdigest()


def _digest(contents: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _ranker_record(ranker: FittedRanker) -> dict[str, Any]:
    return {
        "num_sources": ranker.module.ranker.num_sources,
        "num_lists": ranker.num_lists,
        "best_epoch": ranker.best_epoch,
        "blend_weight": ranker.blend_weight,
        "scores": dict(ranker.scores),
    }


def _ranker(described: dict[str, Any], states: dict[str, Any], model: Retriever) -> FittedRanker:
    values = dict(described)
    num_sources = values.pop("num_sources")

    def read(name: str) -> ScaledRanker:
        config = model.config.ranker
        ranker = Ranker(dim=model.spec.dim, config=config, num_sources=num_sources, num_context=len(CONTEXT))
        module = ScaledRanker(ranker, values["blend_weight"])
        module.load_state_dict(states[name])
        return module.to(model.device).eval()

    both = None
    if "for_validation" in states:
        both = CrossFittedRankers(for_validation=read("for_validation"), for_train=read("for_train"))
    return FittedRanker(module=read("ranker"), cross_fitted=both, **values)
