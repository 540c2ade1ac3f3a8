"""Slices of the real datasets through the whole walk, and their reports in a browser.

The models are tiny and so are the encoders: what is looked at is that real rows, posters and spoken
reviews arrive, not how good the answers are.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from browser_parts import CHROMIUM, artifacts, measured, photograph
from page_parts import Page
from PIL import Image
from real_data import real_data
from walk_parts import recsys, write_settings

REAL = real_data()
ONE_MILLION, SMALL = REAL / "movielens-1m", REAL / "movielens-small"
NUM_USERS = 80

pytestmark = [
    pytest.mark.long,  # two whole walks; the daily one is over the sample shop
    pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data at {REAL}; RECSYS_DATA says where it is"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def copy(names: Iterable[str], source: Path, target: Path) -> int:
    """Copy those of the files that are there; returns how many."""
    target.mkdir(parents=True)
    found = [name for name in names if (source / name).is_file()]
    for name in found:
        shutil.copyfile(source / name, target / name)
    return len(found)


def slice_of_one_million(folder: Path) -> Path:
    """The first users of MovieLens-1M and the movies they saw, as the folder lies."""
    folder.mkdir()
    events = pl.read_parquet(ONE_MILLION / "interactions.parquet")
    events = events.filter(pl.col("userId").is_in(events["userId"].unique().sort().head(NUM_USERS).implode()))
    items = pl.read_parquet(ONE_MILLION / "items.parquet")
    items = items.filter(pl.col("movieId").is_in(events["movieId"].unique().implode()))
    events.write_parquet(folder / "interactions.parquet")
    items.write_parquet(folder / "items.parquet")
    shutil.copyfile(ONE_MILLION / "users.parquet", folder / "users.parquet")
    shutil.copyfile(ONE_MILLION / "dataset.toml", folder / "dataset.toml")
    assert copy((f"{movie}.jpg" for movie in items["movieId"]), ONE_MILLION / "posters", folder / "posters")
    return folder


def slice_of_small(folder: Path) -> Path:
    """Some users of MovieLens-small, all who spoke a review among them, through the importer."""
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir()
    spoken = pl.read_csv(SMALL / "spoken_reviews" / "reviews.csv").head(60)
    ratings = pl.read_csv(SMALL / "ratings.csv")
    users = pl.concat([spoken["userId"].unique(), ratings["userId"].unique().sort().head(NUM_USERS)]).unique()
    ratings = ratings.filter(pl.col("userId").is_in(users.implode()))
    movies = pl.read_csv(SMALL / "movies.csv")
    movies = movies.filter(pl.col("movieId").is_in(ratings["movieId"].unique().implode()))
    ratings.write_csv(source / "ratings.csv")
    movies.write_csv(source / "movies.csv")
    plots = pl.read_csv(SMALL / "plots.csv")
    plots.filter(pl.col("movieId").is_in(movies["movieId"].implode())).write_csv(source / "plots.csv")
    assert copy((f"{movie}.jpg" for movie in movies["movieId"]), SMALL / "posters", source / "posters")
    audio = source / "spoken_reviews" / "audio"
    assert (
        copy((Path(path).name for path in spoken["audio"]), SMALL / "spoken_reviews" / "audio", audio) == 60
    )
    spoken.write_csv(source / "spoken_reviews" / "reviews.csv")
    imported = recsys("import", "movielens", source, folder)
    assert imported.code == 0, imported.err
    return folder


SLICES = {"movielens-1m": slice_of_one_million, "movielens-small": slice_of_small}


@pytest.mark.parametrize("name", SLICES)
def test_the_walk_over_real_rows_and_media_and_its_report(name: str, tmp_path: Path) -> None:
    dataset, run = SLICES[name](tmp_path / name), tmp_path / "run"
    settings = write_settings(
        tmp_path / "settings.toml", tmp_path / "encoders", f"sqlite:///{tmp_path}/mlflow.db"
    )
    answer = recsys("run", dataset, "--out", run, "--config", settings, "--cache", tmp_path / "cache")
    assert answer.code == 0, answer.err
    text = (run / "report.html").read_text("utf-8")
    page = Page.of(text)
    assert len(page.all("img")) > 10  # posters of real movies
    found = measured(text, tmp_path, 400)
    assert (found["wide"], found["width"], found["pictures"]) == ([], 400, len(page.all("img")))
    target = artifacts(tmp_path) / f"report-{name}.png"
    photograph(text, tmp_path, target, (1200, 7000))
    with Image.open(target) as image:
        assert image.size == (1200, 7000)
