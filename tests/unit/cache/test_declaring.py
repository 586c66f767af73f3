import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from everfresh import dep
from everfresh.cache.declaring import check_unique, declare
from everfresh.cache.options import Options
from everfresh.cache.spec import Spec
from everfresh.cache.values import fingerprint_of
from everfresh.matching.shapes import Shape, ShapeKind, predicate_shape
from everfresh.model.dependency import Dependency
from everfresh.model.errors import InvalidDependency, InvalidOption
from everfresh.protocol.requests import Policy

HERE = __name__


def article(article_id: int, locale: str = "en") -> str:
    return f"{article_id} {locale}"


async def bugs(email: str) -> list[int]:
    return [len(email)]


def numbers() -> Iterator[int]:
    yield 1


async def later_numbers() -> AsyncIterator[int]:
    yield 1


class Shop:
    def price(self, article_id: int) -> int:
        return article_id

    @classmethod
    def cheapest(cls) -> int:
        return 0

    @staticmethod
    def tax(price: int) -> int:
        return price


def declared(function: Callable[..., Any], **options: Any) -> Spec:  # noqa: ANN401 - wrong ones too
    return declare(function, policy=Policy(), options=Options(**options))


def test_a_function_is_known_by_its_module_its_name_and_its_version() -> None:
    """So a worker that imports the module finds it."""
    assert declared(article, version=3).name == f"{HERE}.article@3"
    assert declared(Shop.tax).name == f"{HERE}.Shop.tax@1"


@pytest.mark.parametrize(("function", "is_async"), [(article, False), (bugs, True)], ids=["sync", "async"])
def test_a_function_keeps_its_colour(function: Callable[..., Any], is_async: bool) -> None:
    """It decides how the function is called, and what calling it gives."""
    assert declared(function).is_async is is_async


def test_the_return_annotation_says_how_values_are_stored() -> None:
    """And a name in it may be defined further down: it is read at the first call."""
    spec = declared(bugs)

    assert spec.codec().decode(spec.codec().encode([7])[0]) == [7]
    assert spec.fingerprint() == fingerprint_of(list[int], spec.name)


def test_an_annotation_that_cannot_be_read_is_found_at_the_first_call() -> None:
    """Not before, as what it names may come further down in the module."""

    def function() -> "Missing": ...  # type: ignore[name-defined]  # noqa: F821 - that is the point

    spec = declared(function)

    with pytest.raises(InvalidOption, match="'Missing'"):
        spec.fingerprint()


# ------------------------------------------------------------------------------------------------------ dependencies


def test_the_shapes_of_the_declared_dependencies_are_known_before_any_call() -> None:
    """They do not hang on the arguments, and each is there once."""
    spec = declared(
        article,
        depends_on=[
            dep.Id("article", dep.arg("article_id")),
            dep.Id("article", 7),
            dep.Topic("l10n.*", {"locale": dep.arg("locale"), "kind": "text"}),
            dep.Tag(dep.arg("locale")),
            dep.Call("f(1)"),
        ],
    )

    assert spec.shapes == (
        Shape(ShapeKind.ID, "article"),
        Shape(ShapeKind.TOPIC, "l10n.*", ("kind", "locale")),
        Shape(ShapeKind.TAG),
        Shape(ShapeKind.CALL),
    )


def test_arguments_take_their_places_in_the_dependencies_of_a_call() -> None:
    """Each call depends on its own object."""
    spec = declared(
        article,
        depends_on=[
            dep.Id("article", dep.arg("article_id"), ("title",)),
            dep.Topic("l10n.*", {"locale": dep.arg("locale"), "kind": "text"}),
            dep.Tag(dep.arg("locale")),
            dep.Call("f(1)"),
        ],
    )

    assert spec.dependencies({"article_id": 7, "locale": "de"}) == [
        dep.Id("article", 7, ("title",)),
        dep.Topic("l10n.*", {"locale": "de", "kind": "text"}),
        dep.Tag("de"),
        dep.Call("f(1)"),
    ]


