"""Pictures come from the named folders alone, upright, small and without the file's metadata."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from recsys.bundle import write_bundle
from recsys.errors import DataError, MediumError
from serving import pictures
from serving.engine import Engine
from serving.http.app import create_app
from serving.pictures import CataloguePictures

RED = (200, 10, 10)


@pytest.fixture
def shop_folder(tmp_path: Path) -> Path:
    """A dataset's folder with a picture, beside a file that nobody may see."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    save(folder / "images" / "a.png")
    save(tmp_path / "secret.png")
    return folder


def save(path: Path, size: tuple[int, int] = (60, 30), **options: Any) -> Path:
    Image.new("RGB", size, RED).save(path, **options)
    return path


def of(path: str | None, *folders: Path, number: int | None = 0) -> CataloguePictures:
    catalogue = pl.DataFrame(
        {"image": [path], "image_folder": [number]}, schema={"image": pl.String, "image_folder": pl.UInt16}
    )
    return CataloguePictures(catalogue, folders)


def read(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_a_picture_of_the_folder_is_found_and_made_small(shop_folder: Path) -> None:
    found = of("images/a.png", shop_folder)
    picture = found.find(2)
    assert picture is not None
    assert picture.path == shop_folder.resolve() / "images" / "a.png"
    image = read(found.jpeg(picture, 40))
    assert (image.format, image.size) == ("JPEG", (40, 20))
    assert read(found.jpeg(picture, 480)).size == (60, 30)


@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        ".",
        "images",
        "images/none.png",
        "../secret.png",
        "images/../../secret.png",
        "..\\secret.png",
        "/etc/hostname",
        "C:\\secret.png",
        "\\\\host\\secret.png",
        "images/a.png\0",
        "x" * 5000,
    ],
)
def test_what_is_no_file_of_the_folder_is_not_found(shop_folder: Path, path: str | None) -> None:
    assert of(path, shop_folder).find(2) is None


def test_an_absolute_path_is_not_followed_even_into_the_folder(shop_folder: Path) -> None:
    assert of(str(shop_folder / "images" / "a.png"), shop_folder).find(2) is None


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_link_out_of_the_folders_is_not_followed(shop_folder: Path, is_folder: bool) -> None:
    outside = shop_folder.parent
    link = shop_folder / "link"
    link.symlink_to(outside if is_folder else outside / "secret.png")
    path = "link/secret.png" if is_folder else "link"
    assert of(path, shop_folder).find(2) is None
    assert of(path, shop_folder, outside).find(2) is not None  # now it leads into a named folder


def test_a_link_to_itself_and_a_pipe_are_not_found(shop_folder: Path) -> None:
    (shop_folder / "loop").symlink_to("loop")
    os.mkfifo(shop_folder / "pipe")
    assert of("loop", shop_folder).find(2) is None
    assert of("pipe", shop_folder).find(2) is None


