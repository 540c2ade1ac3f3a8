"""The other sections of the configuration, `Config` itself, replaced keys and presets."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from recsys.config.evaluate import EvaluateConfig
from recsys.config.fields import (
    Count,
    Device,
    Fraction,
    NotNegative,
    Positive,
    Section,
    Share,
    Time,
    microseconds_of,
)
from recsys.config.model import ModelConfig, SourcesConfig
from recsys.config.publish import PublishConfig
from recsys.config.search import SearchConfig

ProtocolName = Literal[
    "auto", "predefined", "leave_one_out", "user_temporal", "global_temporal", "held_out_items"
]


ImputationMethod = Literal["none", "mean", "ridge", "variational"]


class DataConfig(Section):
    # A table of interactions with more rows is kept on disk as an event log and read in parts. Lower it if
    # memory is short; raise it for an option that needs all events in memory.
    stream_above: Annotated[int, Field(ge=0)] = 20_000_000
    # The dataset as it was at this time: later events and reviews are not read. Needs times, and the events
    # in memory. None: all of them.
    until: Time | None = None


class SplitConfig(Section):
    # Which events are training, validation and test; docs/evaluation.md describes the protocols. "auto" is
    # "predefined" where files are named, "leave_one_out" without a clock, else "global_temporal" where the
    # windows are large enough, else "user_temporal".
    protocol: ProtocolName = "auto"
    # Of "auto": the users with earlier events that test and validation each need for "global_temporal".
    min_window_users: Count = 300
    train: str | None = None  # file of a predefined split, relative to the dataset
    test: str | None = None  # the other file
    # Fractions of the positive events: the latest are test, those before them validation. "leave_one_out" has
    # one event of each for every user instead.
    test_fraction: Fraction = 0.1
    validation_fraction: Fraction = 0.1
    # Fraction of the items with content whose events are hidden from training, to measure cold start. 0 keeps
    # all events. Not with "leave_one_out" and "predefined".
    cold_fraction: Fraction = 0.05
    seed: int = 0  # of the sample of hidden items
    # Of "global_temporal": the times where validation and test start, in place of the two fractions.
    validation_start: Time | None = None
    test_start: Time | None = None

    @model_validator(mode="after")
    def _starts_are_in_order(self) -> Self:
        starts = (self.validation_start, self.test_start)
        if starts == (None, None):
            return self
        if self.protocol != "global_temporal":
            raise ValueError('split.validation_start and split.test_start need protocol = "global_temporal"')
        if self.validation_start is None or self.test_start is None:
            raise ValueError("split.validation_start and split.test_start are set together")
        if microseconds_of(self.validation_start) > microseconds_of(self.test_start):
            raise ValueError("split.validation_start is later than split.test_start")
        return self


class EncoderConfig(Section):
    """Encoders by any of the names of docs/encoders.md. After a change, media are encoded again."""

    text: str = "minilm-l6"  # English. Choose "use-multilingual" for other languages
    image: str = "efficientnet-lite0"
    audio: str = "whisper-tiny.en"
    # Speech to text, for English: "whisper-tiny.en" or a directory in CTranslate2's format. "none": speech
    # has no words, only its sound is encoded.
    transcriber: str = "whisper-tiny.en"
    # Frames encoded of each video, evenly spaced. Time grows with it.
    video_frames: Annotated[int, Field(ge=1, le=256)] = 8
    # Seconds of sound encoded of each video; of a longer video, evenly spaced parts of 30 seconds.
    video_sound_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    batch_size: Count = 32  # media in memory at once. Lower it if memory is short
    device: Device = "cpu"


class FeaturesConfig(Section):
    # Vectors of the media that an item lacks, from the other media of the same item: "none"; "mean", of all
    # items; "ridge", a linear regression; "variational", a variational autoencoder whose posterior is a
    # product of experts. docs/results.md has what each brings.
    imputation: ImputationMethod = "none"


class TokenAlignmentConfig(Section):
    """Aligns the tokens of an item's modalities: tokens of one item become more similar than of two items."""

    kind: Literal["none", "contrastive", "triplet"] = "none"  # InfoNCE, or the hardest triplet (VSE++)
    weight: NotNegative = 0.03  # factor of the loss
    temperature: Positive = 0.07  # of the contrastive loss
    margin: NotNegative = 0.2  # of the triplet loss, in cosines


class ViewsConfig(Section):
    """Self-supervised contrastive loss between two views of an item, made by dropout."""

    weight: NotNegative = 0.1  # factor of the loss
    temperature: Positive = 0.1  # of the contrastive loss
    token_dropout: Fraction = 0.3  # fraction of an item's tokens that a view lacks, never all of them
    feature_dropout: Fraction = 0.1  # fraction of a token's dimensions set to 0


class AdversarialConfig(Section):
    """The next-item loss a second time, with adversarially perturbed modality vectors (Tang et al. 2019)."""

    weight: NotNegative = 0.0  # factor of the loss; above 0 a step takes twice as long
    # Length of the perturbation, relative to the length of a standardised vector (the root of its width).
    radius: NotNegative = 0.1


class AuxiliaryConfig(Section):
    """Losses that are added to the next-item loss. A weight of 0 turns a loss off, at no cost."""

    num_items: Annotated[int, Field(ge=2)] = 1024  # items sampled in each step for alignment and views
    alignment: TokenAlignmentConfig = TokenAlignmentConfig()
    views: ViewsConfig = ViewsConfig()
    adversarial: AdversarialConfig = AdversarialConfig()


class OptimizerConfig(Section):
    """Details of AdamW and its schedule; learning rate, weight decay and warm-up are keys of `train`."""

    betas: tuple[Fraction, Fraction] = (0.9, 0.98)  # decay rates of the first and the second moment
    max_gradient_norm: Positive = 1.0  # the gradient of all parameters together is clipped to this norm
    final_rate: Fraction = 0.02  # learning rate at the end of the cosine, as a fraction of the peak


