"""Conditions beyond equality in Lua: each answer is the one that Python gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everfresh.matching.canonical import NULL, canonical_text, framed
from everfresh.matching.comparing import doubted, equal_text, passes, prefix_text
from everfresh.matching.probes import Probe
from everfresh.matching.shapes import Bucket
from tests.redis_servers import RedisServer
from tests.stores.redis_lua import Lua

pytestmark = pytest.mark.searching

_ASK_MANY = """
local cases, answers = cmsgpack.unpack(ARGV[1]), {}
for number, case in ipairs(cases) do
  if case.probe then
    answers[number] = comparing.touches(case.probe, case.operands)
  else
    answers[number] = comparing.passes(case.operator, case.values, case.operand)
  end
end
return cmsgpack.pack(answers)
"""

_PLAIN = ["eq", "is_null", "one_of", "roughly eq", "roughly one_of", "lt", "le", "gt", "ge", "between", "startswith"]
_FROM_NEWER = ["like", "nothing", "not", ""]
OPERATORS = [*_PLAIN, *(f"not {operator}" for operator in _PLAIN), *_FROM_NEWER, "not like"]

# Few letters, so that texts meet: the ends of each length in UTF-8, a combining one, and what numbers and dates hold.
_LETTERS = "\0\x7f\x80é\u0301߿ࠀ\ud7ff\ue000\uffff\U00010000\U0010ffffaTZ:0159.-+E\n "
_ODD_NUMBERS = [
    *["0", "-0", "00", "0.0", "-0.00", "0E+5", "-0E-99999999999999999", "007", "-007.50", "1.", ".5", "+1", "--1"],
    *["1e5", "1E5", "1E+5", "1E-5", "10E+4", "100000", "0.00001", "1E+", "1E+1.5", "1E+99999999999999999", "1\n"],
    *["1E-99999999999999999", "10E+99999999999999998", "1E+100000000000000000", "0.1E+99999999999999999", "\n1"],
    *["9E+999999999", "10E+999999998", "1E+1000000000", "0.01E+1000000002", "-1E-1000000000", "-10E-1000000001"],
    *["Infinity", "-Infinity", "infinity", "+Infinity", "Infinity ", "NaN", "-", "", "\N{ARABIC-INDIC DIGIT ONE}"],
    *["9007199254740993", "9007199254740992", "9007199254740993.0", "900719925474099300E-2", "1 ", "1\0", "1,5"],
    *["-1.5", "-1.2", "1.2", "-0.12E+1", "-15", "-2E+1", "2E+1000000000", "-2E+1000000000", "-1E+1000000000"],
    *["1" * 1_000, "1" * 1_001, "1" * 999 + "2", "1" * 998 + ".2", "-" + "1" * 1_000, "-" + "1" * 999],
]
# Of two, three and four bytes.
_LONG = ["é", "\u0800", "\U00010000", "1\U0010ffff"]
_DATES = ["2026-11-21", "2026-11-21T00:00:00", "2026-11-21T", "2026-11-2", "T", "2026-11-21T00:00:00.5", "12:00:00"]
_DAYS = date(2026, 11, 20), date(2026, 11, 22)
_VALUES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.binary(max_size=3),
    st.dates(*_DAYS) | st.datetimes(*(datetime.combine(day, time.min) for day in _DAYS)),
    st.just(datetime(2026, 11, 21, tzinfo=UTC)) | st.just(time(12, 30)) | st.uuids() | st.just(UUID(int=5)),
    st.text(_LETTERS, max_size=6) | st.sampled_from(["1.10", "1.1", "ABCDEFAB-CDEF-ABCD-EFAB-CDEFABCDEFAB"]),
    st.lists(st.integers(0, 3), max_size=2) | st.just({"a": 1}) | st.just(Decimal("1.10")),
)


@st.composite
def _numbers(draw: st.DrawFn) -> str:
    """Numbers near each other, each written in one of many ways."""
    digits = draw(
        st.sampled_from(["1", "12", "15", "9", "99", "123456789012345678901"])
        | st.from_regex("[0-9]{1,25}", fullmatch=True)
    )
    # The power of ten of the first digit.
    power = draw(st.sampled_from([0, 0, 0, 1, -1, 10**9, -(10**9), 10**17 - 50, 50 - 10**17]) | st.integers(-30, 30))
    n_zeros, n_leading = draw(st.integers(0, 12)), draw(st.integers(0, 3))
    written = "0" * n_leading + digits + "0" * n_zeros
    point = draw(st.integers(1, len(written)))
    exponent = power - (point - n_leading - 1)
    fraction = f".{written[point:]}" if point < len(written) else ""
    power_text = f"E{exponent:+d}" if exponent or draw(st.booleans()) else ""
    return draw(st.sampled_from(["", "-"])) + written[:point] + fraction + power_text


TEXTS = st.one_of(
    st.text(_LETTERS, max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.sampled_from([NULL, "\0no text", doubted("1"), doubted(NULL), "", *_DATES, *_ODD_NUMBERS]),
    _numbers(),
    _VALUES.map(canonical_text),
    _VALUES.map(equal_text),
    _VALUES.map(prefix_text),
    st.builds(
        lambda n, end: "é" * n + end, st.sampled_from([31, 32, 63, 64, 65, 128]), st.sampled_from(["", "a", "é"])
    ),
)


class _Case(msgspec.Struct):
    """One question to `passes`."""

    operator: str
    values: list[str] | None
    operand: str

    def answer(self) -> bool | str:
        """What Python answers."""
        return _named(passes(self.operator, self.values, self.operand))


class _ProbeCase(msgspec.Struct):
    """One question to `Probe.touches`."""

    probe: Probe
    operands: list[str]

    def answer(self) -> bool | str:
        """What Python answers."""
        return self.probe.touches(self.operands)

    def sent(self) -> dict[str, object]:
        """What Lua is asked; it reads no bytes, and does not ask for the stem."""
        return {"probe": {**msgspec.structs.asdict(self.probe), "stem": ""}, "operands": self.operands}


def _named(answer: bool | None) -> bool | str:
    return "unknown" if answer is None else answer


@st.composite
def _cases(draw: st.DrawFn, operators: Sequence[str] = OPERATORS) -> _Case:
    operator = draw(st.sampled_from(operators))
    texts = draw(st.lists(TEXTS, min_size=1, max_size=3))
    # What the operand is made of is often what a value is, or how it begins.
    near = st.sampled_from(texts) | st.sampled_from(texts).flatmap(
        lambda text: st.integers(0, len(text)).map(lambda n: text[:n])
    )
    other = near | TEXTS
    if operator.endswith("one_of"):
        operand = "".join(map(framed, draw(st.lists(other, max_size=3))))
    elif operator.endswith("between"):
        operand = framed(draw(other)) + framed(draw(other))
    else:
        operand = draw(other)
    if operator.endswith("startswith"):
        texts = [
            text if text in {NULL, "\0no text"} else "".join(map(framed, [text, *draw(st.lists(other, max_size=1))]))
            for text in texts
        ]
    elif draw(st.booleans()):
        texts = [doubted(text) for text in texts]
    return _Case(operator, draw(st.sampled_from([texts, texts, texts, texts, [], None])), operand)


@st.composite
def _probe_cases(draw: st.DrawFn) -> _ProbeCase:
    cases = draw(st.lists(_cases(), min_size=1, max_size=3))
    after = tuple(_tupled(case.values) for case in cases)
    # What was before is often what is after, so that nothing changed.
    before = tuple(draw(st.sampled_from([values, draw(st.sampled_from([None, (), values]))])) for values in after)
    afters, befores = draw(st.permutations([after, before]))
    probe = Probe(
        stem=Bucket(b"stem"),
        event=0,
        operators=tuple(case.operator for case in cases),
        before=draw(st.sampled_from([befores, befores, befores, None])),
        after=draw(st.sampled_from([afters, afters, afters, None])),
        is_any=draw(st.sampled_from([False, False, True])),
        steady=draw(st.just(()) | st.tuples(*(st.booleans() for _ in cases))),
    )
    return _ProbeCase(probe, [case.operand for case in cases])


@pytest.fixture(scope="module")
def lua(shared_redis: RedisServer) -> Iterator[Lua]:
    """`comparing` in Lua, asked many things at once."""
    with shared_redis.client() as client:
        yield Lua(client, ["comparing"], _ASK_MANY)


@given(cases=st.lists(_cases(), min_size=1, max_size=40))
def test_each_condition_is_answered_as_in_python(cases: list[_Case], lua: Lua) -> None:
    """A text that passes on one store passes on all, and what nobody can tell, nobody can tell on any."""
    expected = [case.answer() for case in cases]

    assert lua.answers(cases) == expected


@given(cases=st.lists(_probe_cases(), min_size=1, max_size=20))
def test_each_probe_touches_as_in_python(cases: list[_ProbeCase], lua: Lua) -> None:
    """An event touches the same entries on every store."""
    expected = [case.answer() for case in cases]

    assert lua.answers([case.sent() for case in cases]) == expected


@given(texts=st.lists(_numbers(), min_size=2, max_size=8))
@example(texts=_ODD_NUMBERS)
@example(texts=_DATES)
@example(texts=["x" * n + end for n in (63, 64, 65, 128) for end in ("", "ab", "ba", "é")])
def test_texts_and_numbers_have_the_order_that_they_have_in_python(texts: list[str], lua: Lua) -> None:
    """Each is compared with each: no number is too long for it, and none is rounded."""
    cases = [_Case(operator, [text], other) for text in texts for other in texts for operator in ("lt", "le", "gt")]
    expected = [case.answer() for case in cases]

    assert lua.answers(cases) == expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_odd_texts_are_answered_as_in_python(operator: str, lua: Lua) -> None:
    """Nulls, doubted texts, texts of no text, and those of long letters, each against each."""
    odd = [NULL, "\0no text", "", "1", "1.0", "a", doubted("1"), doubted(NULL), doubted("a"), "\0bytes61", *_LONG]
    values = [framed(text) for text in odd] if operator.endswith("startswith") else odd
    several = operator.endswith(("one_of", "between"))
    operands = [framed(text) + framed(other) for text in odd for other in odd] if several else odd
    groups = [None, [], *([value] for value in (NULL, *values)), *([value, values[3]] for value in values)]
    cases = [_Case(operator, group, operand) for group in groups for operand in operands]
    expected = [case.answer() for case in cases]

    assert lua.answers(cases) == expected


def test_more_texts_than_are_kept_are_answered_as_in_python(lua: Lua) -> None:
    """What was read of a text is kept for a while only, and read again when it comes again."""
    numbers = [str(number) for number in range(1_100)]
    cases = [_Case("lt", [number], "55") for number in (*numbers, *numbers)]
    expected = [case.answer() for case in cases]

    assert lua.answers(cases) == expected


def test_what_cannot_be_read_counts_as_unknown(lua: Lua) -> None:
    """Nothing that a script wrote is undone when it raises: so nothing raises."""
    broken = ["x", "1:a:", ":", "1:a2"]
    cases = [_Case(operator, ["1:a"], text) for operator in ("one_of", "between", "not one_of") for text in broken]
    cases += [_Case("between", ["a"], framed("a")), _Case("startswith", ["x"], "x"), _Case("one_of", [], "x")]

    assert lua.answers(cases) == ["unknown"] * len(cases)


def test_operands_that_are_lost_count_as_touched(lua: Lua) -> None:
    """Somebody deleted a key by hand: that costs a rebuild, and nobody is left stale."""
    probe = Probe(Bucket(b"stem"), 0, ("eq",), before=(("a",),), after=(("a",),), is_any=False)

    assert lua.answers([_ProbeCase(probe, []).sent()]) == [True]


def _tupled(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
