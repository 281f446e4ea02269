"""Waiting for a condition while the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 20.0


async def soon(condition: Callable[[], T]) -> T:
    """The first truthy answer of a condition, within a limit."""

    async def ask() -> T:
        return condition()

    return await soon_answered(ask)


async def soon_answered(question: Callable[[], Awaitable[T]]) -> T:
    """The first truthy answer to a question that takes a while itself, such as a query, within a limit."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if answer := await question():
                return answer
            await asyncio.sleep(0.01)
