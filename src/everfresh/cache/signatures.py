"""The signature of a cached function: from a call to its key and its recipe, and back."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from everfresh.cache.canonical_arguments import argument_text
from everfresh.cache.recipes import pack_argument, unpack_argument
from everfresh.cache.templates import KeyTemplate
from everfresh.model.entry import Key
from everfresh.model.errors import ArgumentNotSupported, InvalidOption

Arguments = dict[str, Any]
"""Parameter names and values, defaults filled in, in the order of the signature."""

_DECODER = msgspec.msgpack.Decoder(dict[str, bytes])


class CallSignature:
    """How one function's arguments become a key and a recipe."""

    def __init__(self, function: Callable[..., Any], *, name: str, ignore: Sequence[str], template: str | None) -> None:
        self._function = function
        self._name = name
        self.signature = inspect.signature(function)
        self.ignored = frozenset(ignore)
        self._check_ignored()
        self.template = None if template is None else KeyTemplate(template, list(self.parameters), self.ignored, name)

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The function's parameters by name."""
        return self.signature.parameters

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """The arguments by name.

        Raises:
            TypeError: the function cannot be called like this.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def key(self, arguments: Arguments) -> Key:
        """The canonical text of the call.

        Raises:
            ArgumentNotSupported: an argument has none; the message names it.
        """
        if self.template is not None:
            return Key(self.template.fill(arguments, self._annotations))
        texts = (f"{name}={self._text(name, value)}" for name, value in self._kept(arguments))
        return Key(f"{self._name}({', '.join(texts)})")

    def encode(self, arguments: Arguments) -> bytes:
        """The arguments as bytes that any process with this function can read, verified by reading them.

        Raises:
            ArgumentNotSupported: an argument would not come back equal; the message names it.
        """
        packed = {name: self._pack(name, value) for name, value in self._kept(arguments)}
        return msgspec.msgpack.encode(packed)

    def decode(self, data: bytes) -> Arguments:
        """The arguments of the bytes, those that were ignored by their defaults.

        Raises:
            ArgumentNotSupported: the bytes were written for another signature.
        """
        try:
            packed = _DECODER.decode(data)
            given = {name: unpack_argument(value, self.annotation(name)) for name, value in packed.items()}
            in_order = {name: given.pop(name) for name in self.parameters if name in given}
            bound = inspect.BoundArguments(self.signature, typing.cast("Any", in_order))
            bound.apply_defaults()
            # What is left is no parameter, and is refused for that.
            return self.bind(bound.args, bound.kwargs | given)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{self._name}: its signature is not the one this entry was built with: {error}. Raise its version."
            raise ArgumentNotSupported(msg) from error

    def annotation(self, name: str) -> Any:  # noqa: ANN401 - an annotation is any object
        """The annotation of a parameter, or of the result under the name `return`; Any when there is none.

        Raises:
            InvalidOption: an annotation names something that is not defined where the function is.
        """
        return self._annotations.get(name, Any)

    @cached_property
    def _annotations(self) -> dict[str, Any]:
        try:
            hints = typing.get_type_hints(self._function)
        except NameError as error:
            msg = f"{self._name}: an annotation cannot be read: {error}. Define the type at the top of its module."
            raise InvalidOption(msg) from error
        for name, parameter in self.parameters.items():
            # The hint is that of one element.
            if name in hints and parameter.kind is parameter.VAR_POSITIONAL:
                hints[name] = tuple.__class_getitem__((hints[name], ...))
            elif name in hints and parameter.kind is parameter.VAR_KEYWORD:
                hints[name] = dict.__class_getitem__((str, hints[name]))
        return hints

    def _kept(self, arguments: Arguments) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in arguments.items() if name not in self.ignored]

    def _text(self, name: str, value: object) -> str:
        try:
            return argument_text(value)
        except ArgumentNotSupported as error:
            msg = f"{self._name}, argument {name}: {error}"
            raise ArgumentNotSupported(msg) from error

    def _pack(self, name: str, value: object) -> bytes:
        try:
            packed = pack_argument(value)
            is_same = argument_text(unpack_argument(packed, self.annotation(name))) == argument_text(value)
        except ArgumentNotSupported as error:
            msg = f"{self._name}, argument {name}: {error}"
            raise ArgumentNotSupported(msg) from error
        if not is_same:
            msg = (
                f"{self._name}, argument {name}: a {type(value).__qualname__} does not come back equal from "
                f"annotation {self.annotation(name)!r}. Annotate the parameter with the type of what is passed."
            )
            raise ArgumentNotSupported(msg)
        return packed

    def _check_ignored(self) -> None:
        for name in self.ignored:
            parameter = self.parameters.get(name)
            if parameter is None:
                msg = (
                    f"{self._name}: ignore names {name!r}, which is no parameter. Name one of {list(self.parameters)}."
                )
                raise InvalidOption(msg)
            if parameter.default is inspect.Parameter.empty:
                msg = f"{self._name}: {name!r} is ignored but has no default. Give it one: workers build without it."
                raise InvalidOption(msg)
