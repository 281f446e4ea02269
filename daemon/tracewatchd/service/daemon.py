"""What only the long-running process is made of; commands need not import it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from uuid import uuid4

from tracewatchd import __version__
from tracewatchd.ingest.line import Line
from tracewatchd.model.events import Tell
from tracewatchd.model.findings import Depth, VerificationResult
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.service.assemble import Assembly, Place, clock_setting, longest_wait_s
from tracewatchd.service.hints import HintSetting, RootListener
from tracewatchd.service.http.assemble import HttpAssembly, HttpSurroundings
from tracewatchd.service.leases import Duty
from tracewatchd.service.process import Companion, Daemon, DaemonSetting, Watched
from tracewatchd.service.reload import Reload
from tracewatchd.service.schedule import Rhythm, SweepSchedule
from tracewatchd.service.systemd import Notifier
from tracewatchd.service.telling import tell_all
from tracewatchd.service.vitals import Vitals
from tracewatchd.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a daemon has around it.

    ``notifier`` speaks with a supervisor, ``read`` reads the configuration again, ``on_reload`` is told what counts
    then. Where ``read`` is None, nothing is reloaded, and SIGHUP is a stop.
    """

    notifier: Notifier
    read: Callable[[], Settings] | None = None
    on_reload: Callable[[Settings], None] = lambda _: None


class DaemonAssembly(Assembly):
    """Everything that is made from the settings of a daemon. ``patience_s`` bounds retries; None is for ever."""

    def __init__(
        self,
        settings: Settings,
        tell: Tell,
        *,
        create: bool,
        patience_s: float | None = None,
        outside: Outside | None = None,
    ) -> None:
        vitals = Vitals(now=lambda: datetime.now(UTC), clock=time.monotonic)
        self._http = _http(settings, vitals)
        listeners: list[Tell] = [tell, vitals, *([self._http.metrics] if self._http else [])]
        super().__init__(settings, tell_all(listeners), create=create, patience_s=patience_s)
        vitals.follow(lambda: self.pulse.lines)
        self._outside = outside or Outside(notifier=Notifier({}))
        self._schedules: list[SweepSchedule] = []

    def daemon(self) -> Daemon:
        """The long-running process."""
        reload = Reload(self.settings, self._outside.read, self._take_over, self.tell) if self._outside.read else None
        duty = Duty(
            [place.source for place in self.places],
            self.database,
            holder=self.holder,
            ttl_s=self.settings.database.lease_ttl_s,
            tell=self.tell,
        )
        return Daemon(
            DaemonSetting(
                version=__version__,
                pid=os.getpid(),
                roots=tuple(str(place.folder.root) for place in self.places),
                database=self.where,
                shutdown_s=lambda: self.settings.service.shutdown_s,
                prepare=self._prepare,
                close=self.close,
                store_answers=lambda: self.database.is_reachable,
                make_watched=self._all_watched,
                duty=duty,
                clock=self.clock,
                pulse=self.pulse,
                tell=self.tell,
                companions=[self._beat, *([reload.run] if reload else []), *self._servers()],
                on_hangup=reload.ask if reload else None,
            )
        )

    def _servers(self) -> list[Companion]:
        if self._http is None:
            return []
        around = HttpSurroundings(
            store=self.database,
            is_reachable=lambda: self.database.is_reachable,
            retained=self.clock.retained,
            database=self.where,
            stuck=self.pulse.stuck,
            tell=self.tell,
        )
        return [self._http.server(around).run]

    async def _beat(self) -> None:
        notifier = self._outside.notifier
        await self.pulse.watch(notifier.interval_s, notifier.beat, self.tell)

    def _take_over(self, settings: Settings) -> None:
        """Let these settings count from now on; whatever takes its settings when it is made keeps those it has."""
        self.settings = settings
        self.pulse.limit_s = longest_wait_s(settings)
        self.clock.take_over(clock_setting(settings))
        for schedule in self._schedules:
            schedule.take_over(self._rhythms())
        self._outside.on_reload(settings)

    async def _prepare(self) -> None:
        await self.open(migrate=True)
        await self.claim(self.places)

    def _all_watched(self) -> list[Watched]:
        watched = [self._watched(place) for place in self.places]
        self._schedules = [each.schedule for each in watched]
        return watched

    def _watched(self, place: Place) -> Watched:
        line = self.line(place)
        schedule = SweepSchedule(
            place.source,
            partial(self._sweep_by_schedule, place, line),
            self._rhythms(),
            has_backlog=lambda: line.backlog > 0,
            random=Random(),  # noqa: S311 - jitter, no secret
            tell=self.tell,
        )
        listener = RootListener(
            HintSetting(
                folder=place.folder,
                line=line,
                file_system=place.file_system,
                poll_interval_s=self.settings.watch.poll_interval_s,
                want_sweep=schedule.want,
                offload=self.offload,
                tell=self.tell,
            )
        )
        return Watched(line, listener, schedule)

    def _rhythms(self) -> list[Rhythm]:
        sweep, fixes = self.settings.sweep, frozenset(self.settings.sweep.repairs)
        rolling: Sequence[tuple[Depth, float, float]] = (
            ("full", sweep.full_interval_s, sweep.full_budget_s),
            ("deep", sweep.deep_interval_s, sweep.deep_budget_s),
        )
        return [
            Rhythm(plan=SweepPlan(fixes=fixes), interval_s=self.settings.watch.sweep_interval_s),
            *(
                Rhythm(
                    plan=SweepPlan(
                        depth=depth,
                        fixes=fixes,
                        budget_s=budget_s,
                        budget_bytes=sweep.budget_bytes,
                        oldest_first=True,
                    ),
                    interval_s=interval_s,
                )
                for depth, interval_s, budget_s in rolling
                if interval_s
            ),
        ]

    async def _sweep_by_schedule(self, place: Place, line: Line, plan: SweepPlan) -> VerificationResult:
        repair_id = uuid4()
        async with self.journaled_line(place, repair_id) as fixing:
            repairs = self.repairs(place, fixing, repair_id=repair_id, fixes=plan.fixes)
            return await self.sweep(place, line, plan, repairs=repairs)

    def _on_replaced(self) -> None:
        for schedule in self._schedules:
            schedule.want("another database")


def _http(settings: Settings, vitals: Vitals) -> HttpAssembly | None:
    return HttpAssembly(settings, vitals) if settings.http.enabled else None
