"""The section of search."""

from typing import Annotated, Literal

from pydantic import Field

from recsys.config.fields import Count, NotNegative, Section, Temperature


class TrainedHeadsConfig(Section):
    """Alignment heads that are trained from those of the closed form: one MLP for each kind of encoder."""

    loss: Literal["contrastive", "triplet"] = "contrastive"  # InfoNCE, or the hinge on the hardest negatives
    margin: NotNegative = 0.2  # of the triplet loss, in cosines
    temperature: Temperature = 0.07  # of the contrastive loss, at the start; it is learned
    hidden_dim: Count = 256  # width of the hidden layer
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    num_seeds: Count = 3  # heads trained from so many seeds; a cosine is the mean of theirs
    epochs: Count = 20  # at most
    patience: Count = 5  # epochs without a better validation NDCG before training stops
    batch_size: Annotated[int, Field(ge=2)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: NotNegative = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the contrastive loss
    queue_size: Annotated[int, Field(ge=0)] = 1024  # vectors of earlier batches that are further negatives
    # Nearest wrong items of the current space, of which one joins the batch for each of its items; 0: none.
    num_hard_negatives: Annotated[int, Field(ge=0)] = 4
    hard_negatives_every: Count = 5  # epochs between two searches for them
    # Of the loss on items with one kind of media: two dropout masks give one vector.
    consistency_weight: NotNegative = 0.0


class AlignmentConfig(Section):
    """The shared space of search: text, pictures and sound of an item become similar."""

    # "auto": the best on validation items of the closed form, the trained heads and both together, and the
    # encoders' own common space where they have one.
    method: Literal["auto", "closed_form", "trained"] = "auto"
    dim: Count = 128  # width of the space of one model, at most; several together have a multiple of it
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15  # of the items with two kinds of media
    # Items with two kinds of media, below which the heads are not trained: the closed form is used.
    min_items: Count = 300
    trained: TrainedHeadsConfig = TrainedHeadsConfig()


class SearchConfig(Section):
    enabled: bool = True  # the exported bundle has a search part
    # Sentences that are taken out of descriptions, at most, on which the fusion is chosen. 0: that
    # by evidence. Only for catalogues of which few items share a sentence; in the sample shop many do.
    max_queries: Annotated[int, Field(ge=0)] = 0
    # Spoken queries: the transcriber is copied into the bundle (75 MB for "whisper-tiny.en").
    speech: bool = True
    alignment: AlignmentConfig = AlignmentConfig()
