"""The list of mutants, what counts as killing one, and the page about it."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from scripts.mutants import LIST, NETS, PAGE, ROOT, Mutant, Outcome, Result, mutants, outcome_of, page

MUTANTS = mutants(LIST.read_text("utf-8"))
GUARD = Mutant("the guard", Path("stores/a.py"), "what it keeps", "if is_held:", "if True:")
FAILED = "FAILED tests/a.py::TestA::test_b[x - y] - "


def tree(folder: Path, text: str) -> Path:
    """A tree with one file in it."""
    file = folder / "src/everfresh/stores/a.py"
    file.parent.mkdir(parents=True)
    file.write_text(dedent(text), "utf-8")
    return folder


def test_each_mutant_can_be_made() -> None:
    """Its text stands exactly once in the code as it is now, and the result compiles; else mend mutants.toml."""
    assert [problem for mutant in MUTANTS if (problem := mutant.problem(ROOT)) is not None] == []


def test_each_mutant_has_a_name_of_its_own() -> None:
    """The page and the command line go by it."""
    names = [mutant.name for mutant in MUTANTS]

    assert len(names) == len(set(names))


def test_each_net_holds_tests_that_are_there() -> None:
    """A file that was renamed would catch nothing, and nobody would notice."""
    assert [test for tests in NETS.values() for test in tests if not (ROOT / test).exists()] == []
    assert {net for mutant in MUTANTS for net in mutant.nets_to_cast()} <= set(NETS)


def test_the_guards_of_the_rules_and_of_the_stores_are_in_the_list() -> None:
    """Those that were promised, by their names, and no fewer than promised."""
    names = {mutant.name for mutant in MUTANTS}
    promised = {
        "fence: token",
        "fired check",
        "shape registration",
        "prune floor",
        "digest cut-off",
        "epoch of the feed",
        "requeue on expiry",
    }

    assert promised <= names
    assert len([one for one in MUTANTS if one.file.parts[0] in ("protocol", "stores")]) >= 25


def test_the_page_has_every_mutant_and_says_that_it_was_noticed() -> None:
    """Run `make mutants` after a change of the list."""
    text = PAGE.read_text("utf-8")

    assert re.findall(r"^\| (?!guard|---)([^|]+) \|", text, re.MULTILINE) == [mutant.name for mutant in MUTANTS]
    assert "survived" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("if is_held:\n    pass\n", None),
        ("if is_kept:\n    pass\n", "the guard: its text stands 0 times in src/everfresh/stores/a.py, not once."),
        ("if is_held:\n    pass\n" * 2, "the guard: its text stands 2 times in src/everfresh/stores/a.py, not once."),
        ("if is_held:\npass\n", "the guard: what it makes of src/everfresh/stores/a.py does not compile"),
    ],
)
def test_a_mutant_that_cannot_be_made_is_told(tmp_path: Path, text: str, said: str | None) -> None:
    """The code has moved on, and the list has not."""
    problem = GUARD.problem(tree(tmp_path, text))

    assert problem == said if said is None or problem is None else problem.startswith(said)


def test_a_mutant_of_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    """As above."""
    assert GUARD.problem(tmp_path) == "the guard: there is no src/everfresh/stores/a.py."


def test_a_mutant_is_made_in_its_copy_alone(tmp_path: Path) -> None:
    """The copies share the files that are the same in all of them."""
    original = tree(tmp_path / "original", "if is_held:\n    pass\n")
    copy = tree(tmp_path / "copy", "")
    file = "src/everfresh/stores/a.py"
    (copy / file).unlink()
    (copy / file).hardlink_to(original / file)

    GUARD.make(copy)

    assert (copy / file).read_text("utf-8") == "if True:\n    pass\n"
    assert (original / file).read_text("utf-8") == "if is_held:\n    pass\n"


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (0, "3 passed", Outcome()),
        (1, f"{FAILED}assert 1 == 2", Outcome("tests/a.py::TestA::test_b[x - y]", "assert 1 == 2")),
        (1, f"{FAILED}assert [1] == [2]", Outcome("tests/a.py::TestA::test_b[x - y]", "assert [1] == [2]")),
        (1, f"{FAILED}Failed: DID NOT RAISE", Outcome("tests/a.py::TestA::test_b[x - y]", "Failed: DID NOT RAISE")),
        (
            1,
            f"tests/a.py:3: AttributeError: no x\n{FAILED}AttributeError: no x",
            Outcome("tests/a.py::TestA::test_b[x - y]", "AttributeError: no x"),
        ),
    ],
)
def test_a_test_that_fails_kills(code: int, text: str, outcome: Outcome) -> None:
    """By its assertion, or by an error that it meets where it promised none."""
    assert outcome_of(code, text) == outcome


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "ERROR tests/a.py::test_b - ZeroDivisionError"),
        (2, "ERROR tests/a.py - ImportError: no everfresh"),
        (2, f"{FAILED}assert 1 == 2"),
        (1, f"{FAILED}NameError: name 'x' is not defined"),
        (1, f"{FAILED}UnboundLocalError: x"),
        (1, f"copy/src/everfresh/stores/a.py:3: TypeError: not callable\n{FAILED}TypeError: not callable"),
        (4, "no tests ran"),
    ],
)
def test_what_ends_a_run_otherwise_kills_nothing(code: int, text: str) -> None:
    """Code that cannot run at all proves nothing about the tests."""
    assert outcome_of(code, text).is_crash


def test_the_page_says_what_was_broken_and_who_noticed() -> None:
    """A pipe in the code does not end the cell."""
    broken = Mutant("a", Path("stores/a.py"), "keeps b", "x | y", "x")
    left_out = Mutant("c", Path("protocol/a.py"), "keeps d", "\n    raise\n", "")
    caught = Outcome("tests/a.py::TestA::test_b[x - y]", "assert 1 == 2")
    results = [Result(broken, "contract", caught, 1.0), Result(left_out, None, Outcome(), 1.0)]

    lines = page([broken, left_out], results, "").splitlines()

    assert lines[-2:] == [
        r"| a | keeps b | `stores/a.py` | `x \| y` became `x` | [test_b](../../tests/a.py) |",
        "| c | keeps d | `protocol/a.py` | `raise` left out | **survived** |",
    ]
    assert "1 of 2 were noticed." in lines


def test_lines_of_mutants_that_were_not_tried_are_kept() -> None:
    """In the order of the list; those of mutants that are not in it any more go."""
    first, second, gone = (
        Mutant(name, Path("stores/a.py"), "keeps b", "x", "") for name in ("first", "second", "gone")
    )
    caught = Outcome("tests/a.py::test_b", "assert 1 == 2")
    before = page([second, gone], [Result(one, "contract", caught, 1.0) for one in (second, gone)], "")

    lines = page([first, second], [Result(first, None, Outcome(), 1.0)], before).splitlines()

    assert lines[-2:] == [
        "| first | keeps b | `stores/a.py` | `x` left out | **survived** |",
        "| second | keeps b | `stores/a.py` | `x` left out | [test_b](../../tests/a.py) |",
    ]
