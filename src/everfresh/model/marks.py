"""`override` for Python 3.11, where typing has none."""

from __future__ import annotations

import sys

# Each Python runs one half, so neither can be asked of the tests of one Python.
if sys.version_info >= (3, 12):  # pragma: no cover
    from typing import override
else:  # pragma: no cover
    from collections.abc import Callable
    from typing import Any, TypeVar

    _F = TypeVar("_F", bound=Callable[..., Any])

    def override(method: _F, /) -> _F:
        """Mark a method that takes the place of another; the type checkers of later Pythons verify it."""
        return method


__all__ = ["override"]
