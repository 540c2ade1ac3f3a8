"""The sections `model` and `sources`: towers, cold-start head, ranker and candidate sources."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from recsys.config.fields import Count, Fraction, NotNegative, Positive, Section, Share, Temperature
from recsys.errors import did_you_mean
from recsys.retrieval import ListSettings


class ItemTowerConfig(Section):
    # How the tokens of an item become its vector. "attention" weighs the tokens with learned queries, "gated"
    # with one learned gate, "mean" equally.
    fusion: Literal["attention", "mean", "gated"] = "attention"
    use_id: bool = True  # a learned vector for each item with training events. False: content alone
    use_content: bool = True  # False: an id-only model, to measure the contribution of content
    # Modalities that the item tower reads: names such as "title", "image", "review_speech", the name of one
    # category field, or "categories" for all category fields. None: all that the items have.
    modalities: tuple[str, ...] | None = None
    # Fraction of the items that a training step reads as cold items: without their ids, and without reviews
    # by users with events on the item. Raise it if cold items matter more than warm ones.
    id_dropout: Fraction = 0.5
    # Fraction of the tokens that a training step drops. Raise it if many items lack a modality.
    modality_dropout: Fraction = 0.1
    dropout: Fraction = 0.3  # fraction of the hidden numbers set to 0. Raise it if the model overfits
    num_heads: Count = 4  # of the attention fusion; must divide model.dim


class ColdStartConfig(Section):
    """How items without training events are embedded."""

    # True: a cold item's vector is a blend of the item tower's and a regression of warm items' vectors on
    # their content. False: the item tower's vector.
    content_regression: bool = True
    # Ridge penalties of the regression. Validation chooses one of them, on cross-fitted vectors of warm
    # items.
    ridge_alphas: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3.0, 10.0, 30.0, 100.0)
    # Factors by which predicted popularity moves a cold item's vector towards the mean of all positive
    # events. Validation chooses one of them. (0.0,): predicted popularity is not used.
    popularity_pulls: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.0, 1.0, 2.0, 4.0, 8.0)
    num_folds: Annotated[int, Field(ge=2)] = 5  # folds of the cross-fitting
    min_items: Annotated[int, Field(ge=2)] = 50  # with fewer warm items no regression is fitted
    # The regression is fitted on at most so many warm items, the most popular ones. Lower it to save time and
    # memory.
    max_items: Count = 30_000
    # At most so many warm items (and one for every eight) whose similarity to an item is an input of the
    # regression. 0: a regression that is linear in the content.
    max_landmarks: Annotated[int, Field(ge=0)] = 1024
    # True: a user's cold items are ordered by the towers' score and the similarity of their content to the
    # user's items, with weights that validation chooses. False: by the towers' score.
    ranker: bool = True
    # Powers of the cosine of two items' content. Validation chooses one for each modality. A high power
    # counts near duplicates alone.
    content_powers: Annotated[tuple[Positive, ...], Field(min_length=1)] = (2.0, 4.0, 8.0, 16.0)
    content_neighbors: Count = 100  # most similar cold items kept for each item and modality


class UserTowerConfig(Section):
    num_blocks: Count = 2  # transformer blocks. More help with long histories and many events
    # "softmax": the usual transformer. "pointwise": SiLU weights without normalisation, as in HSTU.
    attention: Literal["pointwise", "softmax"] = "softmax"
    feed_forward: bool = True  # a feed-forward network of twice the width after each attention
    num_heads: Count = 4  # attention heads; must divide model.dim
    # Newest events of a history that the tower reads. Time and memory grow with its square.
    max_length: Annotated[int, Field(ge=2)] = 100
    dropout: Fraction = 0.4  # fraction of the hidden numbers set to 0. Lower it with many events a user
    # Fraction of the events whose item a training step replaces by the unknown item.
    event_dropout: Fraction = 0.0
    use_reviews: bool = True  # read the review that the user left with an event
    use_profile: bool = True  # read the user's own fields, as one more token
    use_kind: bool = True  # read the kind of an event: view, purchase ...
    use_value: bool = True  # read the value of an event, and all of `recsys.history.EVENT_NUMBERS`
    # Learned attention biases for the distance of two events in positions. False: only the causal mask
    # depends on the order of events.
    use_position: bool = True
    use_time: bool = True  # the same for the distance in seconds, where the data have a clock


class ALSConfig(Section):
    """Implicit ALS of Hu, Koren and Volinsky 2008, with confidence = alpha * events of the pair.

    The paper has 1 + alpha * events.
    """

    factors: Count = 64  # width of the factors of users and items
    regularization: Positive = 1.0  # penalty on their squares. Raise it with few events a user
    alpha: Positive = 1.0  # confidence of one event. Raise it where events repeat
    iterations: Count = 15  # alternations between users and items


class ItemItemConfig(Section):
    """Item-item neighbours by the product of BM25-weighted columns: an item is a document, a user a term."""

    neighbors: Count = 100  # neighbours kept for each item, the item itself among them
    k1: NotNegative = 1.2  # saturation of repeated events; near 0, one event counts as much as many
    b: Fraction = 0.25  # normalisation by an item's number of events: 0 none, 1 full


class EASEConfig(Section):
    """EASE of Steck 2019: item-item weights by ridge regression in closed form."""

    regularization: Positive = 100.0  # penalty on the squares of the weights. Raise it with few events
    neighbors: Count = 200  # largest positive weights kept for each item by the candidate source
    # Items of a larger catalogue beyond the most frequent ones have no weights. Time grows with the third
    # power, memory with 8 bytes times the square.
    max_items: Count = 8192


class TransitionsConfig(Section):
    """Item-item neighbours by the order of events: which items follow an item in the histories."""

    neighbors: Count = 100  # neighbours kept for each item
    reach: Count = 5  # largest gap between two events, in events, that counts as a transition
    gap_decay: Share = 0.7  # a transition over a gap counts gap_decay ** (gap - 1)
    event_decay: Share = 0.8  # an event of the history counts event_decay times the event after it


class ContentConfig(Section):
    """The items whose content is most similar to the user's items, one source for each modality."""

    power: Positive = 4.0  # of the cosine of two items. A high power counts near duplicates alone
    neighbors: Count = 100  # neighbours kept for each item


