"""The signature of a cached function: from a call to its key and its recipe, and back."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from everfresh.cache.canonical_arguments import argument_text
from everfresh.cache.recipes import pack_argument, unpack_argument
from everfresh.cache.secrets import hidden, kept_secret
from everfresh.cache.templates import KeyTemplate
from everfresh.cache.values import is_immutable
from everfresh.model.entry import Key
from everfresh.model.errors import ArgumentNotSupported, InvalidOption
from everfresh.model.marks import override

Arguments = dict[str, Any]
"""Parameter names and values, defaults filled in, in the order of the signature."""

_DECODER = msgspec.msgpack.Decoder(dict[str, bytes])
_UNCHANGEABLE = frozenset({str, int, bool, float, bytes, type(None)})


def is_unchangeable(arguments: Arguments) -> bool:
    """Whether nobody can change one of them."""
    return _UNCHANGEABLE.issuperset(map(type, arguments.values()))


class CallSignature:
    """How one function's arguments become a key and a recipe."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        ignore: Sequence[str],
        template: str | None,
        secret: Sequence[str] = (),
    ) -> None:
        self._function = function
        self._name = name
        self.signature = inspect.signature(function)
        self.ignored = frozenset(ignore)
        self.secret = frozenset(secret)
        self._check_ignored()
        self._check_secret()
        self.template = None if template is None else KeyTemplate(template, list(self.parameters), self.ignored, name)

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The function's parameters by name."""
        return self.signature.parameters

    @cached_property
    def _var_keyword(self) -> str | None:
        """The parameter for further names. Each call makes a new dict of them."""
        kinds = ((name, parameter.kind) for name, parameter in self.parameters.items())
        return next((name for name, kind in kinds if kind is inspect.Parameter.VAR_KEYWORD), None)

    @cached_property
    def takes_one(self) -> bool:
        """Whether one positional argument says all that tells calls apart."""
        told = [parameter for name, parameter in self.parameters.items() if name not in self.ignored]
        return len(told) == 1 and told[0].kind in (told[0].POSITIONAL_ONLY, told[0].POSITIONAL_OR_KEYWORD)

    @cached_property
    def _positional(self) -> tuple[str, ...]:
        """The parameters, when each of them takes one positional argument; else none."""
        kinds = {parameter.kind for parameter in self.parameters.values()}
        takes_all = kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        return tuple(self.parameters) if takes_all else ()

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """The arguments by name.

        Raises:
            TypeError: the function cannot be called like this.
        """
        if self._positional and not kwargs and len(args) == len(self._positional):
            # As most calls are; to bind each costs a tenth of a hit on a store of another process.
            return dict(zip(self._positional, args, strict=True))
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def key(self, arguments: Arguments) -> Key:
        """The canonical text of the call.

        Raises:
            ArgumentNotSupported: an argument has none; the message names it.
        """
        if self.secret:
            arguments = arguments | {name: self._hidden(name, arguments[name]) for name in self.secret}
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
            if not given and in_order and len(in_order) == len(self._positional):
                return in_order
            bound = inspect.BoundArguments(self.signature, typing.cast("Any", in_order))
            bound.apply_defaults()
            # What is left is no parameter, and is refused for that.
            return self.bind(bound.args, bound.kwargs | given)
        except (KeyError, TypeError, ValueError) as error:
            # Types of users have a say in reading, and may quote what they read.
            why = type(error).__name__ if self.secret else error
            msg = f"{self._name}: its signature is not the one this entry was built with: {why}. Raise its version."
            raise ArgumentNotSupported(msg) from error

    def own(self, arguments: Arguments, data: bytes) -> Arguments:
        """The same arguments for one build, which it alone can change: made of their bytes, unless nobody can.

        The ignored ones, of which the bytes know nothing, are those of whoever asks.

        Raises:
            ArgumentNotSupported: the bytes were written for another signature.
        """
        if is_unchangeable(arguments):
            # As most calls are; to look at each would take ten times as long.
            return arguments
        told = [value for name, value in arguments.items() if name not in self.ignored and name != self._var_keyword]
        named = () if self._var_keyword is None else arguments[self._var_keyword].values()
        if all(map(is_immutable, told)) and all(map(is_immutable, named)):
            return arguments
        return self.decode(data) | {name: arguments[name] for name in self.ignored}

    def annotation(self, name: str) -> Any:  # noqa: ANN401 - an annotation is any object
        """The annotation of a parameter, or of the result under the name `return`; Any when there is none.

        Raises:
            InvalidOption: an annotation names something that is not defined where the function is.
        """
        return self._annotations.get(name, Any)

    @cached_property
    def _annotations(self) -> dict[str, Any]:
        return self._hints()

    def _hints(self) -> dict[str, Any]:
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

    def _hidden(self, name: str, value: object) -> str:
        try:
            return hidden(value)
        except ArgumentNotSupported as error:
            msg = f"{self._name}, argument {name}: {error}"
            raise ArgumentNotSupported(msg) from error

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
            refused = ArgumentNotSupported(f"{self._name}, argument {name}: {error}")
            raise (kept_secret(refused) if name in self.secret else refused) from error
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

    def _check_secret(self) -> None:
        for name in self.secret:
            if name not in self.parameters or name in self.ignored:
                told = [parameter for parameter in self.parameters if parameter not in self.ignored]
                msg = f"{self._name}: secret names {name!r}, which is no parameter that tells calls apart: {told}."
                raise InvalidOption(msg)


# What a list of ids may be called in an annotation; the function is given a list.
_SEVERAL = (list, Sequence, Collection, Iterable)
_BY_ID = (dict, Mapping)


class SignatureOfOne(CallSignature):
    """How a call of one id becomes a key and a recipe, for a function that takes many ids in its first parameter.

    The first parameter counts by its element, and the result by its value: `list[int]` as `int`, `dict[int, User]` as
    `User`.
    """

    @property
    def ids(self) -> str:
        """The first parameter."""
        return next(iter(self.parameters))

    def further(self, data: bytes) -> bytes:
        """Of the bytes of one call's arguments those of all but the id; calls with equal ones may share a run."""
        return msgspec.msgpack.encode({name: one for name, one in _DECODER.decode(data).items() if name != self.ids})

    @override
    def _hints(self) -> dict[str, Any]:
        hints = super()._hints()
        hints[self.ids] = self._element(hints.get(self.ids, list), _SEVERAL, 1, f"{self.ids}: list[int]")
        hints["return"] = self._element(hints.get("return", dict), _BY_ID, 2, "-> dict[int, User]")
        return hints

    def _element(self, hint: Any, kinds: tuple[Any, ...], n_args: int, example: str) -> Any:  # noqa: ANN401 - as above
        """The last of the arguments of a hint; Any when it has none."""
        args = typing.get_args(hint)
        if (typing.get_origin(hint) or hint) not in kinds or len(args) not in (0, n_args):
            msg = (
                f"{self._name}: it takes a list of ids and gives a dict of values by id, not {hint!r}. Write {example}."
            )
            raise InvalidOption(msg)
        return args[-1] if args else Any