@pytest.mark.parametrize(
    "dependency",
    [dep.Id("article", dep.arg("id")), dep.Topic("a", {"b": dep.arg("id")}), dep.Tag(dep.arg("id"))],
    ids=["id", "topic", "tag"],
)
def test_an_argument_that_names_no_parameter_is_refused(dependency: Dependency) -> None:
    """The message lists those that there are."""
    with pytest.raises(InvalidDependency, match=r"article@1: dep\.arg\('id'\).*\['article_id', 'locale'\]"):
        declared(article, depends_on=[dependency])


def test_an_argument_that_is_ignored_is_refused() -> None:
    """The dependency would be that of whoever came first, and a worker's another."""
    with pytest.raises(InvalidDependency, match=r"dep\.arg\('locale'\)"):
        declared(article, depends_on=[dep.Tag(dep.arg("locale"))], ignore=("locale",))


@pytest.mark.parametrize(
    "depends_on",
    [dep.Tag("home"), ["home"], [dep.Tag(object())], [dep.Id("article", {1, 2})]],
    ids=["no-list", "stranger", "object", "set"],
)
def test_a_dependency_that_cannot_hold_is_refused_at_declaration(depends_on: object) -> None:
    """Not when the first user comes."""
    with pytest.raises(InvalidDependency):
        declared(article, depends_on=depends_on)


# ----------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (numbers, "a generator has no value to store"),
        (later_numbers, "a generator has no value to store"),
        (Shop.price, "a method needs its object"),
        (lambda: 1, "no name of its own"),
        (functools.partial(article, 1), "no name of its own"),
        (7, "7 is no function"),
        (max, "its parameters cannot be seen"),
    ],
    ids=["generator", "async-generator", "method", "lambda", "partial", "number", "builtin"],
)
def test_what_a_worker_could_not_call_is_refused(function: Any, problem: str) -> None:  # noqa: ANN401 - wrong ones too
    """The message says what to write instead."""
    with pytest.raises(InvalidOption, match=problem):
        declared(function)


def test_a_class_method_that_is_bound_to_its_class_can_be_cached() -> None:
    """It needs no object."""
    assert declared(Shop.cheapest).name == f"{HERE}.Shop.cheapest@1"


def test_ignored_names_as_one_text_are_refused() -> None:
    """A text would be read as its letters."""
    with pytest.raises(InvalidOption, match=r"ignore=\('locale',\)"):
        declared(article, ignore="locale")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ignore": 7}, "ignore 7 is no tuple of names"),
        ({"key": 7}, "key 7 is no text"),
        ({"inherit": ContextVar[int]("alone")}, "inherit takes context variables"),
        ({"inherit": ("name",)}, "inherit takes context variables"),
    ],
    ids=["ignore", "key", "inherit-alone", "inherit-name"],
)
def test_an_option_of_another_type_is_refused(options: dict[str, Any], problem: str) -> None:
    """Callers without types are told what to write."""
    with pytest.raises(InvalidOption, match=problem):
        declared(article, **options)


def test_inherited_variables_are_kept() -> None:
    """A build sees those, and no others."""
    variable = ContextVar[int]("variable")

    assert declared(article, inherit=(variable,)).inherit == (variable,)


# -------------------------------------------------------------------------------------------------------- uniqueness


def test_a_function_declared_again_takes_the_old_ones_place() -> None:
    """A module that is loaded anew is no error."""
    check_unique(declared(article), [declared(article), declared(bugs)])


def test_a_function_in_a_function_is_cached_once() -> None:
    """Two closures of one name would share their values."""

    def made(number: int) -> Callable[[], int]:
        def function() -> int:
            return number

        return function

    one, other = declared(made(1)), declared(made(2))

    check_unique(one, [one])
    with pytest.raises(InvalidOption, match="both would share values"):
        check_unique(other, [one])


