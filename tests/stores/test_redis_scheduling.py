"""The decisions of the queue in Lua: each is the one that Python takes, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.model.entry import OnChange, State, Terms
from everfresh.protocol import scheduling
from everfresh.protocol.requests import Limit
from everfresh.protocol.scheduling import BREAK_AFTER_FAILURES, Pace
from everfresh.protocol.states import TRANSITIONS, Step, next_state
from tests.redis_servers import RedisServer
from tests.stores.redis_lua import Lua

_ASK_MANY = """
local cases, answers = cmsgpack.unpack(ARGV[1]), {}
for number, case in ipairs(cases) do
  local first, second = scheduling[case.name](unpack(case.given, 1, case.n))
  answers[number] = { first == nil and NULL or first, second == nil and NULL or second }
end
return cmsgpack.pack(answers)
"""
_NEXT_STATES = """
local answers = {}
for number, case in ipairs(cmsgpack.unpack(ARGV[1])) do
  local is_there, after = pcall(states.next_state, case[1], case[2])
  answers[number] = is_there and after or NULL
end
return cmsgpack.pack(answers)
"""
# Unix times. Most are a round span apart, so that they meet each other's limits, and lose a bit where they are added.
_NOW = 1_800_000_000.0
_ROUND = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.1, 60.0, 60.1, 3600.0])
_TIMES = _ROUND.map(lambda span: _NOW + span) | _ROUND.map(lambda span: _NOW - span) | st.just(0.0)
_SPANS = st.one_of(_ROUND, _ROUND, _ROUND, st.floats(0.0, 4_000.0))
_KEYS = st.sampled_from(["a", "b", "c", "d", "é"])
_TERMS = st.builds(
    Terms,
    on_change=st.sampled_from(OnChange),
    priority=st.integers(-10, 10),
    expires_s=st.none() | _SPANS,
    debounce_s=_SPANS,
    max_wait_s=st.none() | _SPANS,
    settle_s=st.lists(_SPANS, max_size=3).map(tuple),
    keeps_event=st.booleans(),
    job_expires_s=st.none() | _SPANS,
    keep_warm_s=st.none() | _SPANS,
    linger_s=_SPANS,
) | st.just(Terms())
_LIMITS = st.builds(
    Limit, n_at_once=st.none() | st.integers(0, 5), per_s=st.none() | st.sampled_from([0.1, 0.5, 1.0, 3.0, 7.5, 10.0])
)
_PACES = st.builds(
    Pace,
    failed=st.sampled_from([(), ("a",), ("b", "a"), ("a", "b", "c"), ("c", "d", "é")]),
    n_failures=st.sampled_from([0, 1, BREAK_AFTER_FAILURES - 1, BREAK_AFTER_FAILURES, 20]),
    n_pauses=st.integers(0, 8) | st.just(2_000),
    paused_until=_TIMES,
    spent=st.sampled_from([0.0, 0.3, 1.0, 2.0, 10.0, 50.0]) | st.floats(0.0, 60.0),
    spent_at=_TIMES,
)


class _Case(NamedTuple):
    """One call, as Python and as Lua write it."""

    name: str
    given: tuple[Any, ...]
    expected: Any

    def sent(self) -> dict[str, object]:
        """What Lua is asked."""
        return {"name": self.name, "given": [_sent(value) for value in self.given], "n": len(self.given)}


def _sent(value: object) -> object:
    return _whole(value) if isinstance(value, Pace) else value


def _whole(pace: Pace) -> dict[str, object]:
    """The pace with all its fields, as the tables give it."""
    return {name: getattr(pace, name) for name in pace.__struct_fields__}


def _plain(value: object) -> object:
    """An answer of Python as Lua gives it: one for the function's own, and a second one where it has two."""
    match value:
        case scheduling.Quota():
            return [value.n, value.next_at]
        case tuple():
            return list(value)
        case Pace():
            return [{**_whole(value), "failed": list(value.failed)}, None]
        case _:
            return [value, None]


