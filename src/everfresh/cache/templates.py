"""Keys that are named by hand: `reviews:{email}`, with the call's arguments in the places of the fields.

Two different calls never get one key: what may stand as it is in a field is no character of the template's own text,
and a value of another type than the field's is marked.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from typing import Any

from everfresh.cache.canonical_arguments import argument_text
from everfresh.model.errors import InvalidOption

# Stand as they are unless the template uses them to part its fields.
_PLAIN_MARKS = "@.,+-_~ "
# Before a value that is not of the field's own type; in any other value it is escaped.
_OTHER_TYPE = "!"
_ESCAPE = "%"


class KeyTemplate:
    """A template, checked against the parameters of its function.

    Raises:
        InvalidOption: it names no parameter, leaves one out, or puts two fields side by side.
    """

    def __init__(self, template: str, parameters: Collection[str], ignored: Collection[str], name: str) -> None:
        self._name = name
        self._parts = self._parsed(template)
        self._check(parameters, ignored)
        literal = "".join(text for text, _ in self._parts)
        self._safe = frozenset(_PLAIN_MARKS) - frozenset(literal)
        self.shape = "".join(text if field is None else f"{text}{{}}" for text, field in self._parts)
        """The template without the names of its fields: two functions with one shape would share their keys."""

    def fill(self, arguments: Mapping[str, Any], annotations: Mapping[str, Any]) -> str:
        """The key of a call."""
        return "".join(
            text if field is None else text + self._value(arguments[field], annotations.get(field))
            for text, field in self._parts
        )

    def _value(self, value: object, annotation: object) -> str:
        own = int if annotation is int else str
        if type(value) is own:
            return self._escaped(str(value))
        return _OTHER_TYPE + self._escaped(argument_text(value))

    def _escaped(self, text: str) -> str:
        return "".join(letter if self._stands(letter) else _percent(letter) for letter in text)

    def _stands(self, letter: str) -> bool:
        return (letter.isascii() and letter.isalnum()) or letter in self._safe

    def _parsed(self, template: str) -> list[tuple[str, str | None]]:
        try:
            parsed = list(string.Formatter().parse(template))
        except ValueError as error:
            raise InvalidOption(f"{self._name}: key {template!r} cannot be read: {error}. Check its braces.") from error
        for _, field, spec, conversion in parsed:
            if field is not None and (spec or conversion or not field.isidentifier()):
                raise InvalidOption(
                    f"{self._name}: key field {{{field}}} does more than name. Use plain parameter names."
                )
        # A literal brace parts a text in two; joined, each part is a text and the field after it.
        parts: list[tuple[str, str | None]] = []
        text = ""
        for literal, field, _, _ in parsed:
            text += literal
            if field is not None:
                parts.append((text, field))
                text = ""
        return [*parts, (text, None)]

    def _check(self, parameters: Collection[str], ignored: Collection[str]) -> None:
        named = [field for _, field in self._parts if field is not None]
        for field in named:
            if field not in parameters or field in ignored:
                raise InvalidOption(
                    f"{self._name}: key names {{{field}}}, which is no parameter that tells calls apart."
                )
        missing = [name for name in parameters if name not in named and name not in ignored]
        if missing:
            raise InvalidOption(
                f"{self._name}: key leaves out {missing}, so different calls would share a value. Add or ignore them."
            )
        between = [text for text, field in self._parts[1:] if field is not None]
        if not all(any(not letter.isalnum() and letter != _ESCAPE for letter in text) for text in between):
            raise InvalidOption(
                f"{self._name}: nothing parts two fields of key. Put a delimiter such as ':' between them."
            )


def _percent(letter: str) -> str:
    return "".join(f"{_ESCAPE}{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))
