"""Explaining: what is known of one entry, for people: how fresh it is and why, what touched it, and what would."""

from __future__ import annotations

import msgspec

from everfresh.matching.canonical import NULL, unframed
from everfresh.matching.shapes import Group, Shape, ShapeKind, Values
from everfresh.model.entry import Key, State
from everfresh.model.errors import NotInCache
from everfresh.protocol.inspecting import Explain, Explained
from everfresh.protocol.requests import Load, Steps, ask

# Of a long list people read the beginning.
_N_SHOWN = 10
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an entry as of `at`; as text it is a page for people. Times are unix seconds.

    `why` says why it is in its `state`. `dependencies` are what would touch it, `events` what touched it last, oldest
    first. `built_from` are the entries that were read while it was built, of which `unsettled` are not fresh now;
    `used_by` were built from it. `waits_for` says what is going to happen to it, if anything. `function` is empty for a
    value that was put, `built_by` for one that nobody signed, `version` 0 when nothing was built yet.
    """

    key: Key
    function: str
    at: float
    state: State
    why: str
    version: int
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
        lines = [self.key, f"  {self.state.value}{since}: {self.why}", f"  value: {self._value()}"]
        if self.expires_at is not None:
            lines.append(f"  lifetime: {_when(self.expires_at - self.at, 'ends', 'ended')}")
        lines.append(f"  waits for: {self.waits_for or 'nothing'}")
        lines += _list("touched by", self.dependencies, none="nothing; only delete, or drop, takes it away")
        lines += _list("last events", self.events, none="none so far")
        lines += _list(
            "built from", [f"{key} (unsettled)" if key in self.unsettled else key for key in self.built_from]
        )
        lines += _list("used by", self.used_by)
        return "\n".join(lines)

    def _value(self) -> str:
        if not self.version:
            return "none yet"
        who = f" by {self.built_by}" if self.built_by else ""
        how = f"built{who}" if self.function else "put by hand"
        return f"version {self.version}, {self.n_bytes} bytes, {how} {span(self.at - self.built_at)} ago"


def explain(key: str) -> Steps[Explanation]:
    """What is known of the entry.

    Raises:
        NotInCache: nothing is.
    """
    # Two steps, so the second may know of more than the first: the times alone come from there.
    now = (yield from ask(Load(Key(key)))).now
    known = yield from ask(Explain(Key(key)))
    if known is None:
        msg = (
            f"{key!r} is not in the cache: it was never built or put, or was dropped since by an event, at the end of "
            "its lifetime, to make room, or by hand."
        )
        raise NotInCache(msg)
    return explanation(known, now)


def explanation(known: Explained, now: float) -> Explanation:
    """What the store knows, in words."""
    listed = known.listed
    return Explanation(
        key=listed.key,
        function=listed.function,
        at=now,
        state=listed.state,
        why=_why(known, now),
        version=listed.version,
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


def _why(known: Explained, now: float) -> str:
    listed = known.listed
    if listed.stale_since is None and known.expires_at is not None and known.expires_at <= now:
        return "its lifetime is over"
    match listed.state:
        case State.FRESH:
            return "nothing that touches it has happened since it was built"
        case State.SUSPECT:
            return listed.reason or "an entry that it was built from is unsettled"
        case State.BUILDING if not listed.version:
            return "its first build"
        case State.FAILED:
            return f"given up after {_times(listed.attempts)}: {listed.reason}"
        case _ if listed.attempts:
            return f"its build failed {_times(listed.attempts)}: {listed.reason}"
        case _:
            return listed.reason or "it is to be built"


def _waits_for(known: Explained, now: float) -> str:
    listed = known.listed
    if known.is_leased:
        return "the build under way"
    if listed.state is State.FAILED:
        return "an event that touches it, or retry"
    if listed.due is None:
        return ""
    if not listed.function:
        return _when(listed.due - now, "its end", "its end, due")
    what = "another look" if listed.state is State.FRESH else "a refresh"
    return _when(listed.due - now, f"{what}, due", f"{what}, due")


def _texts(group: Group) -> list[str]:
    return [_text(group.shape, values) for values in group.values]


def _text(shape: Shape, values: Values) -> str:
    """One dependency in the words of `everfresh.dep`."""
    shown = [_shown(value) for value in values]
    match shape.kind:
        case ShapeKind.TAG | ShapeKind.CALL:
            return f"{shape.kind.value} {shown[0]}"
        case ShapeKind.ID:
            text = f"id {shape.pattern} {shown[0]}"
        case ShapeKind.PREDICATE:
            return f"topic {shape.pattern}, if should_refresh of {', '.join(shape.fields)} says so"
        case _:
            text = f"{shape.kind.value} {shape.pattern}" + _where(shape, shown, values)
    if shape.watch:
        text += f" watching {', '.join(shape.watch)}"
    return text if shape.mode != "any" else f"{text} in any event"


def _where(shape: Shape, shown: list[str], values: Values) -> str:
    conditions = [f"{field} = {value}" for field, value in zip(shape.fields, shown, strict=False)]
    for (field, operator), operand in zip(shape.filters, values[len(shape.fields) :], strict=True):
        conditions.append(f"{field} {operator} {_operand(operator, operand)}".rstrip())
    return f" where {', '.join(conditions)}" if conditions else ""


def _operand(operator: str, operand: str) -> str:
    is_several = operator.removeprefix("not ") in ("one_of", "between")
    return ", ".join(map(_shown, unframed(operand))) if is_several else _shown(operand)


def _shown(text: str) -> str:
    """A value's text as people would write it; what a terminal would not show is escaped."""
    if text == NULL:
        return "null"
    return text if text.isprintable() else ascii(text)[1:-1]


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


def _list(name: str, items: tuple[str, ...] | list[str], *, none: str = "") -> list[str]:
    if not items:
        return [f"  {name}: {none}"] if none else []
    shown = [f"    {item}" for item in items[:_N_SHOWN]]
    n_more = len(items) - _N_SHOWN
    return [f"  {name}:", *shown, *([f"    and {n_more} more"] if n_more > 0 else [])]
