"""Explaining: what is known of one entry, for people: how fresh it is and why, what touched it, and what would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from everfresh.cache.caching_errors import type_written
from everfresh.cache.keys import known_key
from everfresh.cache.printing import printable, printable_key
from everfresh.matching.canonical import NULL, unframed
from everfresh.matching.shapes import Group, Shape, ShapeKind, Values
from everfresh.model.entry import Entry, Key, OnChange, State
from everfresh.model.errors import NotInCache
from everfresh.protocol.inspecting import Explain, Explained
from everfresh.protocol.requests import Load, Steps, ask
from everfresh.protocol.scheduling import is_cold

# Of a long list people read the beginning.
_N_SHOWN = 10
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an entry as of `at`; as text it is a page for people, fit for a terminal. Times: unix seconds.

    `why` says why it is in its `state`. `dependencies` are what would touch it, as they are printed, `events` what
    touched it last, oldest first. `built_from` are the entries that were read while it was built, of which `unsettled`
    are not fresh now; `used_by` were built from it. `waits_for` says what is going to happen to it, if anything.
    `function` is empty for a value that was put, `built_by` for one that nobody signed, `version` 0 when nothing was
    built yet. `error` is the type of the error that is cached as its value; empty when it holds none.
    """

    key: Key
    function: str
    at: float
    state: State
    why: str
    version: int
    error: str
    n_bytes: int
    built_at: float
    built_by: str
    read_at: float
    stale_since: float | None
    expires_at: float | None
    attempts: int
    waits_for: str
    dependencies: tuple[str, ...]
    events: tuple[str, ...]
    built_from: tuple[Key, ...]
    unsettled: tuple[Key, ...]
    used_by: tuple[Key, ...]

    def __str__(self) -> str:
        since = "" if self.stale_since is None else f" for {span(self.at - self.stale_since)}"
        lines = [printable_key(self.key), f"  {self.state.value}{since}: {printable(self.why)}"]
        lines.append(f"  value: {self._value()}")
        if self.expires_at is not None:
            lines.append(f"  lifetime: {_when(self.expires_at - self.at, 'ends', 'ended')}")
        lines.append(f"  waits for: {self.waits_for or 'nothing'}")
        none = "nothing; only delete, or drop, takes it away" if self.expires_at is None else "nothing"
        lines += _list("touched by", self.dependencies, none=none)
        lines += _list("last events", [printable(event) for event in self.events], none="none so far")
        lines += _list("built from", [self._inner(key) for key in self.built_from])
        lines += _list("used by", [printable_key(key) for key in self.used_by])
        return "\n".join(lines)

    def _value(self) -> str:
        if not self.version:
            return "none yet"
        who = f" by {printable(self.built_by)}" if self.built_by else ""
        how = f"built{who}" if self.function else "put by hand"
        what = f"the error {printable(self.error)}, " if self.error else ""
        return f"version {self.version}, {what}{self.n_bytes} bytes, {how} {span(self.at - self.built_at)} ago"

    def _inner(self, key: Key) -> str:
        return printable_key(key) + (" (unsettled)" if key in self.unsettled else "")


def explain(key: str) -> Steps[Explanation]:
    """What is known of the entry.

    Raises:
        NotInCache: nothing is.
    """
    # Two steps, so the second may know of more than the first, of which only the time and the same value count.
    asked = known_key(key, what="explain")
    if asked is None:
        raise _missing(key)
    loaded = yield from ask(Load(asked))
    known = yield from ask(Explain(asked))
    if known is None:
        raise _missing(key)
    return explanation(known, loaded.now, _error_in(loaded.entry, known.listed.version))


def _missing(key: str) -> NotInCache:
    return NotInCache(
        f"{key!r} is not in the cache: it was never built or put, or was dropped since by an event, at the end of its "
        "lifetime, to make room, or by hand."
    )


def explanation(known: Explained, now: float, error: str) -> Explanation:
    """What the store knows, in words; `error` is the type of the error that is its value."""
    listed = known.listed
    return Explanation(
        key=listed.key,
        function=listed.function,
        at=now,
        state=listed.state,
        why=_why(known, now),
        version=listed.version,
        error=error,
        n_bytes=listed.n_bytes,
        built_at=listed.built_at,
        built_by=known.builder,
        read_at=listed.read_at,
        stale_since=listed.stale_since,
        expires_at=known.expires_at,
        attempts=listed.attempts,
        waits_for=_waits_for(known, now),
        dependencies=tuple(text for group in known.groups for text in _texts(group)),
        events=known.history,
        built_from=known.seen,
        unsettled=known.unsettled,
        used_by=known.outer,
    )


