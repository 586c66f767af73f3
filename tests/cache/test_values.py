"""Values: what a function may return, what comes back, and what is refused."""
# ruff: noqa: ANN401 - values of any type are what is tested

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from everfresh import Cache, InvalidOption, ValueNotSupported, dep
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done, entry_of
from tests.cache.shapes_of_values import (
    Checked,
    Count,
    Folder,
    FromApi,
    Issue,
    Label,
    Money,
    Person,
    Report,
    Span,
    State,
    Table,
)

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
ACCOUNT = UUID("12345678-1234-5678-1234-567812345678")

VALUES: list[tuple[Any, object]] = [
    (int, -(2**63)),
    (float, float("inf")),
    (str, "ä\x00\n"),
    (bytes, b"\x00\xff"),
    (list[int], [1, 2]),
    (dict[str, list[int]], {"a": [1]}),
    (dict[int, str], {1: "a"}),
    (dict[UUID, date], {ACCOUNT: NOON.date()}),
    (list[dict[int, str]], [{1: "a"}, {}]),
    (dict[tuple[int, str], int], {(1, "a"): 1}),
    (Table, Table({7: {NOON.date(): {"a", "b"}}})),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (datetime, NOON),
    (date, NOON.date()),
    (timedelta, timedelta(days=-1, microseconds=5)),
    (Decimal, Decimal("1.10")),
    (UUID, ACCOUNT),
    (State, State.OPEN),
    (Issue, Issue("Tea is cold", ["kitchen"])),
    (list[Issue], [Issue("Tea is cold", [])]),
    (Label | None, Label("a", ("b",))),
    (Report, Report([Issue("Tea is cold", [])])),
    (Count, Count(1)),
    (Folder, Folder(["a"])),
    (Money, Money(Decimal("1.10"), ACCOUNT)),
    (Span, Span(NOON.date(), timedelta(1))),
    (Person, Person(name="Ann", tags=["a"])),
    (list[Person], [Person(name="Ann")]),
    (dict[str, Person] | None, {"ann": Person(name="Ann")}),
    (FromApi, FromApi(userId=1, people=[Person(name="Ann")])),
    (Checked, Checked(at=NOON)),
]


def returning(annotation: Any, value: object) -> Callable[[], Any]:
    """A function of that annotation that gives that value."""

    async def given() -> Any:
        return value

    given.__annotations__["return"] = annotation
    return given


@pytest.mark.parametrize("value", [None, "", 0, False, [], {}, 0.0, b""], ids=repr)
async def test_an_empty_value_is_a_value(colour: Colour, value: object) -> None:
    """None, '', 0, False and [] are told apart from nothing stored."""
    executed: list[object] = []

    @colour.cached()
    async def given() -> Any:
        executed.append(value)
        return value

    values = [await done(given()) for _ in range(3)]

    assert (values, len(executed)) == ([value] * 3, 1)


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=lambda value: str(value)[:40])
async def test_a_value_comes_back_as_its_annotation_says(colour: Colour, annotation: Any, value: object) -> None:
    """To the one who had it built, from the store, and from the near cache, it is the same."""
    given = colour.cached()(returning(annotation, value))

    values = [await done(given()) for _ in range(4)]

    assert [(type(each), each) for each in values] == [(type(value), value)] * 4


async def test_a_value_that_does_not_fit_its_annotation_is_an_error(colour: Colour) -> None:
    """One of the two is wrong, and the message says where they part."""

    @colour.cached()
    async def count() -> int:
        return "many"  # type: ignore[return-value]  # the mistake is the test

    with pytest.raises(ValueNotSupported, match=r"count@1: the value does not fit .*Expected `int`, got `str`"):
        await done(count())


async def test_a_model_that_does_not_fit_its_annotation_is_an_error(colour: Colour) -> None:
    """Pydantic's own models are held to their fields too."""

    @colour.cached()
    async def person() -> Person:
        return Person.model_construct(name=None)  # the mistake is the test

    with pytest.raises(ValueNotSupported, match=r"person@1: .*name"):
        await done(person())


class Unknown:
    """No data type at all."""


@pytest.mark.parametrize(
    "value", [Unknown(), [1, Unknown()], {"a": Unknown()}, (Unknown(),)], ids=lambda v: str(type(v))
)
async def test_a_value_that_cannot_be_encoded_is_an_error_that_names_the_type(colour: Colour, value: object) -> None:
    """Also when it hides in a list."""

    @colour.cached()
    async def given() -> Any:
        return value

    with pytest.raises(ValueNotSupported, match=r"given@1: .*Unknown"):
        await done(given())


