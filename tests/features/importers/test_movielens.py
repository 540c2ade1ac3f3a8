from pathlib import Path

import polars as pl
import pytest
from real_data import real_data

from features.dataset.load import load_dataset
from features.importers.movielens import import_movielens
from features.importers.movielens_tables import clean_title
from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import DataError

REAL = real_data()


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def csv_release(root: Path) -> Path:
    return write(
        root,
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n"
            "1,1,4.0,964982703\n1,2,2.5,964982703\n2,2,5.0,964982800\n",
            "movies.csv": "movieId,title,genres\n1,Toy Story (1995),Comedy|Fantasy\n"
            '2,"Matrix, The (1999)",Action\n3,Untitled,(no genres listed)\n',
        },
    )


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura (The Adventure)", 1960),
        ("Good, the Bad and the Ugly, The (1966) ", "The Good, the Bad and the Ugly", 1966),
        ("Death Note (2006\u20132007)", "Death Note", 2006),
        ("Babylon 5", "Babylon 5", None),
        ("(1984)", "(1984)", 1984),
    ],
)
def test_titles(raw: str, title: str, year: int | None) -> None:
    assert clean_title(raw) == (title, year)


def test_csv_release(tmp_path: Path) -> None:
    report = import_movielens(csv_release(tmp_path / "ml-tiny"), tmp_path / "out")
    assert report.counts == {"items": 3, "interactions": 3, "users": 2}
    dataset = load_dataset(tmp_path / "out")
    assert dataset.name == "movielens-tiny"
    assert dataset.items["title"].to_list() == ["Toy Story", "The Matrix", "Untitled"]
    assert dataset.items["num:year"].to_list() == [1995.0, 1999.0, None]
    assert dataset.items["cat:genres"].to_list() == [["Comedy", "Fantasy"], ["Action"], []]
    assert dataset.interactions["positive"].to_list() == [True, False, True]
    assert dataset.interactions["timestamp"][0] == 964_982_703_000_000
    assert dataset.rejected == ()


