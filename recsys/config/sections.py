"""The sections of the configuration, their defaults and ranges, and the presets; `load.py` reads them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from recsys.errors import did_you_mean
from recsys.modalities import MODALITIES
from recsys.retrieval import ListSettings

TEMPERATURE_RANGE = (0.01, 1.0)  # in which the softmax over cosines behaves
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]  # as a fraction, but never 0
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(ge=TEMPERATURE_RANGE[0], le=TEMPERATURE_RANGE[1])]
Device = Literal["cpu", "cuda"]
ProtocolName = Literal[
    "auto", "predefined", "leave_one_out", "user_temporal", "global_temporal", "held_out_items"
]


def content_baseline(label: str) -> str:
    """Name of the content neighbours by one modality, which has this `label`."""
    return f"content ({label})"


# In the order of the table; content neighbours are of one modality each.
BASELINES: tuple[str, ...] = (
    "popularity", "als", "bpr", "item_item",
    *(content_baseline(each.label) for each in MODALITIES),
    content_baseline("categories"), content_baseline("fusion"),
)  # fmt: skip


def _known_baseline(name: str) -> str:
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}; {did_you_mean(name, BASELINES)}")
    return name


BaselineName = Annotated[str, AfterValidator(_known_baseline)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    # A log with more events than this is built on disk as an event log instead of held in memory.
    stream_above: Annotated[int, Field(ge=0)] = 20_000_000


class SplitConfig(Section):
    protocol: ProtocolName = "auto"  # predefined where the dataset names files; else by its clock
    train: str | None = None  # files of a predefined split, relative to the dataset
    test: str | None = None
    test_fraction: Fraction = 0.1
    validation_fraction: Fraction = 0.1
    cold_fraction: Fraction = 0.05  # of the items; hidden from training to measure cold start
    seed: int = 0


class EncoderConfig(Section):
    text: str = "minilm-l6"  # any name of docs/encoders.md
    image: str = "efficientnet-lite0"
    audio: str = "whisper-tiny.en"
    transcriber: str = "whisper-tiny.en"  # "none" leaves spoken reviews without their words
    video_frames: Annotated[int, Field(ge=1, le=256)] = 8  # of each video, evenly spaced
    # Seconds of a video's sound that are encoded; of a longer video, evenly spaced parts of 30 seconds.
    video_sound_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    # Media that are decoded together; an encoder cuts them into batches of its own.
    batch_size: Count = 32
    device: Device = "cpu"


class ItemTowerConfig(Section):
    fusion: Literal["attention", "mean", "gated"] = "attention"
    use_id: bool = True
    use_content: bool = True  # False: the id-only model
    # Modalities that the item tower reads: "title", "image", "review_speech" ..., "categories" for all
    # category fields, or the name of one field. None: all that the items have.
    modalities: tuple[str, ...] | None = None
    # Rate at which training reads an item as cold: without its id and the reviews of users with events on it.
    id_dropout: Fraction = 0.5
    modality_dropout: Fraction = 0.1
    dropout: Fraction = 0.3
    num_heads: Count = 4


class ColdStartConfig(Section):
    """How items without training events are embedded."""

    # By a regression of warm items' vectors on their content, blended with the item tower. False: by the item
    # tower alone.
    content_regression: bool = True
    # Of the regression; the best on validation is taken.
    ridge_alphas: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3.0, 10.0, 30.0, 100.0)
    # Factor of the predicted popularity, see training/cold_start/; the best on validation is taken.
    popularity_pulls: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.0, 1.0, 2.0, 4.0, 8.0)
    num_folds: Annotated[int, Field(ge=2)] = 5  # of the cross-fitting behind both choices
    min_items: Annotated[int, Field(ge=2)] = 50  # warm items; with fewer there is no regression
    max_items: Count = 30_000  # warm items of the regression, the most popular ones; bounds time and memory
    # Warm items whose similarity to an item is an input of the regression, at most one for eight warm items.
    # 0: the regression is linear in the content.
    max_landmarks: Annotated[int, Field(ge=0)] = 1024


class UserTowerConfig(Section):
    num_blocks: Count = 2
    attention: Literal["pointwise", "softmax"] = "softmax"  # of HSTU, or of the usual transformer
    feed_forward: bool = True  # two layers on every token after each attention
    num_heads: Count = 4
    max_length: Annotated[int, Field(ge=2)] = 100
    dropout: Fraction = 0.4
    event_dropout: Fraction = 0.0  # of the events read in training, as if their items were unknown
    use_reviews: bool = True  # an event carries the review that the user left with it
    use_profile: bool = True  # the user's own fields as one more token
    use_kind: bool = True  # an event carries its kind
    use_value: bool = True  # and its value, and every other number of `recsys.history.EVENT_NUMBERS`
    # Learned relative biases for the distance of two events: in positions, and in time where the data have a
    # clock. Without `use_position` only the causal mask depends on the order of events.
    use_position: bool = True
    use_time: bool = True


class ALSConfig(Section):
    """Confidence = alpha * events of the pair; Hu, Koren and Volinsky 2008 has 1 + alpha * events."""

    factors: Count = 64
    regularization: Positive = 1.0
    alpha: Positive = 1.0
    iterations: Count = 15


class ItemItemConfig(Section):
    neighbors: Count = 100  # kept of an item, the item itself among them
    k1: NotNegative = 1.2  # of BM25, a user as the term
    b: Fraction = 0.25


class TransitionsConfig(Section):
    neighbors: Count = 100  # kept of an item
    reach: Count = 5  # the largest gap, in events, between two items that count as a transition
    gap_decay: Share = 0.7  # a transition over a gap counts gap_decay ** (gap - 1)
    event_decay: Share = 0.8  # an event of the history counts event_decay times the event after it


class PopularityConfig(Section):
    """Nothing to set."""


class SourcesConfig(Section):
    """Candidate sources by name. The module training/candidates/<name>.py fits the source of a section."""

    als: ALSConfig = ALSConfig()
    item_item: ItemItemConfig = ItemItemConfig()
    transitions: TransitionsConfig = TransitionsConfig()
    popularity: PopularityConfig = PopularityConfig()


class RankerConfig(Section):
    enabled: bool = True
    num_candidates: Count = 100  # of the retriever
    # Candidate sources beside the retriever. Each adds candidates and scores all candidates for the ranker.
    sources: tuple[str, ...] = tuple(SourcesConfig.model_fields)
    source_candidates: Annotated[int, Field(ge=0)] = 20  # that each of them may add
    history_length: Count = 50
    dropout: Fraction = 0.2
    num_epochs: Count = 15
    patience: Count = 4  # epochs without a better validation NDCG@10 before stopping
    learning_rate: Positive = 1e-4
    # Factor of the learning rate of the layers that read only the candidate features.
    feature_learning_rate_factor: Positive = 30.0
    weight_decay: NotNegative = 0.01
    # The ranker's output times the blend weight is added to the retriever's score. Validation chooses one of
    # these, or 0: no ranker.
    blend_weights: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.25, 0.5, 1.0)
    target_users: Fraction = 0.5  # of the validation users; their validation events are the ranker's targets

    @field_validator("sources")
    @classmethod
    def _are_sources(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = tuple(SourcesConfig.model_fields)
        for place, name in enumerate(names):
            if name not in known:
                raise ValueError(f"model.ranker.sources names {name!r}; {did_you_mean(name, known)}")
            if name in names[:place]:
                raise ValueError(f"model.ranker.sources names {name!r} twice")
        return names


class ModelConfig(Section, ListSettings):  # its fields are keys of this section: model.cold_ranks ...
    dim: Count = 64
    temperature: Temperature = 0.1  # of the cosines; where learned, the start
    learn_temperature: bool = True
    item: ItemTowerConfig = ItemTowerConfig()
    cold_start: ColdStartConfig = ColdStartConfig()
    user: UserTowerConfig = UserTowerConfig()
    ranker: RankerConfig = RankerConfig()

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        heads = {"user": self.user.num_heads}
        if self.item.fusion == "attention":
            heads["item"] = self.item.num_heads
        for tower, num in heads.items():
            if self.dim % num:
                raise ValueError(f"model.dim = {self.dim} is no multiple of model.{tower}.num_heads = {num}")
        return self


class AlignmentConfig(Section):
    kind: Literal["none", "contrastive", "triplet"] = "none"
    weight: NotNegative = 0.03
    temperature: Positive = 0.07  # of the contrastive loss
    margin: NotNegative = 0.2  # of the triplet loss, in cosines


class ViewsConfig(Section):
    weight: NotNegative = 0.1
    temperature: Positive = 0.1
    token_dropout: Fraction = 0.3  # of an item's tokens, never all of them
    feature_dropout: Fraction = 0.1  # of a token's dimensions


class AdversarialConfig(Section):
    weight: NotNegative = 0.0
    radius: NotNegative = 0.1  # as a share of a standardised vector's length, the root of its width


class AuxiliaryConfig(Section):
    """Losses that are added to the next-item loss; a weight of 0 turns a loss off."""

    num_items: Annotated[int, Field(ge=2)] = 1024  # sampled in each step for alignment and views
    alignment: AlignmentConfig = AlignmentConfig()  # of the modalities of one item
    views: ViewsConfig = ViewsConfig()  # two views of one item, made by dropout
    # Perturbed modality vectors; a step takes twice as long.
    adversarial: AdversarialConfig = AdversarialConfig()


class OptimizerConfig(Section):
    """AdamW and its schedule; rate, decay and warm-up are in `train`."""

    betas: tuple[Fraction, Fraction] = (0.9, 0.98)  # of the moments
    max_gradient_norm: Positive = 1.0  # gradients of all parameters together are clipped to this length
    final_rate: Fraction = 0.02  # learning rate at the end of the cosine, as a fraction of the peak


class TrainConfig(Section):
    epochs: Count = 20
    patience: Count = 5  # epochs without a better validation NDCG@10 before stopping, after 3/4 of `epochs`
    batch_tokens: Count = 6400  # largest number of events in a step
    steps_per_epoch: Count = 30  # at least; a small log is cut into smaller batches
    learning_rate: Positive = 2e-3
    weight_decay: NotNegative = 0.01
    warmup_fraction: Fraction = 0.05  # of the steps, in which the learning rate rises linearly
    optimizer: OptimizerConfig = OptimizerConfig()
    # Time constant of the moving average of the weights, in epochs. The average is validated and kept.
    # 0: no average.
    average_epochs: NotNegative = 3.0
    # auto: bfloat16 on processors and GPUs with instructions for it, else float32, which is faster there.
    # On a GPU, float32 trains with TF32 matrix products.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    loss_chunk: Count = 1024  # rows of logits in memory at a time
    sampled_above: Count = 50_000  # catalogue size from which the softmax is sampled
    num_negatives: Count = 8192
    # Fraction of these negatives that are hard: near users of the step, in an index rebuilt each epoch.
    hard_negatives: Annotated[float, Field(ge=0, lt=1)] = 0.0
    auxiliary: AuxiliaryConfig = AuxiliaryConfig()
    refit: bool = True
    seed: int = 0
    # Threads of training and evaluation; None: all cores. The same number gives the same results.
    num_threads: Count | None = None
    device: Literal["auto", "cpu", "cuda"] = "cpu"  # auto: cuda where torch finds a GPU
    # The items' vectors lie on the GPU while they take at most this fraction of its free memory; larger ones
    # stay in host memory, and the rows of a step are copied.
    features_memory: Share = 0.5


class BPRCandidate(Section):
    factors: Count = 64
    learning_rate: Positive = 0.05
    regularization: NotNegative = 0.01


class GridConfig(Section):
    """The settings that are tried for each baseline; the best by NDCG@10 on validation is taken."""

    # Popularity without a half-life is tried as well. Half a year to a year is best on MovieLens-small.
    popularity_half_life_days: tuple[Positive, ...] = (2000, 1000, 365, 180, 90, 30, 7, 1)
    # On MovieLens-small and 1M, regularization 100, 256 factors and alpha 10 were worse. Alpha 10 is kept for
    # data with repeated events.
    als: Annotated[tuple[ALSConfig, ...], Field(min_length=1)] = (
        *(
            ALSConfig(factors=factors, regularization=regularization)
            for factors in (64, 128)
            for regularization in (0.01, 1.0, 10.0)
        ),
        ALSConfig(alpha=10.0),
    )
    # The first is best on MovieLens-small, the second on 1M.
    bpr: Annotated[tuple[BPRCandidate, ...], Field(min_length=1)] = (
        BPRCandidate(learning_rate=0.02),
        BPRCandidate(factors=128),
    )
    bpr_epochs: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 20, 40, 80)  # of one fit, ascending
    item_item: Annotated[tuple[ItemItemConfig, ...], Field(min_length=1)] = (
        ItemItemConfig(),
        ItemItemConfig(k1=0.2, b=0.5),
        ItemItemConfig(k1=0.2, b=0.75),
        ItemItemConfig(b=0.0),
        ItemItemConfig(b=0.5),
        ItemItemConfig(k1=100.0),
        ItemItemConfig(k1=100.0, b=0.5),
    )
    item_item_neighbors: tuple[Count, ...] = (20, 50, 200, 500)  # tried with the best of `item_item`
    content_last: tuple[Count, ...] = (
        30,
        10,
        3,
    )  # newest events of the history, beside the whole history
    fusion_weights: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.25, 0.5, 1.0, 2.0)

    @model_validator(mode="after")
    def _epochs_ascend(self) -> Self:
        if list(self.bpr_epochs) != sorted(set(self.bpr_epochs)):
            raise ValueError(f"evaluate.grids.bpr_epochs = {list(self.bpr_epochs)} must ascend")
        return self


class EvaluateConfig(Section):
    k: tuple[Count, ...] = (10, 20)
    baselines: tuple[BaselineName, ...] = BASELINES  # those of modalities that are missing are left out
    grids: GridConfig = GridConfig()
    # Train the same model on ids alone, without content. None: only where the dataset has an oracle.
    id_only: bool | None = None
    exclude_seen: bool = True
    # Also evaluate towers that are trained on the validation events as well, as many publications do.
    with_validation: bool = False
    knockouts: bool = True  # `run` measures the contribution of each modality
    knockout_users: Count = 500  # test users of the knock-outs, sampled at random


class IndexConfig(Section):
    kind: Literal["exact", "faiss"] = "exact"


class TrackConfig(Section):
    enabled: bool = True
    uri: str | None = None  # None: sqlite in the working directory
    experiment: str = "recsys"


class Config(Section):
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    encoders: EncoderConfig = EncoderConfig()
    model: ModelConfig = ModelConfig()
    sources: SourcesConfig = SourcesConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    index: IndexConfig = IndexConfig()
    track: TrackConfig = TrackConfig()


# Removed keys -> what to write instead. A configuration with such a key is refused with these words.
REPLACED_KEYS: Mapping[str, str] = {
    "evaluate.twin": "write evaluate.id_only",
    "evaluate.grids.item_item_neighbours": "write evaluate.grids.item_item_neighbors",
    "model.item.regress_new": "write model.cold_start.content_regression",
    "model.item.sentiment": "delete it: no model reads the sentiment of reviews, it annotates the catalogue",
    **dict.fromkeys(
        ("model.cold_bias", "model.cold_from", "model.cold_budget"),
        "cold items have fixed ranks now: set model.cold_ranks = [10, 17, 19], say, or [] for none",
    ),
}
# The same for values: (dotted key, old value) -> new value.
REPLACED_VALUES: Mapping[tuple[str, str], str] = {("split.protocol", "given"): "predefined"}

# A preset changes a few fields; it never inherits from another.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "fast": {"model": {"dim": 32, "user": {"num_blocks": 1}}, "train": {"epochs": 5}},
    # Long histories over a few thousand items, with leave-one-out as in publications: a wider and deeper user
    # tower, little dropout, and ids that are rarely dropped.
    "movielens-1m": {
        "split": {"protocol": "leave_one_out"},
        "model": {
            "dim": 128,
            "temperature": 0.05,
            "item": {"id_dropout": 0.1, "dropout": 0.2},
            "cold_ranks": [],
            "user": {"num_blocks": 4, "max_length": 200, "dropout": 0.22},
            "ranker": {"num_epochs": 6},
        },
        # 25 epochs with average_epochs = 3 are better and take four times as long.
        "train": {"epochs": 6, "average_epochs": 1.0},
    },
}