async def test_nothing_is_stored_of_a_value_that_cannot_be_encoded(colour: Colour) -> None:
    """Neither the value, nor an entry, nor a trace of it among the entries that events touch."""

    @colour.cached(depends_on=[dep.Tag("t")])
    async def given() -> Any:
        return Unknown()

    with pytest.raises(ValueNotSupported):
        await done(given())
    stored = await colour.cache.stored(given.key())

    assert stored is None


async def test_the_data_of_a_refused_value_is_not_in_what_listeners_are_told(colour: Colour) -> None:
    """Notices end up in logs, where values have no business."""
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(repr(notice)))

    @colour.cached()
    async def person() -> Person:
        return Person.model_construct(name={"password": "hunter2"})  # the mistake is the test

    with pytest.raises(ValueNotSupported):
        await done(person())

    assert not [notice for notice in told if "hunter2" in notice]


def test_a_type_that_cannot_be_read_back_is_an_error_that_names_the_function(cache: Cache) -> None:
    """Two dataclasses cannot be told apart; better said at the first call than at the first hit."""

    @cache.cached
    def either() -> Issue | Label:
        return Label("a")

    with pytest.raises(InvalidOption, match="either@1: "):
        either()


@pytest.mark.parametrize("value", [(1, 2), {1}, NOON.date(), Issue("a", []), Count(1), [Decimal(1)]], ids=repr)
async def test_a_value_that_would_come_back_as_another_type_is_refused(colour: Colour, value: object) -> None:
    """Without an annotation a tuple would come back as a list, silently; the message asks for one."""

    @colour.cached()
    async def given():  # noqa: ANN202 - the missing annotation is the test
        return value

    with pytest.raises(ValueNotSupported, match=r"given@1: .*[Aa]nnotat"):
        await done(given())


async def test_equal_values_have_equal_digests(colour: Colour) -> None:
    """The digest is an ETag, so it hangs neither on the order of a dict nor on that of a set."""

    @colour.cached()
    async def one() -> dict[str, set[str]]:
        return {"x": {"a", "b", "c"}, "y": set()}

    @colour.cached()
    async def other() -> dict[str, set[str]]:
        return {"y": set(), "x": {"c", "b", "a"}}

    await done(one())
    await done(other())

    assert (await entry_of(one)).digest == (await entry_of(other)).digest


async def test_equal_values_with_other_keys_than_text_have_equal_digests(colour: Colour) -> None:
    """Their order does not count either, however deep they are."""
    monday, sunday = date(2024, 1, 1), date(2024, 1, 7)

    @colour.cached()
    async def one() -> Table:
        return Table({1: {monday: {"a", "b"}, sunday: set()}, 2: {}})

    @colour.cached()
    async def other() -> Table:
        return Table({2: {}, 1: {sunday: set(), monday: {"b", "a"}}})

    await done(one())
    await done(other())

    assert (await entry_of(one)).digest == (await entry_of(other)).digest


async def test_different_values_have_different_digests(colour: Colour) -> None:
    """Else a change would be taken for none."""

    @colour.cached()
    async def given(value: Any) -> Any:
        return value

    values: list[object] = [None, "", 0, False, [], {}, "0", 1, [1], [[1]], "1"]
    for value in values:
        await done(given(value))
    digests = {(await entry_of(given, value)).digest for value in values}

    assert len(digests) == len(values)


def test_an_equal_build_has_an_equal_digest_in_every_process(cache: Cache) -> None:
    """It is made from the value alone; a change of it here is a change for every browser's cache."""

    @cache.cached
    def report() -> Report:
        return Report([Issue("Tea is cold", ["b", "a"])])

    report()
    entry = report.entry()

    assert entry is not None
    assert entry.digest == "0a30a91337b687f4c1c715a928155714"


def test_a_value_of_another_shape_is_a_miss(open_cache: OpenCache, sqlite_url: str) -> None:
    """After a deployment that changed the annotation, old values are built anew and never crash a reader."""

    def deployed(annotation: Any, value: object) -> Any:
        def count() -> Any:
            return value

        count.__annotations__["return"] = annotation
        return open_cache(sqlite_url).cached(count)

    deployed(str, "seven")()

    assert deployed(int, 7)() == 7
