"""The doctor's round: every check at the same time, each within a limit, none of which hides another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

from tracewatchd.model.diagnosis import Diagnosis, Trouble, Unchecked
from tracewatchd.model.errors import ConfigError, PermanentError, TracewatchError

T = TypeVar("T")
Look: TypeAlias = Callable[[], Awaitable[Iterable[Trouble]]]


class Check(NamedTuple):
    """One check: its name, a look that returns the troubles that it sees, and the limit of the look in seconds.

    A look may end by an error of ours: one that heals says that nothing could be seen, any other is itself a trouble.
    """

    name: str
    look: Look
    limit_s: float = 20.0


async def diagnose(checks: Sequence[Check]) -> Diagnosis:
    """What all checks say together, in their order."""
    told = await asyncio.gather(*map(_made, checks))
    diagnosis = Diagnosis()
    for check, answer in zip(checks, told, strict=True):
        if check.name not in diagnosis.checks:
            diagnosis.checks.append(check.name)
        if isinstance(answer, Unchecked):
            diagnosis.unchecked.append(answer)
        else:
            diagnosis.troubles += answer
    return diagnosis


async def _made(check: Check) -> list[Trouble] | Unchecked:
    try:
        async with asyncio.timeout(check.limit_s):
            return list(await check.look())
    except TimeoutError:
        sentence = f"the check of {check.name} had no answer within {check.limit_s:g} s"
        return Unchecked(check.name, sentence, "see why it hangs (a network file system or a server that is away?)")
    except (ConfigError, PermanentError) as error:
        return [Trouble(check.name, "error", str(error), error.hint)]
    except TracewatchError as error:
        return Unchecked(check.name, str(error), error.hint)
    except OSError as error:  # a path on the way that we may not even look at
        return Unchecked(
            check.name, f"the check of {check.name} was cut short: {error}", "run this as the daemon's user"
        )


async def in_thread(work: Callable[[], T]) -> T:
    """The result of blocking work in a thread that nobody has to wait for.

    A system call on a file system that hangs never returns: neither the round nor the process may hang with it, which
    it would with a thread of a pool.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    threading.Thread(target=_work, args=(work, loop, future), daemon=True, name="look").start()
    return await future


def _work(work: Callable[[], T], loop: asyncio.AbstractEventLoop, future: asyncio.Future[T]) -> None:
    try:
        report = partial(_give, future, work())
    except (TracewatchError, OSError) as error:
        report = partial(_fail, future, error)
    if not loop.is_closed():
        loop.call_soon_threadsafe(report)


def _give(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: TracewatchError | OSError) -> None:
    if not future.done():
        future.set_exception(error)
