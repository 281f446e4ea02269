"""LangSmith's request limits, as documented: so many requests in any window of so many seconds, by API key."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

LONGEST_CHEAP_WINDOW = timedelta(days=7)


@dataclass(frozen=True)
class Tier:
    """At most so many requests within any window of so many seconds."""

    requests: int
    window_s: float


@dataclass(frozen=True)
class Tiers:
    """What may be asked for how often; the defaults are the documented ones."""

    short_query: Tier = Tier(10, 10.0)
    """``POST /runs/query`` over at most 7 days."""
    long_query: Tier = Tier(3, 10.0)
    """``POST /runs/query`` over more than 7 days, or without a start_time."""
    read_run: Tier = Tier(30, 60.0)
    """``GET /runs/{id}``."""
    v2_query: Tier = Tier(300, 10.0)
    """``POST /v2/runs/query``."""
    everything: Tier = Tier(2_000, 60.0)
    retry_after: bool = True
    """Whether a 429 says in whole seconds when to come again."""

    def faster(self, times: float) -> Tiers:
        """The same counts in windows that are so many times shorter, for tests that cannot wait."""
        names = ("short_query", "long_query", "read_run", "v2_query", "everything")
        tiers = {name: getattr(self, name) for name in names}
        shorter = {name: Tier(tier.requests, tier.window_s / times) for name, tier in tiers.items()}
        return Tiers(**shorter, retry_after=self.retry_after)

    def tiers_of(self, method: str, path: str, window: timedelta | None) -> Iterator[tuple[str, Tier]]:
        """The limits, by name, that a request counts against; ``window`` is the time that a v1 query spans."""
        yield "everything", self.everything
        if (method, path) == ("POST", "/runs/query"):
            cheap = window is not None and window <= LONGEST_CHEAP_WINDOW
            yield ("short_query", self.short_query) if cheap else ("long_query", self.long_query)
        elif (method, path) == ("POST", "/v2/runs/query"):
            yield "v2_query", self.v2_query
        elif method == "GET" and path.startswith("/runs/"):
            yield "read_run", self.read_run


class Limiter:
    """Counts requests in sliding windows; what is refused does not count."""

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers
        self._seen: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    def wait_s(self, key: str, method: str, path: str, window: timedelta | None, now_s: float) -> float:
        """0 when the request may pass (it counts from now on); otherwise how long until one may."""
        limits = [(self._seen[key, name], tier) for name, tier in self._tiers.tiers_of(method, path, window)]
        wait = max(_until_free(seen, tier, now_s) for seen, tier in limits)
        if wait == 0:
            for seen, _ in limits:
                seen.append(now_s)
        return wait

    def retry_after(self, wait_s: float) -> dict[str, str]:
        """The header that a 429 carries, if any."""
        return {"Retry-After": str(math.ceil(wait_s))} if self._tiers.retry_after else {}


def _until_free(seen: deque[float], tier: Tier, now_s: float) -> float:
    while seen and seen[0] <= now_s - tier.window_s:
        seen.popleft()
    return seen[-tier.requests] + tier.window_s - now_s if len(seen) >= tier.requests else 0.0
