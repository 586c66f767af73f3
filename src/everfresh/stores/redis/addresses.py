"""Redis URLs: where the store is, and what it is called there.

    redis://[[user]:password@]host[:port][/db]            one server, `rediss://` with TLS
    unix:///path/to/socket[?db=0]                          one server on this machine
    redis+sentinel://host:port,host:port/service[/db]      the master that these Sentinels name
    redis+cluster://host:port,host:port                    a Cluster; any of its nodes will do

Options after `?`: `prefix` begins the names of all keys, `shards` says over how many slots the entries are spread. With
TLS, also `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, and `ssl_cert_reqs=none` for a certificate nobody can check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from everfresh.model.errors import StoreUrlInvalid

Kind = Literal["server", "socket", "sentinel", "cluster"]

_KIND_OF: dict[str, Kind] = {
    "redis": "server",
    "rediss": "server",
    "unix": "socket",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
SCHEMES = frozenset(_KIND_OF)
_PORT, _SENTINEL_PORT = 6379, 26379
_MAX_PREFIX = 100
MAX_SHARDS = 256
_MAX_DIGITS = 9
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_KNOWN_OPTIONS = ("prefix", "shards", "db", "sentinel_password", *_TLS_OPTIONS)
_SHAPE_OF: dict[Kind, str] = {
    "server": "redis://host:6379/0",
    "socket": "unix:///run/redis/redis.sock?db=0",
    "sentinel": "redis+sentinel://host:26379,other:26379/service/0",
    "cluster": "redis+cluster://host:6379",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the store is. `path` is a socket's, `service` what Sentinels call the master; `tls` is None without TLS."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Mapping[str, str] | None = field(default=None, repr=False)
    prefix: str = "everfresh"
    shards: int = 1

    def __str__(self) -> str:
        """The place for people; no password."""
        if self.kind == "socket":
            return f"{self.path} (database {self.db})"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        match self.kind:
            case "sentinel":
                return f"{self.service} (database {self.db}) of the Sentinels {hosts}"
            case "cluster":
                return f"the Cluster at {hosts}"
            case "server":
                return f"{hosts}/{self.db}"


def address_of(url: str) -> Address:
    """The address that the URL names.

    Raises:
        StoreUrlInvalid: it names none; the message shows nothing that may be a password.
    """
    scheme = url.partition(":")[0]
    kind = _KIND_OF[scheme]
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid(scheme, "it cannot be read") from None
    # An '@' that stands so late is the end of a password which holds what ends the part before it.
    has_late_login = "@" in parts.query or (kind != "socket" and "@" in parts.path)
    if not url.startswith(f"{scheme}://") or parts.fragment or has_late_login:
        raise _invalid(scheme, "it cannot be read; write '#', '/', '?' and '@' of a password as %23, %2F, %3F and %40")
    options = _options(scheme, parts)
    username, password, places = _login(parts)
    service, db = _path(scheme, parts, options)
    return Address(
        kind=kind,
        hosts=() if kind == "socket" else _hosts(scheme, places),
        path=unquote(parts.path) if kind == "socket" else "",
        service=service,
        db=db,
        username=username,
        password=password,
        sentinel_password=options.get("sentinel_password"),
        tls={name: options[name] for name in _TLS_OPTIONS if name in options} if scheme.startswith("rediss") else None,
        shards=_shards(scheme, options.get("shards", "1")),
        prefix=_prefix(scheme, options.get("prefix", "everfresh")),
    )


def _invalid(scheme: str, problem: str) -> StoreUrlInvalid:
    return StoreUrlInvalid(f"store URL '{scheme}:'...: {problem}. Use for example '{_SHAPE_OF[_KIND_OF[scheme]]}'.")


def _options(scheme: str, parts: SplitResult) -> dict[str, str]:
    try:
        found = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _invalid(scheme, "what stands after '?' is not name=value&name=value") from None
    options = dict(found)
    is_tls = scheme.startswith("rediss")
    for name in options:
        if name not in _KNOWN_OPTIONS or (name in _TLS_OPTIONS and not is_tls):
            known = ", ".join(_KNOWN_OPTIONS if is_tls else _KNOWN_OPTIONS[: -len(_TLS_OPTIONS)])
            raise _invalid(scheme, f"there is no option {name[:40]!r}; there are {known}")
    if len(options) != len(found):
        raise _invalid(scheme, "an option stands there twice")
    if options.get("ssl_cert_reqs", "required") not in {"required", "none"}:
        raise _invalid(scheme, "ssl_cert_reqs is 'required' or 'none'")
    return options


def _shards(scheme: str, text: str) -> int:
    if not _is_number(text) or not 1 <= int(text) <= MAX_SHARDS:
        raise _invalid(scheme, f"shards is a whole number, from 1 to {MAX_SHARDS}")
    return int(text)


def _prefix(scheme: str, prefix: str) -> str:
    # What stands in braces decides the slot of a key, and that is the shard.
    if not prefix or len(prefix) > _MAX_PREFIX or not prefix.isprintable() or set(prefix) & set("{} "):
        raise _invalid(scheme, "prefix is a short name without braces and blanks")
    return prefix


def _login(parts: SplitResult) -> tuple[str | None, str | None, str]:
    login, at, places = parts.netloc.rpartition("@")
    if not at:
        return None, None, places
    username, _, password = login.partition(":")
    return unquote(username) or None, unquote(password) or None, places


def _path(scheme: str, parts: SplitResult, options: Mapping[str, str]) -> tuple[str, int]:
    """The service, empty without Sentinels, and the database."""
    kind, service, in_path = _KIND_OF[scheme], "", ""
    names = [] if kind == "socket" else [unquote(name) for name in parts.path.strip("/").split("/") if name]
    if kind == "socket" and not parts.path.strip("/"):
        raise _invalid(scheme, "the path of the socket is missing")
    if kind == "sentinel":
        if not names:
            raise _invalid(scheme, "the name of the service that the Sentinels watch is missing")
        service = names.pop(0)
    if names:
        in_path = names.pop(0)
    db = options.get("db", in_path or "0")
    if names or not _is_number(db) or (in_path and "db" in options):
        raise _invalid(scheme, "the database is a number, and stands there once")
    if kind == "cluster" and int(db):
        raise _invalid(scheme, "a Cluster has no other database than 0")
    return service, int(db)


def _hosts(scheme: str, places: str) -> tuple[tuple[str, int], ...]:
    usual = _SENTINEL_PORT if _KIND_OF[scheme] == "sentinel" else _PORT
    found = tuple(_host(scheme, place, usual) for place in places.split(","))
    if _KIND_OF[scheme] == "server" and len(found) != 1:
        raise _invalid(scheme, "one server is one host; several are 'redis+sentinel:' or 'redis+cluster:'")
    return found


def _host(scheme: str, place: str, usual: int) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        port, is_good = rest.removeprefix(":"), bool(bracket) and rest[:1] in {"", ":"}
    else:
        host, _, port = place.partition(":")
        is_good = True
    if not host or not is_good or (port and not (_is_number(port) and 0 < int(port) < 2**16)):
        raise _invalid(scheme, "it names no host, or a port that is none")
    return host, int(port) if port else usual


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
