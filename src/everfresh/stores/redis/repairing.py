"""Repairing: a step that met what is no key of the store any more is sent again, to remove that.

Somebody wrote into the store by hand, or another program into its names. What the step had written when it broke off is
as little to be trusted as what hung on the key, so a new life of the store begins with the repair (main.lua).
"""

from __future__ import annotations

from redis import exceptions

# What the server says of a key of another type, and what comes of unpacking bytes that none of us packed.
_DAMAGE = ("WRONGTYPE", "Bad data format in input", "Missing bytes in input", "data string too short")


def is_damage(error: Exception) -> bool:
    """Whether the step broke off at such a key."""
    return isinstance(error, exceptions.ResponseError) and any(said in str(error) for said in _DAMAGE)
