"""Find the cache, or the application with its cache, that a command line names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from operator import attrgetter
from types import ModuleType
from typing import cast

from everfresh.cache import Cache, CachedFunction
from everfresh.cli.streams import App
from everfresh.model.errors import EverfreshError


class AppUnusable(Exception):
    """`module:attribute` names no cache; the message says what to do."""


def cache_of(app: str) -> Cache:
    """The cache that `module:attribute` names; the current folder is searched first.

    Raises:
        AppUnusable: the module cannot be imported, or there is no cache under that name in it.
        EverfreshError: its cache cannot be opened.
    """
    module, found = _found(app, what="cache", example="shop.pages:cache")
    if not isinstance(found, Cache):
        kind = type(found).__name__
        raise AppUnusable(f"{app!r} is a {kind}, not a Cache. {_caches(module)}")
    return found


def asgi_of(app: str, cache: str | None) -> tuple[App, Cache]:
    """The ASGI application that `module:attribute` names, and the cache; if none is named, the one in its module.

    Raises:
        AppUnusable: there is no such application, or it is not clear which cache is meant.
        EverfreshError: its cache cannot be opened.
    """
    module, found = _found(app, what="application", example="shop.web:app")
    if isinstance(found, Cache):
        raise AppUnusable(f"{app!r} is a Cache, not an ASGI application: `everfresh worker` takes it.")
    kind = type(found).__name__
    if not callable(found) or isinstance(found, type | CachedFunction):
        raise AppUnusable(f"{app!r} is a {kind}, not an ASGI application.")
    served = cast("App", found)
    if cache is not None:
        return served, cache_of(cache)
    caches = {id(value): value for value in vars(module).values() if isinstance(value, Cache)}
    if len(caches) != 1:
        n = len(caches) or "no"
        raise AppUnusable(f"{module.__name__!r} holds {n} caches. Say which one: --cache module:attribute.")
    return served, next(iter(caches.values()))


def found_in(name: str, *, what: str, example: str) -> object:
    """What `module:attribute` names; the current folder is searched first.

    Raises:
        AppUnusable: the module cannot be imported, or there is nothing under that name in it.
    """
    return _found(name, what=what, example=example)[1]


def _found(app: str, *, what: str, example: str) -> tuple[ModuleType, object]:
    if "/" in app:
        # Not shown: a URL may hold a password.
        raise AppUnusable(f"a URL or a path names no {what} here. Write module:attribute, for example {example}.")
    name, _, path = app.partition(":")
    if not name or not path:
        raise AppUnusable(f"{app!r} names no {what}. Write module:attribute, for example {example}.")
    module = _imported(name)
    try:
        found: object = attrgetter(path)(module)
    except AttributeError as error:
        hint = _caches(module) if what == "cache" else _alike(module, path)
        raise AppUnusable(f"{name!r} has no {path!r}. {hint}") from error
    return module, found


def search_here() -> None:
    """Have modules looked for in the current folder first."""
    if "" not in sys.path:
        sys.path.insert(0, "")


def _imported(name: str) -> ModuleType:
    search_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise AppUnusable(f"{name!r} needs {error.name!r}, which is not installed here.") from error
        raise AppUnusable(f"there is no module {error.name!r}. Run this in the folder that holds it.") from error
    except EverfreshError:
        raise
    except (Exception, SystemExit) as error:
        # The user's module may raise anything, or mean to be a command; what it was helps more than a traceback
        # through our own import.
        raise AppUnusable(f"importing {name!r} failed with {type(error).__name__}: {error}") from error


def _caches(module: ModuleType) -> str:
    names = sorted(name for name, value in vars(module).items() if isinstance(value, Cache))
    if not names:
        return "No cache is to be seen in that module."
    return _did_you_mean(module, names)


def _alike(module: ModuleType, path: str) -> str:
    names = get_close_matches(path, vars(module), n=1)
    return _did_you_mean(module, names) if names else "Is it the right module?"


def _did_you_mean(module: ModuleType, names: Iterable[str]) -> str:
    return "Did you mean " + " or ".join(f"{module.__name__}:{name}" for name in names) + "?"