def test_releases_with_two_colons_in_latin_1_with_users(tmp_path: Path) -> None:
    source = write(
        tmp_path / "ml-1m",
        {
            "ratings.dat": "1::2::5::978300760\n1::1::3::978302109\n",
            "movies.dat": "1::Miserables, Les (1995)::Drama|Musical\n2::Caf\u00e9 (1994)::Drama\n".encode(
                "latin-1"
            ),
            "users.dat": "1::F::1::10::48067\n",
        },
    )
    import_movielens(source, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert dataset.items["title"].to_list() == ["Les Miserables", "Caf\u00e9"]
    assert dataset.users.rows() == [("1", ["F"], ["1"], ["10"])]
    assert dataset.interactions["value"].to_list() == [5.0, 3.0]


def test_two_colons_in_utf_8_with_half_stars(tmp_path: Path) -> None:
    source = write(
        tmp_path / "ml-10m",
        {"ratings.dat": "1::2::4.5::838985046\n", "movies.dat": "2::Caf\u00e9 (1994)::Drama\n"},
    )
    import_movielens(source, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert dataset.items["title"].to_list() == ["Caf\u00e9"]
    assert dataset.interactions["value"].to_list() == [4.5]


def test_the_hundred_thousand(tmp_path: Path) -> None:
    flags = "0|0|0|1|1|1" + "|0" * 13
    unknown = "1" + "|0" * 18
    items = f"242|Kolya (1996)|24-Jan-1997||http://x|{flags}\n302|Caf\u00e9 (1997)|||http://y|{unknown}\n"
    source = write(
        tmp_path / "ml-100k",
        {
            "u.data": "196\t242\t3\t881250949\n186\t302\t4\t891717742\n",
            "u.item": items.encode("latin-1"),
            "u.user": "196|49|M|writer|55105\n186|23|F|artist|30004\n",
        },
    )
    import_movielens(source, tmp_path / "out", positive="rating > 3")
    dataset = load_dataset(tmp_path / "out")
    assert dataset.items["cat:genres"].to_list() == [["Animation", "Children's", "Comedy"], []]
    assert dataset.users.rows() == [("196", ["40"], ["M"], ["writer"]), ("186", ["20"], ["F"], ["artist"])]
    assert dataset.interactions["positive"].to_list() == [False, True]


def test_posters_plots_and_spoken_reviews_come_along(tmp_path: Path) -> None:
    source = write(
        csv_release(tmp_path / "source"),
        {
            "posters/1.jpg": b"one",
            "posters/notes.txt": "no picture",
            "plots.csv": 'movieId,overview,plot,director,actors\n1,Toys live.,,John L,"Tom H, Tim A"\n',
            "spoken_reviews/reviews.csv": "userId,movieId,rating,timestamp,text,audio,voice\n"
            "1,1,4.0,964982703,I loved it,audio/1_1.opus,v\n2,2,5.0,964982800,Great,audio/gone.opus,v\n"
            "2,1,5.0,964982800,Great,../../secret.opus,v\n",
            "spoken_reviews/audio/1_1.opus": b"sound",
            "secret.opus": b"secret",
        },
    )
    write(tmp_path, {"secret.opus": b"secret"})
    report = import_movielens(source, tmp_path / "out")
    wanted = ("posters", "plots", "spoken_reviews", "recordings")
    assert [report.counts[name] for name in wanted] == [1, 1, 3, 1]
    dataset = load_dataset(tmp_path / "out")
    assert [Path(path).read_bytes() for path in dataset.items["image"][0]] == [b"one"]
    assert dataset.items["text"].to_list() == ["Toys live.", None, None]
    assert dataset.items["cat:actors"].to_list() == [["Tom H", "Tim A"], [], []]
    assert Path(dataset.reviews["audio"][0]).read_bytes() == b"sound"
    assert dataset.reviews["audio"].null_count() == 2
    assert dataset.reviews["text"].null_count() == 3, "what was said is no input of a model"
    assert pl.read_parquet(tmp_path / "out" / "reviews.parquet")["spoken_text"][0] == "I loved it"
    assert [entry.column for entry in dataset.rejected] == ["audio", "audio"]
    assert not list((tmp_path / "out").rglob("secret*"))


@pytest.mark.parametrize("positive", [None, "", "true"])
def test_every_rating_can_be_positive(tmp_path: Path, positive: str | None) -> None:
    import_movielens(csv_release(tmp_path / "source"), tmp_path / "out", positive=positive)
    assert load_dataset(tmp_path / "out").interactions["positive"].all()


def test_a_release_one_folder_down_is_found(tmp_path: Path) -> None:
    csv_release(tmp_path / "source" / "ml-latest")
    assert import_movielens(tmp_path / "source", tmp_path / "out").name == "movielens-latest"


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    source = csv_release(tmp_path / "source")
    write(tmp_path / "out", {"mine.txt": "mine"})
    with pytest.raises(DataError, match="exists and is not empty"):
        import_movielens(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    import_movielens(source, tmp_path / "empty")
    assert (tmp_path / "empty" / "dataset.toml").is_file()


@pytest.mark.parametrize(
    ("files", "positive", "expected"),
    [
        ({}, None, "has no known MovieLens release"),
        ({"ratings.csv": "userId,movieId,rating\n1,1,1\n"}, None, "no column 'timestamp'"),
        (
            {"ratings.csv": "userId,movieId,rating,timestamp\n1,1,good,1\n"},
            None,
            "column 'rating', row 0: 'good'",
        ),
        ({"ratings.csv": "userId,movieId,rating,timestamp\n1,1,5,1\n"}, "stars > 3", "no column 'stars'"),
    ],
)
def test_a_source_that_does_not_fit_leaves_nothing_behind(
    tmp_path: Path, files: dict[str, str], positive: str | None, expected: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    if files:
        write(source, {"movies.csv": "movieId,title,genres\n1,One (1999),Drama\n", **files})
    with pytest.raises(DataError, match=expected):
        import_movielens(source, tmp_path / "out", positive=positive)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.skipif(not (REAL / "movielens-small").is_dir(), reason="RECSYS_DATA has no movielens-small")
def test_the_real_small_release_and_its_given_splits(tmp_path: Path) -> None:
    report = import_movielens(REAL / "movielens-small", tmp_path / "out", positive=None)
    assert [report.counts[name] for name in ("posters", "plots", "recordings")] == [4973, 6699, 1770]
    dataset = load_dataset(tmp_path / "out")
    assert dataset.rejected == ()
    for name, num_pairs, num_users in (("warm", 8980, 608), ("cold", 6861, 578)):
        files = {
            part: str(REAL / "movielens-small" / "splits" / f"{name}-{part}.parquet")
            for part in ("train", "test")
        }
        split = make_split(dataset, SplitConfig(**files))
        assert (split.test.height, split.test["user_id"].n_unique()) == (num_pairs, num_users)
        held = split.test.select("user_id", "item_id")
        assert split.reviews.join(held, on=["user_id", "item_id"], how="semi").is_empty()
