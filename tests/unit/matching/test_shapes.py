import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.canonical import canonical_text
from everfresh.matching.shapes import (
    CALL_SHAPE,
    SHAPE_ID_BYTES,
    STEM_BYTES,
    TAG_SHAPE,
    Group,
    Shape,
    ShapeKind,
    Values,
    bucket_in,
    bucket_of,
    buckets_of,
    call_bucket,
    grouped,
    predicate_shape,
    readable,
    shape_and_values,
    stem_of,
    writings_of,
)
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.errors import InvalidDependency

NASTY = st.text(st.sampled_from("a1:,;|\0\ud800é"), max_size=4)
FIELDS = st.sampled_from([(), ("a",), ("a", "b")])
FILTERS = st.sampled_from([(), (("a", "lt"),), (("a", "lt"), ("b", "not eq"))])
MODES = st.sampled_from(["", "any"])
SHAPES = st.builds(Shape, st.sampled_from(ShapeKind), st.sampled_from(["a", "b.*"]), FIELDS, FIELDS, MODES, FILTERS)


@pytest.mark.parametrize(
    ("dependency", "shape", "values"),
    [
        (dep.Topic("bug.*"), Shape(ShapeKind.TOPIC, "bug.*"), ()),
        (
            dep.Topic("bug.*", {"bug.product": "Fedora", "bug.id": 7}),
            Shape(ShapeKind.TOPIC, "bug.*", ("bug.id", "bug.product")),
            ("7", "Fedora"),
        ),
        (dep.Id("article", "007"), Shape(ShapeKind.ID, "article"), ("7",)),
        (dep.Id("article", 7, ("b", "a")), Shape(ShapeKind.ID, "article", (), ("a", "b")), ("7",)),
        (dep.Id("article", 7, ("a", "a")), Shape(ShapeKind.ID, "article", (), ("a",)), ("7",)),
        (
            dep.Scope("book", {"genre": "sf", "price": con.lt(9), "author.id": 7}, ("title",)),
            Shape(
                ShapeKind.SCOPE, "book", ("author.id", "genre"), ("title",), "membership", filters=(("price", "lt"),)
            ),
            ("7", "sf", "9"),
        ),
        (dep.Scope("book", mode="any"), Shape(ShapeKind.SCOPE, "book", mode="any"), ()),
        (
            dep.Topic("bug.*", {"bug.id": con.not_(con.between(1, 2)), "bug.at": con.is_null()}),
            Shape(ShapeKind.TOPIC, "bug.*", filters=(("bug.at", "is_null"), ("bug.id", "not between"))),
            ("", "1:11:2"),
        ),
        (dep.Undescribed("book", ("x",)), Shape(ShapeKind.SCOPE, "book", mode="any"), ()),
        (dep.Tag("home"), TAG_SHAPE, ("home",)),
        (dep.Call("f(007)"), CALL_SHAPE, ("f(007)",)),
    ],
    ids=["topic", "fields", "id", "watch", "twice", "scope", "all", "conditions", "undescribed", "tag", "call"],
)
def test_a_dependency_is_a_shape_with_values(dependency: dep.Dependency, shape: Shape, values: Values) -> None:
    """Order and form do not matter; a key is taken as it is."""
    assert shape_and_values(dependency) == (shape, values)


def test_a_value_without_a_canonical_text_has_no_bucket() -> None:
    """No event could ever meet it."""
    with pytest.raises(InvalidDependency):
        shape_and_values(dep.Id("article", object()))


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(*[st.tuples(*[NASTY] * n)] * 2)))
def test_delimiters_in_values_never_alias(pair: tuple[Values, Values]) -> None:
    """Two lists of values share a bucket only if they are equal."""
    one, other = pair

    assert (bucket_of(TAG_SHAPE.id, one) == bucket_of(TAG_SHAPE.id, other)) is (one == other)


@given(st.lists(SHAPES, min_size=2, max_size=2))
def test_shapes_are_told_apart_by_their_ids(pair: list[Shape]) -> None:
    """Stores know a shape by its id alone."""
    one, other = pair

    assert (one.id == other.id) is (one == other)


def test_the_buckets_of_a_shape_stand_side_by_side() -> None:
    """A whole shape is one range in an ordered index."""
    shape = Shape(ShapeKind.ID, "article")

    bucket = bucket_of(shape.id, ("7",))

    assert len(shape.id) == SHAPE_ID_BYTES
    assert bucket.startswith(shape.id)


def test_buckets_are_equal_in_every_process() -> None:
    """An event of one process finds the entries of another, whatever Python mixes into its hashes."""
    program = (
        "from everfresh.matching.shapes import Shape, ShapeKind, bucket_of, call_bucket\n"
        "shape = Shape(ShapeKind.TOPIC, 'bug.*', ('bug.id', 'bug.product'))\n"
        "print(bucket_of(shape.id, ('7', 'Fedora')).hex(), call_bucket('f(1)').hex())\n"
    )

    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }

    shape = Shape(ShapeKind.TOPIC, "bug.*", ("bug.id", "bug.product"))
    here = f"{bucket_of(shape.id, ('7', 'Fedora')).hex()} {call_bucket('f(1)').hex()}\n"
    assert printed == {here}


