"""What monitors count: events become counters, and what the daemon knows of itself is measured when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tracewatchd.model.daemon_status import DatabaseAnswers
from tracewatchd.model.events import (
    BatchCommitted,
    DayUncertified,
    Event,
    HintsSuspectedLost,
    StoreReplaced,
    SweepFailed,
    SweepFinished,
)
from tracewatchd.model.findings import Depth, Verdict
from tracewatchd.model.results import Outcome
from tracewatchd.service.vitals import SourceVitals, Vitals, severity_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "tracewatchd"
_FAILED = "failed"
_WRITTEN = (Outcome.LOADED, Outcome.UPDATED)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """A listener that counts, and the exposition of everything that is counted and measured.

    Args:
        version: of the program.
        sources: what is watched; their counters stand at 0 from the start, so that a first event is an increase.
        vitals: what the daemon knows of itself.
        answers: what the database said last; not asked here.
        stuck: where the work stands still, None while it goes on.
    """

    def __init__(
        self,
        *,
        version: str,
        sources: Sequence[str],
        vitals: Vitals,
        answers: Callable[[], DatabaseAnswers],
        stuck: Callable[[], str | None],
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # else a series more for each, which nothing reads
        self._registry = CollectorRegistry()
        self._files = self._counter("files", "Files that left the line, by outcome", "source", "outcome")
        self._rows = self._counter("rows", "Rows inserted or replaced", "source")
        self._bytes = self._counter("bytes", "Bytes read", "source")
        self._hints = self._counter("hints_suspected_lost", "Times that watch events may have been lost", "source")
        self._sweeps = self._counter("sweeps", "Sweeps by verdict, or failed", "source", "depth", "result")
        self._replaced = self._counter("database_replaced", "Times that another database was found")
        self._uncertified = self._counter("uncertified_days", "Comparisons of project-days that gave no certificate")
        self._batch_rows = self._histogram("batch_rows", "Files of one committed batch", _ROWS)
        self._commit = self._histogram("commit_seconds", "Time of one batch's commit, retries included", _SECONDS)
        build = Gauge(f"{_PREFIX}_build_info", "The program", ["version"], registry=self._registry)
        build.labels(version).set(1)
        ProcessCollector(registry=self._registry)
        self._registry.register(_Measured(sources, vitals, answers, stuck))
        self._begin_at_zero(sources)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", about, buckets=buckets, registry=self._registry)

    def _begin_at_zero(self, sources: Sequence[str]) -> None:
        for source in sources:
            for counter in (self._rows, self._bytes, self._hints):
                counter.labels(source)
            for outcome in Outcome:
                self._files.labels(source, outcome)
            for depth in get_args(Depth):
                for result in (*get_args(Verdict), _FAILED):
                    self._sweeps.labels(source, depth, result)

    def __call__(self, event: Event) -> None:
        """Count one event."""
        match event:
            case BatchCommitted():
                self._committed(event)
            case SweepFinished(source=source, depth=depth, verdict=verdict):
                self._sweeps.labels(source, depth, verdict).inc()
            case SweepFailed(source=source, depth=depth):
                self._sweeps.labels(source, depth, _FAILED).inc()
            case HintsSuspectedLost(source=source):
                self._hints.labels(source).inc()
            case StoreReplaced():
                self._replaced.inc()
            case DayUncertified():
                self._uncertified.inc()
            case _:
                pass

    def _committed(self, event: BatchCommitted) -> None:
        for outcome, files in event.outcomes.items():
            self._files.labels(event.source, outcome).inc(files)
        self._rows.labels(event.source).inc(sum(event.outcomes.get(outcome, 0) for outcome in _WRITTEN))
        self._bytes.labels(event.source).inc(event.size_bytes)
        self._batch_rows.observe(event.files)
        self._commit.observe(event.commit_s)

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Measured(Collector):
    """What is not counted but looked up at each scrape."""

    def __init__(
        self,
        sources: Sequence[str],
        vitals: Vitals,
        answers: Callable[[], DatabaseAnswers],
        stuck: Callable[[], str | None],
    ) -> None:
        self._sources = sources
        self._vitals = vitals
        self._answers = answers
        self._stuck = stuck

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on what is known by then."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every measurement as of now."""
        yield from self._of_the_process()
        yield from self._of_load()
        yield from self._of_sweeps()
        yield from self._of_quarantine()
        yield from self._of_days()

    def _of_the_process(self) -> Iterator[Metric]:
        vitals = self._vitals
        yield _single("database_up", "Whether no outage of the database is known", float(vitals.database_up))
        outage = CounterMetricFamily(f"{_PREFIX}_database_outage_seconds", "How long the database was away, in all")
        outage.add_metric([], vitals.outages_s)
        yield outage
        yield _single("stuck", "Whether work stands still that should move", float(bool(self._stuck())))
        yield _single("ready", "Whether the watches stand, or another daemon is stood by for", float(vitals.is_ready))

    def _of_load(self) -> Iterator[Metric]:
        backlog, oldest = self._vitals.backlog(), self._vitals.oldest_s()
        waiting = _gauge("backlog_files", "Files that wait, or are under way", "source")
        age = _gauge("oldest_pending_seconds", "Age of the file that has waited longest; 0 where none waits", "source")
        missing = _gauge("root_missing", "Whether a root is not there", "source")
        for source in self._sources:
            waiting.add_metric([source], backlog.get(source, 0))
            age.add_metric([source], oldest.get(source, 0.0))
            missing.add_metric([source], float(self._of(source).missing_since is not None))
        yield from (waiting, age, missing)

    def _of(self, source: str) -> SourceVitals:
        return self._vitals.sources.get(source, SourceVitals())

    def _of_sweeps(self) -> Iterator[Metric]:
        last = _gauge("last_sweep_timestamp_seconds", "When a sweep was last finished and whole", "source", "depth")
        findings = _gauge("findings", "Findings of the last sweeps", "source", "kind", "severity")
        files = _gauge("ledger_files", "Run files by state, as the last quick sweep counted them", "source", "state")
        for source in self._sources:
            known = self._of(source)
            for depth, at in known.whole_at.items():
                last.add_metric([source, depth], at.timestamp())
            for kind, count in known.findings().items():
                findings.add_metric([source, kind, severity_of(kind)], count)
            for state, count in known.states().items():
                files.add_metric([source, state], count)
        yield from (last, findings, files)

    def _of_quarantine(self) -> Iterator[Metric]:
        answers = self._answers()
        files = _gauge("quarantine_files", "Files in quarantine", "source")
        for source in self._sources:
            told = answers.quarantined_files.get(source, 0) if answers.asked_at else self._of(source).quarantined
            files.add_metric([source], told)
        yield files

    def _of_days(self) -> Iterator[Metric]:
        answers = self._answers()
        since = _gauge(
            "last_verified_timestamp_seconds",
            "Since when every day that was ever verified at this depth has been",
            "source",
            "depth",
        )
        never = _gauge("unverified_days", "Project-days that were never verified at this depth", "source", "depth")
        due = _gauge(
            "day_due_days", "Days until LangSmith deletes a day that is not verified", "source", "project", "date"
        )
        for source, depths in answers.verified_since.items():
            for depth, at in depths.items():
                since.add_metric([source, depth], at.timestamp())
        for source, counts in answers.unverified_days.items():
            for depth, days in counts.items():
                never.add_metric([source, depth], days)
        uncertified = _gauge(
            "certificate_due_days",
            "Days until LangSmith deletes a day whose certificate is missing or outdated",
            "source",
            "project",
            "date",
        )
        for gauge, told in ((due, self._vitals.due()), (uncertified, self._vitals.certificates_due())):
            for key, days_left in told.items():
                gauge.add_metric(key, days_left)
        yield from (since, never, due, uncertified)


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", about, labels=labels)


def _single(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", about, value=value)
