"""Files that may still be written: looked at again until they are complete or have stood still."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from tracewatchd.model.stamp import Stamp

_FIRST_LOOK_S = 0.1


class Verdict(Enum):
    """What to do with a file that looked incomplete."""

    LOOK_AGAIN = auto()
    BELIEVE = auto()
    """It has stood still: what it looks like is what it is."""
    GIVE_UP = auto()
    """It never stands still, or too many files are being waited for: sweeps will come back to it."""


@dataclass(slots=True)
class _Sight:
    stamp: Stamp
    first_s: float
    still_since_s: float
    looks: int = 1


class Settling:
    """The files being waited for, at most ``capacity``; all times are of a monotonic clock, in seconds."""

    def __init__(self, *, settle_s: float, limit_s: float, capacity: int) -> None:
        self._settle_s = settle_s
        self._limit_s = limit_s
        self._capacity = capacity
        self._sights: dict[str, _Sight] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._sights

    def look(self, path: str, stamp: Stamp, now: float) -> Verdict:
        """Record what an incomplete file looked like just now."""
        sight = self._sights.get(path)
        if sight is None:
            if len(self._sights) >= self._capacity:
                return Verdict.GIVE_UP
            self._sights[path] = _Sight(stamp, now, now)
            return Verdict.LOOK_AGAIN
        sight.looks += 1
        if sight.stamp != stamp:
            sight.stamp = stamp
            sight.still_since_s = now
        if now - sight.still_since_s >= self._settle_s:
            return Verdict.BELIEVE
        return Verdict.GIVE_UP if now - sight.first_s >= self._limit_s else Verdict.LOOK_AGAIN

    def is_restless(self, path: str, now: float) -> bool:
        """Whether a file has kept changing for longer than it would have had to stand still."""
        return now - self._sights[path].first_s >= self._settle_s

    def wait_s(self, path: str, now: float) -> float:
        """How long until the next look: short at first, and never past the moment at which it has stood still."""
        sight = self._sights[path]
        still_s = self._settle_s - (now - sight.still_since_s)
        backed_off_s = _FIRST_LOOK_S * 2.0 ** min(sight.looks, 10)
        return max(_FIRST_LOOK_S, min(backed_off_s, still_s))

    def forget(self, path: str) -> None:
        """The file is decided."""
        self._sights.pop(path, None)