class TablesConfig(Section):
    """The learned tables: ids and category fields."""

    # "adamw" updates every row in every step, and each process holds the tables whole. "rowwise_adagrad"
    # updates only the rows that a step reads, as it flows back, and TorchRec divides the tables among the
    # processes. "auto": "adamw" where the softmax is full, which reads every row, else "rowwise_adagrad".
    optimizer: Literal["auto", "adamw", "rowwise_adagrad"] = "auto"
    learning_rate: Positive = 0.02  # of "rowwise_adagrad": the peak, on the schedule of train.learning_rate
    # How TorchRec may divide a table among processes: by rows, or as a whole that one process holds.
    id_sharding: Literal["row_wise", "table_wise"] = "row_wise"
    category_sharding: Literal["row_wise", "table_wise"] = "table_wise"


class ProcessesConfig(Section):
    """A training in several processes, started by torchrun; docs/distributed.md."""

    # A process that does not answer the others for so long is lost, and the training ends.
    timeout_seconds: Count = 600
    # The others wait so long for rank 0 while it alone validates, evaluates, exports or fits the ranker.
    first_rank_timeout_seconds: Count = 86_400


class TrainConfig(Section):
    epochs: Count = 20  # at most. Raise it with large data, lower it for a quick trial
    # Epochs without a better validation NDCG@10 before training stops. Training never stops in the first
    # three quarters of `epochs`.
    patience: Count = 5
    batch_tokens: Count = 6400  # events in a step, at most. Lower it if memory is short
    # Steps in an epoch, at least: a small log is cut into smaller batches.
    steps_per_epoch: Count = 30
    learning_rate: Positive = 2e-3  # the peak, after the warm-up
    weight_decay: NotNegative = 0.01  # of AdamW
    warmup_fraction: Fraction = 0.05  # fraction of the steps in which the learning rate rises linearly
    optimizer: OptimizerConfig = OptimizerConfig()
    tables: TablesConfig = TablesConfig()
    processes: ProcessesConfig = ProcessesConfig()
    # Time constant of the moving average of the weights, in epochs. The average is validated and kept.
    # 0: no average.
    average_epochs: NotNegative = 3.0
    # Number format of the towers' products. "auto": bfloat16 on processors and GPUs with instructions for it,
    # else float32, which is faster there. On a GPU, float32 trains with TF32 products.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    loss_chunk: Count = 1024  # rows of logits in memory at once. Lower it if memory is short
    # The softmax is over all items with training events up to so many, and over sampled negatives beyond.
    sampled_above: Count = 50_000
    num_negatives: Count = 8192  # negatives of a step, where the softmax is sampled
    # Fraction of these negatives that are hard: nearest items of users in the step, from an index that is
    # built again each epoch.
    hard_negatives: Annotated[float, Field(ge=0, lt=1)] = 0.0
    auxiliary: AuxiliaryConfig = AuxiliaryConfig()
    # Train once more on all events, after the evaluation and for the chosen number of epochs. The bundle
    # holds that model. False: the bundle holds the evaluated model.
    refit: bool = True
    seed: int = 0  # of weights, sampling and dropout
    # Threads of training and evaluation; None: all cores. The same number gives the same results.
    num_threads: Count | None = None
    device: Literal["auto", "cpu", "cuda"] = "cpu"  # auto: cuda where torch finds a GPU
    # The items' vectors lie on the GPU while they take at most this fraction of its free memory; larger ones
    # stay in host memory, and the rows of a step are copied.
    features_memory: Share = 0.5


class IndexConfig(Section):
    # Search for the nearest items. "exact" compares all of them. "faiss" is approximate, and faster for
    # catalogues of hundreds of thousands of items; it needs the extra `faiss`.
    kind: Literal["exact", "faiss"] = "exact"


class TrackConfig(Section):
    enabled: bool = True  # record parameters, metrics and artifacts of a run, in its directory and in MLflow
    # Address of the tracking server. None: $MLFLOW_TRACKING_URI, else where the run was tracked before, else
    # the SQLite file mlflow.db beside the run directory.
    uri: str | None = None
    # Name of the MLflow experiment. None: $MLFLOW_EXPERIMENT_NAME or $MLFLOW_EXPERIMENT_ID, else "recsys".
    experiment: str | None = None
    system_metrics: bool = True  # record the load of processor, memory, disk, network and GPU memory
    system_metrics_seconds: Positive = 10.0  # between two records


class Config(Section):
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    encoders: EncoderConfig = EncoderConfig()
    features: FeaturesConfig = FeaturesConfig()
    model: ModelConfig = ModelConfig()
    sources: SourcesConfig = SourcesConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    index: IndexConfig = IndexConfig()
    search: SearchConfig = SearchConfig()
    track: TrackConfig = TrackConfig()
    publish: PublishConfig = PublishConfig()


# Removed key -> the remedy. A configuration with a removed key is refused, and the error shows the remedy.
REPLACED_KEYS: Mapping[str, str] = {
    "evaluate.twin": "write evaluate.id_only",
    "evaluate.grids.item_item_neighbours": "write evaluate.grids.item_item_neighbors",
    "model.item.regress_new": "write model.cold_start.content_regression",
    "model.item.sentiment": "delete it: no model reads the sentiment of reviews, it annotates the catalogue",
    **dict.fromkeys(
        ("model.cold_bias", "model.cold_from"),
        "cold items have fixed ranks now: set model.cold_ranks = [10, 17, 19], say, or [] for none",
    ),
}
# (dotted key, removed value) -> new value.
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
