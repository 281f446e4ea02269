"""When a file that looked incomplete is believed, waited for, or given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.ingest.settle import Settling, Verdict
from tracewatchd.model.stamp import Stamp

PATH = "bot/2026-11-20/a.json"


def settling(*, capacity: int = 10) -> Settling:
    return Settling(settle_s=2.0, limit_s=60.0, capacity=capacity)


def stamp(size: int) -> Stamp:
    return Stamp(size, size, size)


def test_a_file_is_believed_only_after_standing_still() -> None:
    """The first look believes nothing; the stamp must be the same for ``settle_s``."""
    files = settling()
    assert files.look(PATH, stamp(1), 100.0) is Verdict.LOOK_AGAIN
    assert files.look(PATH, stamp(1), 101.9) is Verdict.LOOK_AGAIN
    assert files.look(PATH, stamp(1), 102.0) is Verdict.BELIEVE


def test_growing_begins_the_wait_anew() -> None:
    """A new stamp means that somebody still writes: standing still counts from then on."""
    files = settling()
    files.look(PATH, stamp(1), 100.0)
    assert files.look(PATH, stamp(2), 103.0) is Verdict.LOOK_AGAIN
    assert files.look(PATH, stamp(2), 104.9) is Verdict.LOOK_AGAIN
    assert files.look(PATH, stamp(2), 105.0) is Verdict.BELIEVE


def test_a_file_that_never_stands_still_is_given_up() -> None:
    """Waiting has a limit, from the first sight."""
    files = settling()
    verdicts = [files.look(PATH, stamp(second), float(second)) for second in range(61)]
    assert set(verdicts[:60]) == {Verdict.LOOK_AGAIN}
    assert verdicts[60] is Verdict.GIVE_UP


def test_only_so_many_files_are_waited_for() -> None:
    """Above the capacity a new file is given up, a known one is not, and forgetting makes room."""
    files = settling(capacity=1)
    assert files.look(PATH, stamp(1), 0.0) is Verdict.LOOK_AGAIN
    assert files.look("other", stamp(1), 0.0) is Verdict.GIVE_UP
    assert files.look(PATH, stamp(1), 1.0) is Verdict.LOOK_AGAIN
    files.forget(PATH)
    assert files.look("other", stamp(1), 2.0) is Verdict.LOOK_AGAIN


def test_a_forgotten_file_is_new() -> None:
    """What is decided leaves nothing behind that a later incomplete file would be judged by."""
    files = settling()
    files.look(PATH, stamp(1), 0.0)
    files.forget(PATH)
    files.forget(PATH)
    assert files.look(PATH, stamp(1), 50.0) is Verdict.LOOK_AGAIN


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 2)), min_size=1, max_size=20))
def test_waits_are_short_and_bounded(looks: list[tuple[int, int]]) -> None:
    """Every wait lies between a tenth of a second and ``settle_s``, and ends when the file has stood still."""
    files, now, still_since, last = settling(), 0.0, 0.0, 0
    for quarters, size in looks:
        now += quarters / 4
        if size != last:
            last, still_since = size, now
        if files.look(PATH, stamp(size), now) is not Verdict.LOOK_AGAIN:
            break
        wait_s = files.wait_s(PATH, now)
        assert 0.1 <= wait_s <= max(0.1, still_since + 2.0 - now)


def test_looks_back_off() -> None:
    """A file that keeps changing is looked at less and less often."""
    files = Settling(settle_s=30.0, limit_s=600.0, capacity=1)
    waits = []
    for size in range(6):
        files.look(PATH, stamp(size), 0.0)
        waits.append(files.wait_s(PATH, 0.0))
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
