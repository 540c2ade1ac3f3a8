"""The pages at `/` and `/docs`: files of `serving/web/`, which name no other host."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

from serving.http.problems import problem

router = APIRouter(include_in_schema=False)
INDEX: Final = "index.html"
DOCUMENTATION: Final = "docs.html"
MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)
HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src 'self' blob:; media-src 'self' blob:; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
        "Cache-Control": "no-cache",  # asked for again each time, and answered by 304 where it is the same
    }
)


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of the pages."""

    content: bytes
    media_type: str
    tag: str


@cache
def assets() -> Mapping[str, Asset]:
    """The files of the pages by name; a folder inside of `serving/web/` is not read."""
    found = {}
    for each in files("serving").joinpath("web").iterdir():
        media_type = MEDIA_TYPES.get(f".{each.name.rpartition('.')[2]}")
        if media_type is not None and each.is_file():
            content = each.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found[each.name] = Asset(content=content, media_type=media_type, tag=tag)
    return MappingProxyType(found)


@router.get("/")
def index(request: Request) -> Response:
    """The page."""
    return _response(request, INDEX)


@router.get("/docs")
def documentation(request: Request) -> Response:
    """The documentation of the endpoint, which the page makes from /openapi.json."""
    return _response(request, DOCUMENTATION)


@router.get("/web/{name}")
def asset(request: Request, name: str) -> Response:
    """A file that a page needs."""
    return _response(request, name)


def _response(request: Request, name: str) -> Response:
    found = assets().get(name)
    if found is None:
        raise HTTPException(404, problem("name", "the pages have no such file", name))
    headers = {"ETag": found.tag, **HEADERS}
    if found.tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
