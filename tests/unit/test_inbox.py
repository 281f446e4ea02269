"""The bounded set of waiting paths, and receipts."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tracewatchd.ingest.inbox import Entry, Inbox, Receipt
from tracewatchd.model.results import Outcome

LIMIT = 4
PATHS = st.sampled_from("abcdefgh")


def paths(entries: list[Entry]) -> list[str]:
    return [entry.path for entry in entries]


class InboxMachine(RuleBasedStateMachine):
    """Any order of offers and batches, beside a model that remembers who asked for what."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.inbox = self.runner.run(self._made())
        self.waiting: list[str] = []
        self.flying: dict[str, Entry] = {}
        self.again: set[str] = set()
        self.receipts: list[tuple[str, Receipt]] = []

    async def _made(self) -> Inbox:
        return Inbox(LIMIT)

    def teardown(self) -> None:
        left = self.runner.run(self._abandoned())
        assert left == len({*self.waiting, *self.flying, *self.again})
        for path, receipt in self.receipts:
            assert path in receipt.outcomes
        assert self.inbox.unfinished == 0
        self.runner.close()

    async def _abandoned(self) -> int:
        return self.inbox.abandon()

    def _expect(self, path: str) -> None:
        if path in self.flying:
            self.again.add(path)
        elif path not in self.waiting:
            self.waiting.append(path)

    @rule(path=PATHS)
    def hint(self, path: str) -> None:
        fits = len(self.waiting) < LIMIT or path in self.waiting or path in self.flying
        assert self.inbox.hint(path) is fits
        if fits:
            self._expect(path)

    @rule(path=PATHS)
    def put(self, path: str) -> None:
        if len(self.waiting) < LIMIT:
            receipt = Receipt([path])
            self.runner.run(self.inbox.put(Entry(path, receipts=[receipt])))
            self.receipts.append((path, receipt))
            self._expect(path)

    @precondition(lambda self: self.waiting)
    @rule(limit=st.integers(1, 6))
    def take(self, limit: int) -> None:
        taken = self.runner.run(self.inbox.take(limit, 0.0))
        assert paths(taken) == self.waiting[:limit]
        del self.waiting[:limit]
        assert not self.flying.keys() & {entry.path for entry in taken}
        self.flying.update((entry.path, entry) for entry in taken)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.flying)))
        entry = self.flying.pop(path)
        self.inbox.done([entry])
        entry.settle(Outcome.LOADED)
        if path in self.again:
            self.again.remove(path)
            self.waiting.append(path)

    @precondition(lambda self: self.flying)
    @rule()
    def back(self) -> None:
        entries = list(self.flying.values())
        self.inbox.back(entries)
        self.waiting = paths(entries) + self.waiting
        self.flying.clear()
        self.again.clear()

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.inbox) == len(self.waiting) == len(set(self.waiting))
        assert self.inbox.unfinished == len(self.waiting) + len(self.flying)


InboxMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestInbox(InboxMachine.TestCase):  # type: ignore[misc,valid-type]  # hypothesis makes this class at run time
    """At most once waiting, never twice in flight, in order, within the limit, and every receipt completes."""


async def test_a_receipt_completes_when_each_path_has_an_outcome() -> None:
    """Waiting ends with the last path; no paths at all are complete at once."""
    assert await Receipt([]).wait() == {}
    receipt = Receipt(["a", "b"])
    waiting = asyncio.create_task(receipt.wait())
    receipt.settle("a", Outcome.LOADED)
    await asyncio.sleep(0)
    assert not waiting.done()
    receipt.settle("b", Outcome.LOADED)
    assert await waiting == {"a": Outcome.LOADED, "b": Outcome.LOADED}
    assert receipt.counts() == Counter({Outcome.LOADED: 2})


async def test_offers_of_one_path_share_its_outcome() -> None:
    """Two offers of a waiting path are one entry: it is read anew if either asked, and both hear of it."""
    inbox, first, second = Inbox(4), Receipt(["a"]), Receipt(["a"])
    await inbox.put(Entry("a", receipts=[first]))
    await inbox.put(Entry("a", reread=True, receipts=[second]))
    (entry,) = await inbox.take(9, 0.0)
    assert entry.reread
    entry.settle(Outcome.UPDATED)
    assert await first.wait() == await second.wait() == {"a": Outcome.UPDATED}