PARTS = [shape_and_values(dep.Id(type_, id_)) for type_ in ("article", "author") for id_ in range(5)]


@given(st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_what_was_tracked(random: Random) -> None:
    """Two builds that read the same rows have the same dependencies."""
    shuffled = PARTS + PARTS[:3]
    random.shuffle(shuffled)

    assert grouped(shuffled) == grouped(PARTS)


def test_many_values_of_one_shape_are_one_group() -> None:
    """Two hundred rows read cost two hundred short texts."""
    groups = grouped(PARTS)

    assert {group.shape.pattern: group.values for group in groups} == {
        "article": (("0",), ("1",), ("2",), ("3",), ("4",)),
        "author": (("0",), ("1",), ("2",), ("3",), ("4",)),
    }


def test_an_entry_stands_in_the_bucket_of_each_of_its_values() -> None:
    """Grouping loses nothing."""
    assert buckets_of(grouped(PARTS)) == {bucket_of(shape.id, values) for shape, values in PARTS}


def test_those_built_from_an_entry_stand_in_the_bucket_of_its_key() -> None:
    """So a change of the entry finds them."""
    assert Group(CALL_SHAPE, (("f(1)",),)).buckets() == [call_bucket("f(1)")]


def test_the_candidates_of_a_filter_stand_side_by_side() -> None:
    """What must be equal is looked up; whoever else stands there, the conditions decide about."""
    scopes = [dep.Scope("book", {"genre": genre, "price": con.lt(price)}) for genre in "ab" for price in (1, 2)]
    (group,) = grouped(map(shape_and_values, scopes))

    filtered = group.filtered()

    assert [operands for _, _, operands in filtered] == [("1",), ("2",), ("1",), ("2",)]
    assert len({stem for _, stem, _ in filtered}) == 2
    assert all(stem_of(bucket) == stem for bucket, stem, _ in filtered)
    assert all(stem.startswith(group.shape.id) and len(stem) == STEM_BYTES for _, stem, _ in filtered)
    assert group.buckets() == [bucket for bucket, _, _ in filtered]
    assert len({*group.buckets()}) == 4
    assert {bucket_in(group.shape, values) for values in group.values} == {*group.buckets()}


def test_what_needs_no_filter_has_no_stem() -> None:
    """Its bucket is looked up, and nobody has to be asked."""
    group = Group(Shape(ShapeKind.ID, "article"), (("7",),))

    assert group.filtered() == []
    assert stem_of(group.buckets()[0]) == group.buckets()[0] == bucket_in(group.shape, ("7",))


@given(st.tuples(NASTY, NASTY, NASTY), st.tuples(NASTY, NASTY, NASTY))
def test_delimiters_in_operands_never_alias(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Two ranges, or two lists of values, share a bucket only if they are the same."""
    ranges = [shape_and_values(dep.Scope("book", {"a": low, "b": con.between(*ends)})) for low, *ends in (one, other)]
    lists = [shape_and_values(dep.Scope("book", {"a": con.one_of(*values)})) for values in (one, other)]

    assert (bucket_in(*ranges[0]) == bucket_in(*ranges[1])) is (ranges[0] == ranges[1])
    assert (lists[0] == lists[1]) is ({*map(canonical_text, one)} == {*map(canonical_text, other)})


def test_a_predicate_has_one_bucket_for_each_pattern_and_function() -> None:
    """It is not looked up by values, as it looks at the event itself."""
    shapes = [predicate_shape(pattern, function) for pattern in ("a", "b.*") for function in ("f", "g")]

    assert len({*(bucket for shape in shapes for bucket in Group(shape, ((),)).buckets())}) == 4


@pytest.mark.parametrize(
    ("dependency", "text"),
    [
        (dep.Topic("bug.*", {"bug.id": 7}), "topic bug.* where bug.id = ..."),
        (dep.Id("book", 7, ("title", "price")), "id book watching price, title"),
        (dep.Scope("book", {"genre": "sf", "price": con.lt(9)}), "scope book where genre = ..., price lt ..."),
        (dep.Scope("book", mode="any"), "scope book in any event"),
    ],
    ids=["topic", "id", "scope", "any"],
)
def test_a_shape_can_be_read(dependency: dep.Dependency, text: str) -> None:
    """People see which shape an event had to touch as a whole."""
    assert readable(shape_and_values(dependency)[0]) == text


def test_who_asks_for_another_writing_has_a_shape_of_his_own() -> None:
    """Nobody can tell whether a value equals '1.10', so it is asked in another way; other shapes keep their ids."""
    plain, rough, order = (
        shape_and_values(dep.Scope("book", {"version": condition}))[0]
        for condition in (con.one_of("1.1"), con.one_of("1.1", "1.10"), con.lt("1.10"))
    )

    assert (plain.rough, rough.rough, order.rough) == (False, True, False)
    assert writings_of(plain) == (plain, rough)
    assert writings_of(rough) == (rough, plain)
    assert writings_of(order) == (order,)


def test_the_judge_of_a_function_can_be_read() -> None:
    """When an event touches all that it would have been asked about."""
    assert readable(predicate_shape("bug.*", "app.reviews")) == "topic bug.* if should_refresh of app.reviews says so"
