"""What comes from data is printed so that a terminal shows it, does nothing else, and one line stays one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.cache.printing import key_printed, printable, printable_key

PRINTED = [
    ("bug:1", "bug:1"),
    ("Käse 🧀", "Käse 🧀"),
    ("a\x1b[31mb", r"a\x1b[31mb"),
    ("a\nfresh     b", r"a\nfresh     b"),
    ("a\r\tb\x00\x7f\x9b", r"a\r\tb\x00\x7f\x9b"),
    ("a\u202eb\u2066\u200b\ufeff", r"a\u202eb\u2066\u200b\ufeff"),
    ("a\u2028b\u2029\x85", r"a\u2028b\u2029\x85"),
    ("a\ud800b", r"a\ud800b"),
    ("a\U000e0001b", r"a\U000e0001b"),
]
TEXTS = st.text(st.characters(codec=None) | st.sampled_from("\\nrtxuU0123456789abcdef\x1b\n\u202e\ud800"))


@pytest.mark.parametrize(("text", "printed"), PRINTED, ids=ascii)
def test_what_is_not_simply_shown_is_escaped(text: str, printed: str) -> None:
    """Control characters, ends of lines, marks of direction, halves of surrogate pairs; letters and signs stay."""
    assert printable(text) == printable_key(text) == printed


@given(TEXTS)
def test_all_that_is_printed_is_printable(text: str) -> None:
    """And can be written by a terminal that knows nothing but UTF-8."""
    for printed in (printable(text), printable_key(text)):
        assert printed.isprintable()
        assert printed.encode().decode() == printed


@given(TEXTS)
def test_a_key_is_found_by_what_was_printed_of_it(key: str) -> None:
    """So no two keys are printed alike."""
    assert key_printed(printable_key(key)) == key


@pytest.mark.parametrize(
    ("key", "printed"),
    [
        (r'f@1(path="C:\\x")', r'f@1(path="C:\\\\x")'),
        (r'f@1(text="a\"b")', r'f@1(text="a\"b")'),
        (r"a\nb", r"a\\nb"),
        (r"a\qb\x1", r"a\qb\x1"),
        (r"\U00110000", r"\U00110000"),
    ],
)
def test_a_backslash_is_doubled_only_where_it_would_be_read_as_an_escape(key: str, printed: str) -> None:
    """Most keys are printed as they are."""
    assert printable_key(key) == printed