async def test_put_waits_for_room() -> None:
    """A full inbox holds back sweeps and commands, while hints are dropped."""
    inbox = Inbox(1)
    assert inbox.hint("a")
    assert not inbox.hint("b")
    putting = asyncio.create_task(inbox.put(Entry("b")))
    await asyncio.sleep(0)
    assert not putting.done()
    assert paths(await inbox.take(1, 0.0)) == ["a"]
    await putting
    assert paths(await inbox.take(1, 0.0)) == ["b"]


async def test_a_short_linger_fills_the_batch() -> None:
    """What comes within the linger is in the same batch; a full batch does not linger."""
    inbox = Inbox(9)
    inbox.hint("a")
    taking = asyncio.create_task(inbox.take(3, 0.01))
    await asyncio.sleep(0)
    inbox.hint("b")
    assert paths(await taking) == ["a", "b"]
    for path in "cde":
        inbox.hint(path)
    async with asyncio.timeout(5):
        assert paths(await inbox.take(3, 3600.0)) == ["c", "d", "e"]


async def test_batches_are_gathered_one_after_another() -> None:
    """Two workers share what waits; nothing is given out twice."""
    inbox = Inbox(9)
    takers = [asyncio.create_task(inbox.take(2, 0.0)) for _ in range(2)]
    for path in "abc":
        inbox.hint(path)
    batches = [paths(await taker) for taker in takers]
    assert batches == [["a", "b"], ["c"]]


async def test_closing_gives_out_what_waits_and_takes_nothing_more() -> None:
    """After closing, offers are pending at once, who waited for room is told, and takers end with an empty list."""
    inbox, refused, late = Inbox(1), Receipt(["b"]), Receipt(["c"])
    inbox.hint("a")
    putting = asyncio.create_task(inbox.put(Entry("b", receipts=[refused])))
    await asyncio.sleep(0)
    inbox.close()
    await putting
    assert await refused.wait() == {"b": Outcome.PENDING}
    await inbox.put(Entry("c", receipts=[late]))
    assert await late.wait() == {"c": Outcome.PENDING}
    assert not inbox.hint("d")
    assert paths(await inbox.take(9, 3600.0)) == ["a"]
    assert await inbox.take(9, 3600.0) == []


async def test_what_was_offered_in_flight_before_closing_is_still_given_out() -> None:
    """An offer that was taken in before closing is dealt with, although its path was in flight then."""
    inbox, receipt = Inbox(4), Receipt(["a"])
    inbox.hint("a")
    flying = await inbox.take(9, 0.0)
    await inbox.put(Entry("a", receipts=[receipt]))
    inbox.close()
    inbox.done(flying)
    assert paths(await inbox.take(9, 0.0)) == ["a"]
    assert receipt.outcomes == {}


async def test_a_closed_inbox_takes_back_what_it_gave_out() -> None:
    """What could not be dealt with within one batch is in a later one, closed or not."""
    inbox = Inbox(4)
    inbox.hint("a")
    flying = await inbox.take(9, 0.0)
    inbox.close()
    inbox.back(flying)
    assert paths(await inbox.take(9, 0.0)) == ["a"]


async def test_again_ignores_the_limit() -> None:
    """What was on the line before comes back although the inbox is full."""
    inbox = Inbox(1)
    inbox.hint("a")
    inbox.again(Entry("b"))
    assert len(inbox) == 2


async def test_abandoning_settles_everyone() -> None:
    """Waiting, in flight, offered in flight and waiting for room: all are told pending; takers end."""
    inbox = Inbox(1)
    receipts = [Receipt([path]) for path in "aabc"]
    await inbox.put(Entry("a", receipts=[receipts[0]]))
    await inbox.take(9, 0.0)
    await inbox.put(Entry("a", receipts=[receipts[1]]))
    await inbox.put(Entry("b", receipts=[receipts[2]]))
    putting = asyncio.create_task(inbox.put(Entry("c", receipts=[receipts[3]])))
    await asyncio.sleep(0)
    assert inbox.abandon() == 2
    await putting
    for receipt in receipts:
        assert set((await receipt.wait()).values()) == {Outcome.PENDING}
    assert await inbox.take(9, 0.0) == []
