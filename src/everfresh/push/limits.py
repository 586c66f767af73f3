"""Limits: how many streams one user, and one address, may have open, and how often each may poll instead. Pure.

Whoever may have so many streams may poll once for each in every few seconds, as browsers do to whom no stream comes
through: so a full house of streams keeps nobody from polling, and no poll is cheaper to ask for than a stream.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Self

from everfresh.asgi import Request, network_of
from everfresh.model.errors import InvalidOption
from everfresh.model.options import whole_number
from everfresh.push.topics import MAX_TOPICS

Who = tuple[str, str]
"""All, an address or a user: of what kind, and which."""

_ALL: Who = ("", "")
# A little less than a client that polls waits at least.
_POLL_EACH_S = 4.0
# A browser that is told that some topic is not there asks for each of them once, to find out which.
_N_MORE_AT_ONCE = MAX_TOPICS
# Of so many it is remembered when they polled; of who came before them it is not, and they begin anew.
_N_REMEMBERED = 10_000
# Who finds no room for a stream comes back after that.
_ROOM_IN_S = 5


class TooMany(Exception):
    """More than is allowed; the message says of what, and `wait_s` when to ask again."""

    def __init__(self, message: str, *, wait_s: int = _ROOM_IN_S) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """So many streams at once in one process: of one user, of one address, and of all.

    For each of these one may poll once in four seconds instead. An address of IPv6 is its network. Behind a proxy name
    the `header` in which that proxy writes the address, and only one that it writes itself, or who asks is whoever they
    like.

    Raises:
        InvalidOption: a number is not above zero.
    """

    per_user: int = 20
    per_address: int = 200
    in_all: int = 20_000
    header: str | None = None

    def __post_init__(self) -> None:
        for option in ("per_user", "per_address", "in_all"):
            whole_number(getattr(self, option), option=option, least=1)
        if self.header is not None and not self.header.strip():
            raise InvalidOption("header: empty. Name the header that the proxy writes, for example 'x-real-ip'.")

    def of_address(self, request: Request) -> Mapping[Who, int]:
        """What bounds a request, whoever the user is."""
        host = request.host if self.header is None else request.texts().get(self.header.lower(), request.host)
        return {_ALL: self.in_all, ("address", network_of(host)): self.per_address}

    def of_user(self, user: str) -> Mapping[Who, int]:
        """What bounds a user; nobody in particular is not bounded."""
        return {("user", user): self.per_user} if user else {}


class Counted:
    """Who has how many streams open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._n_of: Counter[Who] = Counter()

    def __len__(self) -> int:
        return len(self._n_of)

    def open(self, request: Request) -> Place:
        """A place for one stream of that address, while its block runs.

        Raises:
            TooMany: there are as many as there may be.
        """
        return Place(self, self._limits, self.take(self._limits.of_address(request)))

    def take(self, bounds: Mapping[Who, int]) -> tuple[Who, ...]:
        """Count one more of each.

        Raises:
            TooMany: of one there are as many as there may be; none was counted.
        """
        for who, n_most in bounds.items():
            if self._n_of[who] >= n_most:
                raise TooMany(f"{n_most} streams are open {_of(who)} already. Close one, or poll with `since`.")
        self._n_of.update(bounds.keys())
        return (*bounds,)

    def give_back(self, taken: tuple[Who, ...]) -> None:
        """Count one less of each."""
        self._n_of.subtract(taken)
        for who in taken:
            if not self._n_of[who]:
                del self._n_of[who]


class Place:
    """What one stream is counted as, while the block runs; first of its address, and then of its user too."""

    __slots__ = ("_counted", "_limits", "_taken")

    def __init__(self, counted: Counted, limits: Limits, taken: tuple[Who, ...]) -> None:
        self._counted = counted
        self._limits = limits
        self._taken = taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._counted.give_back(self._taken)

    def of(self, user: str) -> None:
        """It is this user's.

        Raises:
            TooMany: the user has as many as there may be.
        """
        self._taken += self._counted.take(self._limits.of_user(user))


class Polls:
    """When each has used up its polls: a bucket for each, in bounded memory. The time is an argument."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._full_at: OrderedDict[Who, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def come(self, request: Request, now: float) -> None:
        """Count one poll of that address.

        Raises:
            TooMany: it comes too soon; it is not counted.
        """
        self._take(self._limits.of_address(request), now)

    def come_as(self, user: str, now: float) -> None:
        """Count the same poll of its user.

        Raises:
            TooMany: the user polls too often.
        """
        self._take(self._limits.of_user(user), now)

    def _take(self, bounds: Mapping[Who, int], now: float) -> None:
        full_at: dict[Who, float] = {}
        for who, n in bounds.items():
            each_s = _POLL_EACH_S / n
            full_at[who] = max(self._full_at.get(who, now), now) + each_s
            wait_s = full_at[who] - now - each_s * (n + _N_MORE_AT_ONCE)
            if wait_s > 0:
                more = f"{n} polls in {_POLL_EACH_S:g} s"
                raise TooMany(
                    f"There were more than {more} {_of(who)}. Poll when `retry_ms` says.", wait_s=int(wait_s) + 1
                )
        for who, at in full_at.items():
            self._full_at[who] = at
            self._full_at.move_to_end(who)
        # Whoever has all polls again is as good as unknown.
        while len(self._full_at) > _N_REMEMBERED or next(iter(self._full_at.values()), inf) <= now:
            self._full_at.popitem(last=False)


def _of(who: Who) -> str:
    return f"from one {who[0]}" if who[0] else "here"