@st.composite
def _of_terms(draw: st.DrawFn) -> list[_Case]:
    terms, now, queued_at, due, read_at, watched_until = draw(st.tuples(_TERMS, *[_TIMES] * 5))
    queued, event_at, awaited = draw(st.tuples(*[st.none() | _TIMES] * 2, st.none() | st.booleans()))
    is_changed, late = draw(st.booleans()), draw(st.none() | _TIMES)
    if event_at is not None and terms.settle_s and draw(st.booleans()):
        # Right at one of the times to look again.
        now = event_at + terms.settle_s[-1]
    s = scheduling
    return [
        _Case("due_after_touch", (terms, now, queued_at), s.due_after_touch(terms, now=now, queued_at=queued_at)),
        _Case(
            "rank_of",
            (terms, due, now, read_at, watched_until),
            s.rank_of(terms, due=due, now=now, read_at=read_at, watched_until=watched_until),
        ),
        _Case(
            "urgency_of",
            (terms, read_at, watched_until),
            s.urgency_of(terms, read_at=read_at, watched_until=watched_until),
        ),
        _Case("due_in_turn", (terms.priority, due or 0.3, now), s.due_in_turn(terms.priority, due or 0.3, now=now)),
        _Case("next_look", (terms, queued_at, now), s.next_look(terms, event_at=queued_at, now=now)),
        _Case(
            "was_look",
            (terms, event_at, due, now),
            s.was_look(terms, event_at=event_at, looked_at=due, begun_at=now),
        ),
        _Case("shows_event", (is_changed, awaited), s.shows_event(is_changed=is_changed, is_awaited=awaited)),
        _Case("has_lapsed", (terms, queued, now, late), s.has_lapsed(terms, queued_at=queued, now=now, due=late)),
        _Case(
            "is_cold",
            (terms, read_at, watched_until, now),
            s.is_cold(terms, read_at=read_at, watched_until=watched_until, now=now),
        ),
        *(_Case("term", (terms, name), _term(terms, name)) for name in Terms.__struct_fields__),
    ]


def _term(terms: Terms, name: str) -> object:
    value = getattr(terms, name)
    return list(value) if isinstance(value, tuple) else value


@st.composite
def _of_paces(draw: st.DrawFn) -> list[_Case]:
    limit, pace, now, key = draw(st.tuples(_LIMITS, _PACES, _TIMES, _KEYS))
    n_leased, n_max, n_started, roll = draw(
        st.tuples(st.integers(0, 6), st.integers(0, 20), st.integers(0, 5), st.floats(0.0, 1.0))
    )
    s = scheduling
    return [
        _Case(
            "quota_of",
            (limit, pace, n_leased, n_max, now),
            s.quota_of(limit, pace, n_leased=n_leased, n_max=n_max, now=now),
        ),
        _Case(
            "pace_after_start",
            (limit, pace, n_started, now),
            s.pace_after_start(limit, pace, n_started=n_started, now=now),
        ),
        _Case("pace_after_failure", (pace, key, now, roll), s.pace_after_failure(pace, key, now=now, roll=roll)),
        _Case("pace_after_success", (pace,), s.pace_after_success(pace)),
        _Case("is_broken", (pace,), pace.is_broken),
        _Case("is_paused", (pace, now), s.is_paused(pace, now)),
        _Case("burst_of", (limit.per_s or 0.5,), s.burst_of(limit.per_s or 0.5)),
    ]


@pytest.fixture(scope="module")
def lua(shared_redis: RedisServer) -> Iterator[Lua]:
    """`scheduling` in Lua, asked many things at once."""
    with shared_redis.client() as client:
        yield Lua(client, ["scheduling"], _ASK_MANY)


@given(several=st.lists(_of_terms(), min_size=1, max_size=6))
def test_what_hangs_on_terms_is_decided_as_in_python(several: list[list[_Case]], lua: Lua) -> None:
    """An entry falls due, and has its place in the queue, alike on every store."""
    cases = [case for cases in several for case in cases]
    expected = [_plain(case.expected) for case in cases]

    assert lua.answers([case.sent() for case in cases]) == expected


@given(several=st.lists(_of_paces(), min_size=1, max_size=6))
def test_what_hangs_on_the_pace_is_decided_as_in_python(several: list[list[_Case]], lua: Lua) -> None:
    """Every store slows the same functions down, and lets them try again at the same time."""
    cases = [case for cases in several for case in cases]
    expected = [_plain(case.expected) for case in cases]

    assert lua.answers([case.sent() for case in cases]) == expected


def test_limits_are_met_at_the_moment_at_which_they_are_in_python(lua: Lua) -> None:
    """What is right at a limit counts alike; so does what sums of unix times lose."""
    terms, limit = Terms(keep_warm_s=60.0), Limit(per_s=10.0)
    # A tenth of a second later one more may begin, though the sum says that a tiny bit is missing.
    pace, now = Pace(spent=10.0, spent_at=_NOW + 1.0), _NOW + 1.1
    cold = scheduling.is_cold(terms, read_at=_NOW - 60.0, watched_until=0.0, now=_NOW)
    quota = scheduling.quota_of(limit, pace, n_leased=0, n_max=5, now=now)
    cases = [
        _Case("is_cold", (terms, _NOW - 60.0, 0.0, _NOW), cold),
        _Case("quota_of", (limit, pace, 0, 5, now), quota),
    ]

    assert lua.answers([case.sent() for case in cases]) == [[False, None], [1, None]]
    assert (cold, quota.n) == (False, 1)


def test_the_states_follow_one_table(shared_redis: RedisServer) -> None:
    """Each step leads where Python's table says, and one that is not in it is refused."""
    cases = [(state, step) for state in State for step in Step]
    expected = [next_state(*case).value if case in TRANSITIONS else None for case in cases]

    with shared_redis.client() as client:
        assert Lua(client, ["states"], _NEXT_STATES).answers(cases) == expected