@pytest.mark.parametrize(
    ("one", "other", "is_refused"),
    [
        ("a:{article_id}:{locale}", "a:{email}", False),
        ("a:{article_id}", "a:{email}", True),
        ("a:{article_id}", "b:{email}", False),
        ("a:{article_id}", None, False),
        (None, "a:{email}", False),
    ],
    ids=["other-fields", "same", "other-text", "only-one", "only-other"],
)
def test_two_functions_do_not_share_a_key_that_is_named_by_hand(
    one: str | None, other: str | None, is_refused: bool
) -> None:
    """A template copied along with a function is found at declaration."""
    ignore = () if one is None or "locale" in one else ("locale",)
    specs = declared(article, key=one, ignore=ignore), declared(bugs, key=other)

    if is_refused:
        with pytest.raises(InvalidOption, match="has the same key"):
            check_unique(specs[1], [specs[0]])
    else:
        check_unique(specs[1], [specs[0]])


# -------------------------------------------------------------------------------------------------------- predicates


def test_entries_of_a_function_that_judges_stand_in_a_bucket_for_each_topic() -> None:
    """Each topic once; the store knows the shapes before any call."""
    spec = declared(
        bugs, should_refresh=lambda event, email: True, topics=("bug.*", "mail.#", "bug.*"), depends_on=[dep.Tag("a")]
    )
    shapes = [predicate_shape(topic, spec.name) for topic in ("bug.*", "mail.#")]

    assert [group.shape for group in spec.watched] == shapes
    assert [len(group.buckets()) for group in spec.watched] == [1, 1]
    assert spec.shapes == (Shape(ShapeKind.TAG), *shapes)


def test_a_function_without_a_predicate_watches_nothing() -> None:
    """Its entries cost triage nothing."""
    assert declared(bugs).watched == ()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"topics": ("bug.*",)}, "topics says nothing without should_refresh"),
        ({"should_refresh": 7, "topics": ("bug.*",)}, "7 is no plain function"),
        ({"should_refresh": bugs, "topics": ("bug.*",)}, "is no plain function"),
        ({"should_refresh": lambda event, email: True}, "would run for every event"),
        ({"should_refresh": lambda event, address: True, "topics": ("a",)}, r"called with \(event, email\)"),
    ],
    ids=["no-predicate", "number", "async", "no-topics", "another-argument"],
)
def test_a_predicate_that_could_not_be_asked_is_refused(options: dict[str, Any], problem: str) -> None:
    """At the declaration, not when the first event comes."""
    with pytest.raises(InvalidOption, match=problem):
        declared(bugs, **options)


def test_a_builtin_that_does_not_say_what_it_takes_may_be_a_predicate() -> None:
    """It is tried when the first event comes, and counts as yes if it raises."""
    assert declared(bugs, should_refresh=max, topics=("bug.*",)).should_refresh is max


# ---------------------------------------------------------------------------------------------------------- many ids


def users(ids: list[int], locale: str = "en") -> dict[int, str]:
    return {id_: locale for id_ in ids}  # noqa: C420 - plain


def nobody() -> dict[int, str]:
    return {}


def by_name(*, ids: list[int]) -> dict[int, str]:
    return {}


def test_a_function_of_many_ids_is_one_of_single_ids_to_the_store() -> None:
    """Its first parameter stands for one of them."""
    spec = declare(users, policy=Policy(), options=Options(depends_on=[dep.Id("user", dep.arg("ids"))]), takes_ids=True)

    assert (spec.ids, spec.dependencies({"ids": 7, "locale": "en"})) == ("ids", [dep.Id("user", 7)])
    assert spec.codec().decode(spec.codec().encode("ann")[0]) == "ann"
    assert spec.run({"ids": [7], "locale": "de"}) == {7: "de"}


@pytest.mark.parametrize(
    ("function", "ignore"), [(nobody, ()), (by_name, ()), (users, ("ids",))], ids=["none", "by-name", "ignored"]
)
def test_a_function_that_takes_no_ids_is_refused(function: Callable[..., Any], ignore: tuple[str, ...]) -> None:
    """There would be nothing to tell its entries apart."""
    with pytest.raises(InvalidOption):
        declare(function, policy=Policy(), options=Options(ignore=ignore), takes_ids=True)
