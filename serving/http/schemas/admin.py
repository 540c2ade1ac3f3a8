"""Bodies and answers of the endpoints for the operator."""

from pydantic import Field

from serving.http.schemas.common import Encodable, Model, ModelInfo


class BundleRequest(Model):
    """The bundle to serve."""

    bundle: Encodable = Field(
        min_length=1,
        max_length=4096,
        description="A version of the store, which may be cut short; or the path of a bundle, run or store, "
        "relative to the folder of bundles that the server was started with.",
        examples=["bundle"],
    )


class BundleAnswer(Model):
    """The bundle that is served, and the one that a roll-back leads to."""

    model: ModelInfo
    previous: str | None = Field(description="Version of the bundle that was served before.")
    golden_requests: int = Field(default=0, description="Requests that it had to answer before.")
    milliseconds: dict[str, float] = Field(
        default_factory=dict, description="Of opening, warming and checking the bundle."
    )
