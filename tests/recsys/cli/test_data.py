"""The commands on datasets: what `recsys features` prints of the rows and media that were rejected."""

from pathlib import Path

import pytest
from dataset_parts import write
from tiny_encoders import write_tiny_image
from walk_parts import recsys

from scripts.bad_media import heic


@pytest.mark.parametrize("in_memory", [True, False])
def test_features_prints_rejected_rows_and_media(tmp_path: Path, in_memory: bool) -> None:
    """One row of events, one path and one picture are rejected, each with its reason."""
    folder = write(
        tmp_path / "shop",
        {
            "items.csv": "id,title,image\n1,,phone.heic\n2,,nowhere.png\n",
            "events.csv": "user,item,time\na,1,10\na,2,20\n,2,40\n",
            "phone.heic": heic(),
        },
        items={"image": "image"},
    )
    limit = () if in_memory else ("--set", "data.stream_above=0")
    image = f"encoders.image={write_tiny_image(tmp_path / 'image')}"
    answer = recsys("features", folder, "--cache", tmp_path / "cache", "--set", image, *limit)
    assert answer.code == 0, answer
    rejected = " ".join(answer.out[answer.out.index("Rejected") :].split())
    for reason in ("empty id", "no such file", "a HEIC picture"):
        assert rejected.count(reason) == 1, rejected
