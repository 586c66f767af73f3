"""Templates of topics: dotted words with placeholders that a sender's values fill. Pure.

What a sender says never makes another word, a wildcard or a space: each such character is written as percent-encoded
UTF-8, and so is the percent sign, so two values never become one word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from everfresh.model.errors import InvalidOption
from everfresh.sources.messages import Malformed, kind_of

Lookup = Callable[[str], object]
"""The value of a placeholder, None when there is none."""

_PLACEHOLDER = re.compile(r"\{([^{}|]+)(?:\|([^{}|]*))?\}")
_WORD = re.compile(r"[^\s.*#%{}|]+")
# As nearly all values are; they need no look at each character.
_PLAIN = re.compile(r"[A-Za-z0-9_-]*")
_ENCODED = frozenset(".*#%")


@dataclass(frozen=True, slots=True)
class Template:
    """A text such as `github.{headers.x-github-event}.{body.action|none}`, with a word to stand in for what is missing.

    Raises:
        InvalidOption: braces that do not match, a placeholder that is not allowed, or a stand-in that is no word; the
            message names `option`.
    """

    text: str
    option: str
    is_allowed: Callable[[str], bool]
    _parts: tuple[tuple[str, str, str | None], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts: list[tuple[str, str, str | None]] = []
        end = 0
        for match in _PLACEHOLDER.finditer(self.text):
            parts.append((self._literal(self.text[end : match.start()]), match[1], match[2]))
            self._check(match[1], match[2])
            end = match.end()
        parts.append((self._literal(self.text[end:]), "", None))
        object.__setattr__(self, "_parts", tuple(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders, in order."""
        return tuple(name for _, name, _ in self._parts if name)

    def filled(self, lookup: Lookup) -> str:
        """The text with the sender's values in it, each as one word.

        Raises:
            Malformed: a value is missing and has no stand-in, or it is no text, number or boolean; it is named.
        """
        written: list[str] = []
        for literal, name, stand_in in self._parts:
            written.append(literal)
            if name:
                written.append(_word(name, lookup(name), stand_in))
        return "".join(written)

    def _literal(self, text: str) -> str:
        if "{" in text or "}" in text:
            raise InvalidOption(f"{self.option}: the braces in {self.text!r} do not match. Write {{name}}.")
        return text

    def _check(self, name: str, stand_in: str | None) -> None:
        if not self.is_allowed(name):
            raise InvalidOption(f"{self.option}: {{{name}}} in {self.text!r} names nothing that a sender says.")
        if stand_in is not None and _WORD.fullmatch(stand_in) is None:
            raise InvalidOption(f"{self.option}: {stand_in!r} in {self.text!r} is no word to stand in for {name}.")


def as_text(value: object) -> str | None:
    """The value of a field as text; None if it is no text, whole number or boolean."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int():
            return str(value)
        case _:
            return None


def encoded_word(text: str) -> str:
    """The text as one word of a topic, different for different texts; empty only for an empty one."""
    if _PLAIN.fullmatch(text) is not None:
        return text
    return "".join(map(_encoded, text))


def _encoded(character: str) -> str:
    if character.isprintable() and not character.isspace() and character not in _ENCODED:
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _word(name: str, value: object, stand_in: str | None) -> str:
    if value is None or value == "":
        if stand_in is not None:
            return stand_in
        raise Malformed(name, "required, and " + ("missing" if value is None else "empty"))
    text = as_text(value)
    if text is None:
        raise Malformed(name, f"must be a text or a whole number, not {kind_of(value)}")
    return encoded_word(text)
