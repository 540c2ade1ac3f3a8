"""Bodies that are JSON, or multipart with the JSON in one part and files in further parts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, get_args

from fastapi import Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.formparsers import MultiPartException

from recsys.errors import RequestError, did_you_mean
from serving.http.schemas import PartName, SearchBody

REQUEST: Final = "request"  # the part with the JSON
MAX_PARTS: Final = 32
Body = TypeVar("Body", bound=BaseModel)
_FILES: Final[tuple[PartName, ...]] = get_args(PartName)


@dataclass(frozen=True, kw_only=True)
class FilePart:
    """A file of a multipart request."""

    kind: PartName
    place: int  # among the parts of the name `kind`, from 0
    content: bytes


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    body: SearchBody
    files: tuple[FilePart, ...]


async def _parsed(request: Request) -> _Parsed:
    """The body of a search; raises what `serving.http.app` answers with a problem."""
    described, parts = await read_body(request, REQUEST, _FILES)
    files: list[FilePart] = []
    for name, content in parts:
        place = sum(each.kind == name for each in files)
        files.append(FilePart(kind=_FILES[_FILES.index(name)], place=place, content=content))
    return _Parsed(body=validated(SearchBody, described), files=tuple(files))


async def _body(parsed: Annotated[_Parsed, Depends(_parsed)]) -> SearchBody:
    return parsed.body


async def _files(parsed: Annotated[_Parsed, Depends(_parsed)]) -> tuple[FilePart, ...]:
    return parsed.files


BodyOf = Annotated[SearchBody, Depends(_body)]
FilesOf = Annotated[tuple[FilePart, ...], Depends(_files)]


async def read_body(
    request: Request, described_in: str, files: Sequence[str]
) -> tuple[Any, list[tuple[str, bytes]]]:
    """The values of the JSON, which a form has in the part `described_in`, and the parts named in `files`.

    The guard limits the size. Raises what `serving.http.app` answers with a problem.
    """
    content = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _of_form(request, content, described_in, files)
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise RequestError("body", "must be JSON (application/json) or a form (multipart/form-data)", kind)
    return _values(content), []


def validated(model: type[Body], values: Any) -> Body:
    """The values as `model`; errors as FastAPI raises them for the other endpoints."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        located = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(located, body=values) from error


def _values(content: bytes) -> Any:
    """The values of this JSON; errors as FastAPI raises them for the other endpoints."""
    try:
        text = content.decode("utf-8-sig")
        return json.loads(text) if text.strip() else None
    except json.JSONDecodeError as error:
        raise RequestValidationError(
            [
                {
                    "type": "json_invalid",
                    "loc": ("body", error.pos),
                    "msg": "JSON decode error",
                    "input": {},
                    "ctx": {"error": error.msg},
                }
            ],
            body=error.doc,
        ) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise HTTPException(400, "There was an error parsing the body") from error


async def _of_form(
    request: Request, content: bytes, described_in: str, files: Sequence[str]
) -> tuple[Any, list[tuple[str, bytes]]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    try:
        form = await Request(request.scope, receive).form(
            max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=len(content) + 1
        )
    except (MultiPartException, AnyHTTPException, ValueError, KeyError) as error:
        message = getattr(error, "detail", None) or getattr(error, "message", None) or str(error)
        raise RequestError("body", f"cannot be read as a form: {message}; send it again") from error
    try:
        return await _of_parts(form, described_in, files)
    finally:
        await form.close()


async def _of_parts(
    form: FormData, described_in: str, files: Sequence[str]
) -> tuple[Any, list[tuple[str, bytes]]]:
    described: bytes | None = None
    found: list[tuple[str, bytes]] = []
    for name, part in form.multi_items():
        value = await part.read() if isinstance(part, UploadFile) else part.encode("utf-8", "surrogatepass")
        if name == described_in and described is None:
            described = value
        elif name in files:
            found.append((name, value))
        else:
            is_second = name == described_in
            hint = "there is one already" if is_second else did_you_mean(name, [described_in, *files])
            raise RequestError(name, f"a part that is not read here; {hint}")
    return _values(described or b"{}"), found