def test_folders_are_numbered_as_in_the_catalogue(shop_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save(other / "b.png")
    assert of("b.png", shop_folder, other, number=1).find(2) is not None
    assert of("b.png", shop_folder, other, number=0).find(2) is None
    assert of("b.png", shop_folder, other, number=2).find(2) is None
    assert of("b.png", shop_folder, other, number=None).find(2) is None


def test_without_a_folder_or_a_column_there_are_no_pictures(shop_folder: Path) -> None:
    assert of("images/a.png").find(2) is None
    assert not of("images/a.png")
    assert not of(None, shop_folder)
    assert of("images/a.png", shop_folder)
    old = CataloguePictures(pl.DataFrame({"image": ["images/a.png"]}), [shop_folder])
    assert old.find(2) is not None  # a bundle from before folders had numbers
    assert not CataloguePictures(pl.DataFrame({"title": ["a"]}), [shop_folder])


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        of("a.png", tmp_path, tmp_path / "none")
    assert error.value.problems == (f"--media {str(tmp_path / 'none')!r}: no such folder",)


def test_a_large_file_is_not_shown(shop_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (shop_folder / "images" / "a.png").stat().st_size
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", size)
    assert of("images/a.png", shop_folder).find(2) is not None
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", size - 1)
    assert of("images/a.png", shop_folder).find(2) is None


def test_a_picture_of_many_pixels_is_not_read(shop_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = of("images/a.png", shop_folder)
    picture = found.find(2)
    assert picture is not None
    monkeypatch.setattr(pictures, "MAX_PIXELS", 60 * 30 - 1)
    with pytest.raises(MediumError, match="pixels"):
        found.jpeg(picture, 40)


def test_it_is_upright_and_says_nothing_of_place_or_camera(shop_folder: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # Orientation: turned by a quarter
    exif[271] = "the maker of the camera"
    save(shop_folder / "photo.jpg", exif=exif)
    found = of("photo.jpg", shop_folder)
    picture = found.find(2)
    assert picture is not None
    content = found.jpeg(picture, 480)
    assert read(content).size == (30, 60)
    assert len(read(content).getexif()) == 0
    assert b"camera" not in content


def test_the_tag_changes_with_the_file(shop_folder: Path) -> None:
    found = of("images/a.png", shop_folder)
    first = found.find(2)
    assert first == found.find(2)
    save(shop_folder / "images" / "a.png", (61, 30))
    assert first != found.find(2)


@pytest.fixture
def client_of(tmp_path: Path, shop: Any) -> Callable[..., Any]:
    """A client over the zoo with these picture paths of ant, bee, ..., and these folders."""
    engines: list[Engine] = []

    def client_of(paths: list[str | None], *folders: Path) -> Any:
        def fill(directory: Path) -> Any:
            values = shop.fill_bundle(directory)
            catalogue = pl.read_parquet(directory / "catalogue.parquet", glob=False)
            images = pl.Series("image", [*paths, *[None] * (catalogue.height - len(paths))], pl.String)
            catalogue.with_columns(images).write_parquet(directory / "catalogue.parquet")
            return values

        write_bundle(tmp_path / "bundle", fill)
        engines.append(shop.open_engine(tmp_path / "bundle"))
        return TestClient(create_app(engines[-1], media=folders), raise_server_exceptions=False)

    return client_of


def test_a_picture_over_http(client_of: Callable[..., Any], shop_folder: Path) -> None:
    client = client_of(["images/a.png"], shop_folder)
    answer = client.get("/v1/items/ant/image?side=40")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "max-age" in answer.headers["cache-control"]
    assert read(answer.content).size == (40, 20)
    same = client.get("/v1/items/ant/image?side=40", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    other = client.get("/v1/items/ant/image?side=50", headers={"If-None-Match": answer.headers["etag"]})
    assert other.status_code == 200
    assert client.get("/v1/items/ant").json() == {"item_id": "ant", "title": "Ant", "picture": True}
    assert client.get("/v1/items/bee").json()["picture"] is False
    assert client.get("/v1/about").json()["pictures"] is True


def test_pictures_that_cannot_be_shown_are_told_apart_from_unknown_items(
    client_of: Callable[..., Any], shop_folder: Path
) -> None:
    (shop_folder / "broken.png").write_bytes(b"no picture")
    client = client_of(["broken.png", "../secret.png"], shop_folder)
    told = {name: client.get(f"/v1/items/{name}/image") for name in ("ant", "bee", "cat", "dot")}
    assert {answer.status_code for answer in told.values()} == {404}
    messages = {name: answer.json()["error"]["message"] for name, answer in told.items()}
    assert messages["ant"] == "the picture of this item cannot be read"
    assert messages["bee"] == messages["cat"] == "this item has no picture here"
    assert "did you mean 'dog'" in messages["dot"]
    assert str(shop_folder) not in told["ant"].text


@pytest.mark.parametrize("query", ["side=31", "side=1025", "side=wide", "size=40"])
def test_wrong_sides_are_refused(client_of: Callable[..., Any], shop_folder: Path, query: str) -> None:
    answer = client_of(["images/a.png"], shop_folder).get(f"/v1/items/ant/image?{query}")
    assert answer.status_code == 422


def test_without_media_the_endpoint_says_so(client_of: Callable[..., Any]) -> None:
    client = client_of(["images/a.png"])
    assert client.get("/v1/about").json()["pictures"] is False
    assert client.get("/v1/items/ant/image").status_code == 404
