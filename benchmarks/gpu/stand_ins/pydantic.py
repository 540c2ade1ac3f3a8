"""The part of pydantic that the configuration uses, without validation: its values were validated before."""

import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

_MISSING: Any = object()


class ValidationError(ValueError):
    def errors(self) -> list[dict[str, Any]]:
        return [{"type": "value_error", "loc": (), "msg": str(self), "input": None, "ctx": {}}]


class _Field:
    def __init__(self, default: Any, default_factory: Callable[[], Any] | None) -> None:
        self.default, self.default_factory = default, default_factory

    def value(self) -> Any:
        return self.default if self.default_factory is None else self.default_factory()


def Field(default: Any = _MISSING, *, default_factory: Any = None, **_: Any) -> Any:
    return _Field(default, default_factory)


def ConfigDict(**options: Any) -> dict[str, Any]:
    return options


class AfterValidator:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


BeforeValidator = PlainSerializer = AfterValidator


def field_validator(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda method: method


model_validator = field_serializer = field_validator


class BaseModel:
    """A frozen record: keyword arguments, defaults, nested models from mappings, tuples from lists."""

    model_fields: ClassVar[dict[str, _Field]] = {}

    def __init_subclass__(cls, **_: Any) -> None:
        fields: dict[str, _Field] = {}
        for base in reversed(cls.__mro__):  # a model may have several
            for name in inspect.get_annotations(base):
                if name not in ("model_config", "model_fields") and issubclass(base, BaseModel):
                    default = base.__dict__.get(name, _MISSING)
                    fields[name] = default if isinstance(default, _Field) else _Field(default, None)
        cls.model_fields = fields

    def __init__(self, **values: Any) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        if unknown := sorted(values.keys() - self.model_fields.keys()):
            raise ValidationError(f"{type(self).__name__} has no {unknown}")
        for name, field in self.model_fields.items():
            value = values[name] if name in values else field.value()
            if value is _MISSING:
                raise ValidationError(f"{type(self).__name__} needs {name}")
            object.__setattr__(self, name, _built(hints[name], value))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(repr(self.model_dump()))

    @classmethod
    def model_validate(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        return type(self)(**{**vars(self), **(update or {})})

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return {name: _dumped(value) for name, value in vars(self).items()}


def _built(hint: Any, value: Any) -> Any:
    """`value` as the annotation `hint` has it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _built(arguments[0], value)
    if origin in (Union, UnionType):
        return next((built for each in arguments if (built := _built(each, value)) is not value), value)
    if isinstance(value, Mapping):
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            return hint(**value)
        return {key: _built(arguments[1], each) for key, each in value.items()} if arguments else value
    if isinstance(value, list | tuple) and origin is tuple:
        inner = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_built(each, part) for each, part in zip(inner, value, strict=True))
    return value


def _dumped(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return [_dumped(each) for each in value]
    return {key: _dumped(each) for key, each in value.items()} if isinstance(value, Mapping) else value
