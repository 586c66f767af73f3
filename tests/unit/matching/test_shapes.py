import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.shapes import (
    CALL_SHAPE,
    SHAPE_ID_BYTES,
    TAG_SHAPE,
    Group,
    Shape,
    ShapeKind,
    Values,
    bucket_of,
    buckets_of,
    call_bucket,
    grouped,
    shape_and_values,
)
from everfresh.model import dependency as dep
from everfresh.model.errors import InvalidDependency

NASTY = st.text(st.sampled_from("a1:,;|\0\ud800é"), max_size=4)
SHAPES = st.builds(Shape, st.sampled_from(ShapeKind), st.sampled_from(["a", "b.*"]), st.just(()), st.just(()))


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
        (dep.Tag("home"), TAG_SHAPE, ("home",)),
        (dep.Call("f(007)"), CALL_SHAPE, ("f(007)",)),
    ],
    ids=["topic", "conditions", "id", "watch", "tag", "call"],
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