class PopularityConfig(Section):
    """The most popular items by positive training events; nothing to set."""


class RecentConfig(Section):
    """Popularity of late, and how new an item is; read where the data have a clock."""

    # Half-lives in days: an event counts half as much after this time. One source each.
    half_lives_days: Annotated[tuple[Positive, ...], Field(min_length=1)] = (30.0, 365.0)
    newness_days: Positive = 90.0  # half-life of the weight of an item's first event


class SourcesConfig(Section):
    """Candidate sources by name. The module training/candidates/<name>.py fits the source of a section."""

    als: ALSConfig = ALSConfig()
    item_item: ItemItemConfig = ItemItemConfig()
    transitions: TransitionsConfig = TransitionsConfig()
    popularity: PopularityConfig = PopularityConfig()
    recent: RecentConfig = RecentConfig()
    ease: EASEConfig = EASEConfig()
    content: ContentConfig = ContentConfig()


class RankerConfig(Section):
    enabled: bool = True  # False: lists in the retriever's order
    num_candidates: Count = 100  # best items of the retriever that the ranker orders
    # Candidate sources beside the retriever. Each adds candidates, and scores all candidates for the ranker.
    # "ease", "content" and "recent" are not among them by default: no clear gain was measured on several data
    # sets. "recent" needs a clock.
    sources: tuple[str, ...] = tuple(
        name for name in SourcesConfig.model_fields if name not in ("ease", "content", "recent")
    )
    source_candidates: Annotated[int, Field(ge=0)] = 20  # candidates that each source may add
    history_length: Count = 50  # newest events that the ranker reads
    # Fraction of the hidden numbers set to 0, and of the tokens that a training step drops.
    dropout: Fraction = 0.2
    num_epochs: Count = 15  # at most
    patience: Count = 4  # epochs without a better validation NDCG@10 before training stops
    learning_rate: Positive = 1e-4  # of AdamW, for the layers that read vectors
    # Factor of the learning rate for the layers that read only the candidate features.
    feature_learning_rate_factor: Positive = 30.0
    weight_decay: NotNegative = 0.01  # of AdamW
    # score = retriever's score + blend weight * ranker's output. Validation chooses one of these weights, or
    # 0, with which the bundle has no ranker.
    blend_weights: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.25, 0.5, 1.0)
    # Fraction of the validation users whose validation events train the ranker. The other users choose its
    # epoch and its blend weight.
    target_users: Fraction = 0.5

    @field_validator("sources")
    @classmethod
    def _are_sources(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = tuple(SourcesConfig.model_fields)
        for at, name in enumerate(names):
            if name not in known:
                raise ValueError(f"model.ranker.sources names {name!r}; {did_you_mean(name, known)}")
            if name in names[:at]:
                raise ValueError(f"model.ranker.sources names {name!r} twice")
        return names


class ModelConfig(Section, ListSettings):  # with the keys of ListSettings: model.cold_ranks ...
    dim: Count = 64  # width of item vectors, user vectors and tokens; a multiple of every num_heads
    # The largest fraction of NDCG@10 and of NDCG@20 on warm items that cold_ranks = "auto" may cost, as
    # expected on validation. Raise it to show more cold items.
    cold_budget: Fraction = 0.03
    # Half-lives in days of popularity, which orders items for users of whom nothing is known: an event counts
    # half as much after this time. Validation chooses one, or none; an empty list is none.
    half_lives_days: tuple[Positive, ...] = (1000, 365, 180, 90, 30, 7)
    # score = cosine / temperature. A lower temperature weighs the hardest negatives more.
    temperature: Temperature = 0.1
    learn_temperature: bool = True  # True: training starts from `temperature` and adapts it
    item: ItemTowerConfig = ItemTowerConfig()
    cold_start: ColdStartConfig = ColdStartConfig()
    user: UserTowerConfig = UserTowerConfig()
    ranker: RankerConfig = RankerConfig()

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        heads = {"user": self.user.num_heads}
        if self.item.fusion == "attention":
            heads["item"] = self.item.num_heads
        for tower, num in heads.items():
            if self.dim % num:
                raise ValueError(f"model.dim = {self.dim} is no multiple of model.{tower}.num_heads = {num}")
        return self