def _error_in(entry: Entry | None, version: int) -> str:
    if entry is None or entry.version != version or not entry.is_error:
        return ""
    return type_written(entry.value)


def _why(known: Explained, now: float) -> str:
    listed = known.listed
    if _is_over(known, now):
        return "its lifetime is over"
    match listed.state:
        case State.FRESH:
            return "nothing that touches it has happened since it was built"
        case State.SUSPECT:
            return listed.reason or "an entry that it was built from is unsettled"
        case State.BUILDING if not listed.version:
            return "its first build"
        case State.DIRTY if _looks_again(known):
            return "another look is due"
        case State.FAILED:
            return f"given up after {_times(listed.attempts)}: {listed.reason}"
        case _ if listed.attempts:
            return f"its build failed {_times(listed.attempts)}: {listed.reason}"
        case _:
            return listed.reason or "it is to be built"


def _is_over(known: Explained, now: float) -> bool:
    """Whether its lifetime has ended before anything touched it."""
    return known.listed.stale_since is None and known.expires_at is not None and known.expires_at <= now


def _looks_again(known: Explained) -> bool:
    """Whether it is good, and an event asks for another look."""
    listed = known.listed
    return bool(listed.version) and listed.stale_since is None and listed.state in (State.FRESH, State.DIRTY)


def _waits_for(known: Explained, now: float) -> str:
    listed = known.listed
    if known.is_leased:
        return "the build under way"
    if listed.state is State.FAILED:
        return "an event that touches it, or retry"
    end = known.expires_at
    is_settled = listed.state is State.FRESH or _is_over(known, now)
    if is_settled and end is not None and (listed.due is None or listed.due >= end):
        return _when(end - now, "its end", "its end, due") + _then(known, max(end, now))
    if listed.due is None:
        return ""
    what = "another look" if _looks_again(known) else "a refresh"
    return _when(listed.due - now, f"{what}, due", f"{what}, due")


def _then(known: Explained, at: float) -> str:
    """What comes at the end of its lifetime, as far as that can be known now."""
    terms, listed = known.terms, known.listed
    if not listed.function:
        return ""
    if terms.on_change is OnChange.DROP:
        return ", then the next reader builds it"
    if is_cold(terms, read_at=listed.read_at, watched_until=known.watched_until, now=at):
        return ", then it is dropped, unless somebody reads it until then"
    return ", then a refresh"


def _texts(group: Group) -> list[str]:
    return [dependency_text(group.shape, values) for values in group.values]


def dependency_text(shape: Shape, values: Values) -> str:
    """One dependency in the words of `everfresh.dep`."""
    shown = [_shown(value) for value in values]
    pattern = printable(shape.pattern)
    match shape.kind:
        case ShapeKind.TAG | ShapeKind.CALL:
            return f"{shape.kind.value} {shown[0]}"
        case ShapeKind.ID:
            text = f"id {pattern} {shown[0]}"
        case ShapeKind.PREDICATE:
            return f"topic {pattern}, if should_refresh of {_names(shape.fields)} says so"
        case _:
            text = f"{shape.kind.value} {pattern}" + _where(shape, shown, values)
    if shape.watch:
        text += f" watching {_names(shape.watch)}"
    return text if shape.mode != "any" else f"{text} in any event"


def _where(shape: Shape, shown: list[str], values: Values) -> str:
    conditions = [f"{printable(field)} = {value}" for field, value in zip(shape.fields, shown, strict=False)]
    for (field, operator), operand in zip(shape.filters, values[len(shape.fields) :], strict=True):
        conditions.append(f"{printable(field)} {operator} {_operand(operator, operand)}".rstrip())
    return f" where {', '.join(conditions)}" if conditions else ""


def _operand(operator: str, operand: str) -> str:
    is_several = operator.removeprefix("not ") in ("one_of", "between")
    return ", ".join(map(_shown, unframed(operand))) if is_several else _shown(operand)


def _shown(text: str) -> str:
    """A value's text as people would write it."""
    return "null" if text == NULL else printable(text)


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names))


def span(seconds: float) -> str:
    """A duration in one unit."""
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(seconds, 0.0):.3g} s"


def _when(in_s: float, before: str, after: str) -> str:
    return f"{before} in {span(in_s)}" if in_s > 0 else f"{after} for {span(-in_s)}" if in_s < 0 else f"{after} now"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _list(name: str, items: Sequence[str], *, none: str = "") -> list[str]:
    if not items:
        return [f"  {name}: {none}"] if none else []
    shown = [f"    {item}" for item in items[:_N_SHOWN]]
    n_more = len(items) - _N_SHOWN
    return [f"  {name}:", *shown, *([f"    and {n_more} more"] if n_more > 0 else [])]
