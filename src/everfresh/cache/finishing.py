"""Finishing: steps of a shared store that are carried out to their end, though nobody waits for them any more."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeVar

from everfresh.protocol.queueing import leases_in
from everfresh.protocol.requests import GiveUp, Request
from everfresh.stores.store import Store, is_reading

A = TypeVar("A")


async def finished(store: Store, request: Request[A]) -> A:
    """Carry out a step that is not lost to a cancellation: it is finished, and a lease that it gave is given back."""
    if not store.is_shared or is_reading(request):
        return await store.carry_out_async(request)
    step = asyncio.ensure_future(store.carry_out_async(request))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        answer = await _to_the_end(step)
        for lease in leases_in(answer):
            await _to_the_end(asyncio.ensure_future(store.carry_out_async(GiveUp(lease))))
        raise


async def _to_the_end(step: asyncio.Future[A]) -> A | None:
    """The answer of a step, whoever cancels meanwhile; None when it raised."""
    while not step.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([step])
    return None if step.cancelled() or step.exception() is not None else step.result()
