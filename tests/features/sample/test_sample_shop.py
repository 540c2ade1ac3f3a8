"""The sample shop: repeatable, complete, and with each attribute expressed in one modality only."""

import hashlib
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.sample import FORMER_SHOP, SampleOptions, write_sample_shop
from features.sample.pictures import PALETTES, PATTERNS
from features.sample.speech import recordings
from recsys.errors import DataError

OPTIONS = SampleOptions.from_values(
    {
        **FORMER_SHOP,
        "seed": 11,
        "num_items": 40,
        "num_users": 60,
        "events_per_user": 12.0,
        "new_fraction": 0.2,
        "unseen_fraction": 0.1,
        "num_visual": 3,
        "num_text": 3,
        "num_voice": 3,
        "new_user_fraction": 0.05,
        "picture_size": 40,
    }
)
# Words of looks and of sayings, which no text may use.
LOOK_WORDS = {word for name in PALETTES for word in name.split("_")} | set(PATTERNS) | {
    "blue", "green", "white", "grey", "violet", "striped", "stripe", "dotted", "dot", "spot", "spotted",
    "checked", "check", "chequered", "wavy", "ring", "cross", "triangle", "grid", "pattern", "patterned",
    "colour", "coloured", "colourful", "color", "dark", "bright", "pale",
}  # fmt: skip
SPOKEN_WORDS = {
    "small", "smaller", "tight", "size", "quiet", "silent", "noise", "smell", "smells", "scent", "fragrance",
    "heavy", "weight", "weighs", "delivery", "delivered", "shipping", "soft", "clean", "wash", "stain",
    "warm", "cosy", "gift", "present", "support", "service", "assembly", "assemble", "screws", "children",
    "kids", "tough", "sturdy", "durable", "broke", "fold", "folds", "flat",
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "shop"
    write_sample_shop(out, OPTIONS)
    return out


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def words(texts: pl.Series) -> set[str]:
    return {word for text in texts.drop_nulls() for word in re.findall(r"[a-z]+", text.lower())}


def launched_late(shop: Path) -> set[str]:
    """Items launched at or after the cut-off."""
    cutoff = pl.read_parquet(shop / "splits" / "train.parquet")["timestamp"].max()
    items = pl.read_parquet(shop / "items.parquet")
    return set(items.filter(pl.col("launched") > cutoff)["item_id"])


def test_same_options_write_the_same_bytes(shop: Path, tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "again", OPTIONS)
    assert hashes(tmp_path / "again") == hashes(shop)


# Of a shop that was made before the options for families and change over time existed.
BEFORE = {
    "interactions.csv": "53803399af8e196a",
    "reviews.csv": "65f08a6efc2660f4",
    "users.csv": "12edb6c24da31262",
    "items.parquet": "5ee7f099d8222e1d",
}


def test_without_the_newer_options_the_shop_is_the_former_one(shop: Path) -> None:
    content = {name: (shop / name).read_bytes() for name in BEFORE}
    # The bytes of Parquet depend on the version of its writer.
    content["items.parquet"] = pl.read_parquet(shop / "items.parquet").write_json().encode()
    assert {name: hashlib.sha256(each).hexdigest()[:16] for name, each in content.items()} == BEFORE


LIVELY = replace(
    OPTIONS,
    num_items=120,
    taste_drift=0.5,
    trend_strength=0.5,
    variant_fraction=0.3,
    successor_fraction=0.5,
    family_affinity=1.0,
    zipf_exponent=0.8,
)


def test_variants_have_the_texts_of_their_original_and_another_picture(tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "shop", LIVELY)
    items = pl.read_parquet(tmp_path / "shop" / "items.parquet")
    later = items.filter(pl.col("title").str.starts_with("Model "))
    assert len(later) > 20
    first = later.with_columns(pl.col("title").str.extract(r"^Model \d+ of (.*)$").alias("first"))
    joined = first.join(items, left_on="first", right_on="title", suffix="_first")
    assert set(joined["item_id"]) == set(later["item_id"])
    assert (joined["kind"] == joined["kind_first"]).all()
    assert (joined["brand"] == joined["brand_first"]).all()
    texts = joined.drop_nulls(["description", "description_first"])
    is_same = texts["description"] == texts["description_first"]
    assert 0.2 < is_same.mean() < 1.0  # type: ignore[operator]
    retired = pl.read_parquet(tmp_path / "shop" / "oracle" / "items.parquet").drop_nulls("retired")
    events = pl.read_csv(tmp_path / "shop" / "interactions.csv").join(retired, on="item_id")
    assert 0 < len(retired) < 40
    assert (events["timestamp"] < events["retired"]).all()


def test_oracle_of_a_lively_shop_beats_the_one_of_the_first_day(tmp_path: Path) -> None:
    from features.dataset.load import load_dataset

    options = replace(LIVELY, taste_drift=1.0, trend_strength=1.0, num_users=200)
    write_sample_shop(tmp_path / "shop", options)
    assert load_dataset(tmp_path / "shop").rejected == ()
    users = pl.read_parquet(tmp_path / "shop" / "oracle" / "users.parquet")
    items = pl.read_parquet(tmp_path / "shop" / "oracle" / "items.parquet")
    item_ND = np.array(items["vector"].to_list())
    row_of = dict(zip(items["item_id"], range(len(items)), strict=True))
    late = pl.read_csv(tmp_path / "shop" / "interactions.csv").sort("timestamp").tail(400)
    scores = {}
    for name, since in (("first", users["since"].min()), ("last", users["since"].max())):
        vector_of = dict(users.filter(pl.col("since") == since).select("user_id", "vector").rows())
        ranks = []
        for user, item in late.select("user_id", "item_id").rows():
            score_N = item_ND @ np.array(vector_of[user])
            ranks.append((score_N < score_N[row_of[item]]).mean())
        scores[name] = np.mean(ranks)
    assert scores["last"] > scores["first"] + 0.1


def test_another_seed_makes_another_shop(shop: Path, tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "other", replace(OPTIONS, seed=12))
    one, other = hashes(shop), hashes(tmp_path / "other")
    for name in ("items.parquet", "interactions.csv", "reviews.csv", "oracle/users.parquet"):
        assert one[name] != other[name]
    pictures = {name for name in one.keys() & other.keys() if name.startswith("images/")}
    assert pictures
    assert all(one[name] != other[name] for name in pictures)


def test_an_option_of_the_pictures_leaves_choices_as_they_were(shop: Path, tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "grainy", replace(OPTIONS, picture_noise=3.0))
    one, other = hashes(shop), hashes(tmp_path / "grainy")
    assert one["interactions.csv"] == other["interactions.csv"]
    assert one["reviews.csv"] == other["reviews.csv"]
    pictures = {name for name in one if name.startswith("images/")}
    assert pictures == {name for name in other if name.startswith("images/")}
    assert all(one[name] != other[name] for name in pictures)


def test_dataset_toml_names_what_exists(shop: Path) -> None:
    spec = tomllib.loads((shop / "dataset.toml").read_text("utf-8"))
    columns = {
        "items": pl.read_parquet(shop / spec["items"]["path"]).columns,
        "interactions": pl.read_csv(shop / spec["interactions"]["path"]).columns,
        "reviews": pl.read_csv(shop / spec["reviews"]["path"]).columns,
        "users": pl.read_csv(shop / spec["users"]["path"]).columns,
    }
    for table, names in columns.items():
        for role, column in spec[table].items():
            if role not in {"path", "time", "positive"}:
                assert set([column] if isinstance(column, str) else column) <= set(names), (table, role)
    for name in (*spec["split"].values(), *spec["oracle"].values()):
        assert (shop / name).is_file()


def test_dataset_loads_with_nothing_rejected(shop: Path) -> None:
    from features.dataset.load import load_dataset

    dataset = load_dataset(shop)
    assert dataset.rejected == ()
    assert len(dataset.items) == OPTIONS.num_items
    assert 0 < dataset.interactions["positive"].mean() < 1  # type: ignore[operator]


def test_media_named_in_the_tables_are_those_in_the_folders(shop: Path) -> None:
    images = pl.read_parquet(shop / "items.parquet")["image"].drop_nulls()
    audio = pl.read_csv(shop / "reviews.csv")["audio"].drop_nulls()
    assert {f"images/{path.name}" for path in (shop / "images").iterdir()} == set(images)
    assert {f"audio/{path.name}" for path in (shop / "audio").iterdir()} == set(audio)


def test_writing_tells_neither_looks_nor_what_is_spoken(tmp_path: Path) -> None:
    options = replace(OPTIONS, num_items=300, num_text=16, theme_share=1.0, review_fraction=1.0)
    write_sample_shop(tmp_path / "wordy", replace(options, no_picture_fraction=1.0, no_voice_fraction=1.0))
    items = pl.read_parquet(tmp_path / "wordy" / "items.parquet")
    reviews = pl.read_csv(tmp_path / "wordy" / "reviews.csv")
    for texts in (items["title"], items["description"], reviews["text"]):
        assert words(texts) & (LOOK_WORDS | SPOKEN_WORDS) == set()


def test_speech_tells_no_looks() -> None:
    assert words(pl.Series([clip.text for clip in recordings()])) & LOOK_WORDS == set()


def test_new_items_have_no_event_in_training_and_unseen_items_none_at_all(shop: Path) -> None:
    train = set(pl.read_parquet(shop / "splits" / "train.parquet")["item_id"])
    test = set(pl.read_parquet(shop / "splits" / "test.parquet")["item_id"])
    late = launched_late(shop)
    end = pl.read_csv(shop / "interactions.csv")["timestamp"].max()
    items = pl.read_parquet(shop / "items.parquet")
    unseen = set(items.filter(pl.col("launched") > end)["item_id"])
    assert len(late) == 12  # 20% new and 10% unseen of 40
    assert len(unseen) == 4
    assert not late & train
    assert not unseen & test
    assert len((late - unseen) & test) >= 6  # and most of the new ones are found


def test_no_event_before_the_launch(shop: Path) -> None:
    events = pl.read_csv(shop / "interactions.csv")
    launched = pl.read_parquet(shop / "items.parquet", columns=["item_id", "launched"])
    joined = events.join(launched, on="item_id")
    assert (joined["timestamp"] >= joined["launched"]).all()
    assert events.select("user_id", "item_id").is_unique().all()


def test_split_is_the_events_before_and_after_one_time(shop: Path) -> None:
    train = pl.read_parquet(shop / "splits" / "train.parquet")
    test = pl.read_parquet(shop / "splits" / "test.parquet")
    assert train["timestamp"].max() < test["timestamp"].min()  # type: ignore[operator]
    assert pl.concat([train, test]).equals(pl.read_csv(shop / "interactions.csv"))


def test_some_events_of_a_shopper_share_a_second(shop: Path) -> None:
    events = pl.read_csv(shop / "interactions.csv")
    tied = events.select("user_id", "timestamp").is_duplicated()
    assert 0.02 < tied.mean() < 0.5  # type: ignore[operator]


def test_late_items_are_spoken_of_before_the_cutoff_in_recordings_training_never_heard(shop: Path) -> None:
    late = launched_late(shop)
    cutoff = pl.read_parquet(shop / "splits" / "train.parquet")["timestamp"].max()
    spoken = pl.read_csv(shop / "reviews.csv").filter(pl.col("audio").is_not_null())
    of_late = spoken.filter(pl.col("item_id").is_in(list(late)))
    of_others = spoken.filter(~pl.col("item_id").is_in(list(late)))
    clip = {f"audio/{clip.public_name}": clip for clip in recordings()}
    heard = {(clip[name].meaning, clip[name].phrasing) for name in of_others["audio"]}
    assert not set(of_late["audio"]) & set(of_others["audio"])
    assert not heard & {(clip[name].meaning, clip[name].phrasing) for name in of_late["audio"]}
    late_voices = {clip[name].voice for name in of_late["audio"]}
    assert len(late_voices - {clip[name].voice for name in of_others["audio"]}) == 1
    by_panel = of_late.filter(pl.col("user_id").str.starts_with("T"))
    assert by_panel["timestamp"].max() < cutoff  # type: ignore[operator]
    assert by_panel["item_id"].n_unique() >= 9  # of 12, some of which have no voice


def test_panel_neither_shops_nor_reviews_twice_nor_after_the_launch(shop: Path) -> None:
    panel = pl.read_csv(shop / "reviews.csv").filter(pl.col("user_id").str.starts_with("T"))
    launched = pl.read_parquet(shop / "items.parquet", columns=["item_id", "launched"])
    joined = panel.join(launched, on="item_id")
    assert (joined["timestamp"] < joined["launched"]).all()
    assert panel.select("user_id", "item_id").is_unique().all()
    assert not set(panel["user_id"]) & set(pl.read_csv(shop / "interactions.csv")["user_id"])


def test_shoppers_review_what_they_bought_soon_after(shop: Path) -> None:
    reviews = pl.read_csv(shop / "reviews.csv").filter(pl.col("user_id").str.starts_with("U"))
    bought = pl.read_csv(shop / "interactions.csv").filter(pl.col("event") == "purchase")
    joined = reviews.join(bought, on=["user_id", "item_id"], suffix="_bought")
    assert len(joined) == len(reviews) > 20
    assert (joined["timestamp"] - joined["timestamp_bought"]).is_between(3600, 3 * 86_400).all()
    assert (joined["rating"] == joined["rating_bought"]).all()


def test_oracle_ranks_held_out_choices_far_above_chance(shop: Path) -> None:
    users = pl.read_parquet(shop / "oracle" / "users.parquet")
    items = pl.read_parquet(shop / "oracle" / "items.parquet")
    score_UN = np.array(users["vector"].to_list()) @ np.array(items["vector"].to_list()).T
    user_row = dict(zip(users["user_id"], range(len(users)), strict=True))
    item_row = dict(zip(items["item_id"], range(len(items)), strict=True))
    train = pl.read_parquet(shop / "splits" / "train.parquet")
    for user, item in zip(train["user_id"], train["item_id"], strict=True):
        score_UN[user_row[user], item_row[item]] = -np.inf  # taken already
    above = []
    for user, item in pl.read_parquet(shop / "splits" / "test.parquet").select("user_id", "item_id").rows():
        scores = score_UN[user_row[user]]
        above.append((scores[np.isfinite(scores)] < scores[item_row[item]]).mean())
    assert np.mean(above) > 0.65  # 0.5 is chance; shoppers of so small a shop have few items left


def test_options_are_written_beside_the_oracle(shop: Path) -> None:
    values = json.loads((shop / "oracle" / "options.json").read_text("utf-8"))
    assert SampleOptions.from_values(values) == OPTIONS


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    write_sample_shop(tmp_path / "shop", OPTIONS, progress=lambda *call: calls.append(call))
    for stage in ("recordings", "pictures"):
        steps = [(done, total) for name, done, total in calls if name == stage]
        assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="not an empty folder"):
        write_sample_shop(tmp_path, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
