"""The one table of alerts: what each means, when it fires by logs and by metrics, and what to do then.

`make docs` makes of it the rules for Loki and Prometheus, `journal-alerts`, and docs/runbook.md. Thresholds are for the
defaults of config.example.toml: who sweeps less often lets the dead man wait longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["warning", "critical"]

MINUTE_S = 60
HOUR_S = 3_600
OUTAGE_S = 5 * MINUTE_S
LAG_S = 2 * MINUTE_S
SWEEP_S = HOUR_S
TOLD_DAILY_S = 25 * HOUR_S
"""What is told once a day: a day, and an hour for a look that came late."""


@dataclass(frozen=True, slots=True)
class Where:
    """What a field of a line must be."""

    field: str
    compare: Literal["==", ">=", "<="]
    value: str | int


@dataclass(frozen=True, slots=True)
class Lines:
    """The log lines of one event that fulfil all of these."""

    event: str
    where: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Fires while the last ``window_s`` seconds hold so many of these lines; ``by`` counts each value apart."""

    lines: tuple[Lines, ...]
    window_s: int
    at_least: int = 1
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """Fires while the last ``window_s`` seconds hold none of these lines, whoever should have written them."""

    lines: tuple[Lines, ...]
    window_s: int


LogCondition: TypeAlias = Told | Silent


@dataclass(frozen=True, slots=True)
class Metric:
    """Fires when the expression (PromQL) has had a result for ``for_s`` seconds."""

    expression: str
    for_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. ``means``, ``look`` and ``act`` are its entry in the runbook; ``summary`` is what a pager shows.

    ``metric`` is None where only a log can tell: the process that would be asked is gone.
    """

    name: str
    summary: str
    severity: Severity
    log: LogCondition
    metric: Metric | None
    means: str
    look: tuple[str, ...]
    act: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """The heading of its runbook entry, as a link names it."""
        return self.name.lower()


def lines_of(condition: LogCondition) -> Iterator[Lines]:
    """Every kind of line that a condition looks at."""
    yield from condition.lines


ALERTS = (
    Alert(
        name="TracewatchdStoreUnavailable",
        summary="Postgres has not answered for 5 minutes; files wait on disk",
        severity="critical",
        log=Told(lines=(Lines("store.awaited", (Where("outage_s", ">=", OUTAGE_S),)),), window_s=90),
        metric=Metric("tracewatchd_database_up == 0", OUTAGE_S),
        means="The database does not answer, so nothing is loaded. Nothing is lost either: files wait where they lie, "
        "and everything is caught up when it is back. The time that is left is what LangSmith and the disk give.",
        look=(
            "The field `error` of `store.awaited` says what a connection failed with, `outage_s` since when.",
            "`tracewatchd db status` asks the database as the daemon does.",
            "The server's own log, its disk space, and `max_connections`.",
        ),
        act=(
            "Bring Postgres back. Do not restart the daemon: it connects by itself, and `store.recovered` says so.",
            "Where the address or the password has changed, set `database.url` and restart.",
        ),
    ),
    Alert(
        name="TracewatchdLag",
        summary="Files wait longer than 2 minutes to become rows",
        severity="warning",
        log=Told(
            lines=(Lines("batch.committed", (Where("waited_s", ">=", LAG_S),)),), window_s=10 * MINUTE_S, by=("source",)
        ),
        metric=Metric(
            f"tracewatchd_oldest_pending_seconds > {LAG_S} and on (instance, job) tracewatchd_database_up == 1",
            LAG_S,
        ),
        means="The line takes files in more slowly than they come, or it has just caught up after an outage: then this "
        "ends by itself within ten minutes.",
        look=(
            "`tracewatchd status --watch` shows whether the backlog falls.",
            "In `batch.committed` compare `read_s` with `commit_s`: the larger names the slow side, disk or Postgres.",
            "`batch.halved` and `batch.retried`: a batch that is refused again and again costs the time of many.",
        ),
        act=(
            (
                "Slow commits: look for locks, a full disk or a vacuum on the server; more `ingest.writers` help only "
                "where the server has cores to spare."
            ),
            "Slow reads: look at the disk or the network file system below the root.",
        ),
    ),
    Alert(
        name="TracewatchdQuarantineGrows",
        summary="Run files that cannot be stored were set aside within the last hour",
        severity="warning",
        log=Told(lines=(Lines("file.quarantined"),), window_s=HOUR_S, by=("source",)),
        metric=Metric('increase(tracewatchd_files_total{outcome="quarantined"}[1h]) > 0'),
        means="A file holds what Postgres cannot hold, or is no run at all. It stays where it is, everything else is "
        "loaded, and it is offered again as soon as it changes.",
        look=(
            "`tracewatchd quarantine list` names each file with its reason.",
            "`tracewatchd quarantine show` says more of one, with the place in the file.",
        ),
        act=(
            "Export the run again, or repair the file: the next look takes it up.",
            "`too_large`: raise `ingest.max_file_bytes`, restart, then `tracewatchd quarantine retry`.",
            "Many at once: the exporter has changed its form; stop it before the day is over.",
        ),
    ),
    Alert(
        name="TracewatchdInconsistent",
        summary="A sweep found that files and database do not hold the same thing",
        severity="critical",
        log=Told(
            lines=(Lines("sweep.finished", (Where("verdict", "==", "inconsistent"),)),),
            window_s=HOUR_S,
            by=("source",),
        ),
        metric=Metric('tracewatchd_findings{severity=~"error|critical"} > 0'),
        means="At least one finding of severity error or critical stands after repair: a second look said the same. "
        "Each finding is told once, as `finding.confirmed` with its path; every sweep counts them again.",
        look=(
            "`kind` of `finding.confirmed`: [sweeps.md](sweeps.md#what-is-found) has a row for each kind.",
            "`tracewatchd reconcile --once --depth full --no-repair --report sweep.html` shows all of them.",
        ),
        act=(
            "Find out first who removed rows or changed files: what is repaired is damaged again otherwise.",
            (
                "Repair by what the finding's kind says (`--fix`); each fix can be undone with "
                "`tracewatchd archive fixes rollback`."
            ),
        ),
    ),
    Alert(
        name="TracewatchdNotChecked",
        summary="Sweeps could not check what they were asked to",
        severity="warning",
        log=Told(
            lines=(
                Lines("sweep.finished", (Where("verdict", "==", "not_checked"),)),
                Lines("sweep.failed"),
            ),
            window_s=30 * MINUTE_S,
            at_least=2,
            by=("source",),
        ),
        metric=Metric('sum by (source) (increase(tracewatchd_sweeps_total{result=~"not_checked|failed"}[30m])) > 1'),
        means="A root is not mounted or was emptied, something cannot be read, or another sweep held the lease. This "
        "is not *consistent*: nobody knows. What could not be checked does not count as gone.",
        look=(
            "`reasons` of the last `sweep.incomplete`, `error` of `sweep.failed`, and `root.missing`.",
            "`tracewatchd doctor` looks at mounts and permissions.",
        ),
        act=(
            "Mount the root, or give the daemon's user permission to read it.",
            "Where files are gone indeed, and on purpose: `tracewatchd reconcile --once --accept-gone FOLDER`.",
        ),
    ),
    Alert(
        name="TracewatchdNoSweep",
        summary="No sweep has gone over everything within the last hour",
        severity="critical",
        log=Silent(
            lines=tuple(
                Lines("sweep.finished", (Where("depth", "==", "quick"), Where("verdict", "==", verdict)))
                for verdict in ("consistent", "inconsistent")
            ),
            window_s=SWEEP_S,
        ),
        metric=Metric(
            'time() - max by (source) (tracewatchd_last_sweep_timestamp_seconds{depth="quick"}) > '
            f"{SWEEP_S} or absent_over_time(tracewatchd_last_sweep_timestamp_seconds[1h])",
            5 * MINUTE_S,
        ),
        means="The dead man: silence is the alarm. The daemon does not run, cannot sweep, or its log or metrics no "
        "longer arrive here. Files that came since may not be rows.",
        look=(
            "`systemctl status tracewatchd`, or the state of the container: does it run, what did it say last?",
            "`tracewatchd health`, then `tracewatchd status`: since when is which sweep overdue?",
            "Does the log arrive? `batch.committed` without any `sweep.finished` says that sweeps fail.",
        ),
        act=(
            "Start the daemon; the first sweep finds everything that came meanwhile.",
            (
                "Where `watch.sweep_interval_s` is longer than half an hour, give this alert more time: `SWEEP_S` in "
                "alerts/alert_table.py, then `make docs`."
            ),
        ),
    ),
    Alert(
        name="TracewatchdHintsLost",
        summary="The kernel's watch events were lost more than 5 times within an hour",
        severity="warning",
        log=Told(lines=(Lines("hints.suspected_lost"),), window_s=HOUR_S, at_least=6, by=("source",)),
        metric=Metric("increase(tracewatchd_hints_suspected_lost_total[1h]) > 5"),
        means="More files come at once than the kernel's queue holds, or the inbox is full. Each time a sweep follows "
        "at once, so files are late, not lost.",
        look=(
            "`cause` of `hints.suspected_lost`.",
            "`tracewatchd doctor` compares the kernel's limits with what the roots need.",
        ),
        act=(
            "Raise `fs.inotify.max_queued_events` (16384 is the kernel's default; 262144 is no burden) and restart.",
            "Inbox full: raise `ingest.inbox_paths`.",
        ),
    ),
    Alert(
        name="TracewatchdStuck",
        summary="The work stands still; the watchdog is about to restart the daemon",
        severity="critical",
        log=Told(lines=(Lines("daemon.stuck"),), window_s=HOUR_S),
        metric=Metric("max_over_time(tracewatchd_stuck[10m]) > 0"),
        means="Something hangs that no limit ended: a read from a dead network mount, most often. Under systemd the "
        "daemon gets no more pings through and is restarted; what was in flight is loaded again after it.",
        look=(
            "`where` of `daemon.stuck` says what stands still and since when.",
            "Processes in state D (`ps -eo pid,stat,wchan,cmd`), and `dmesg` about the disk or mount.",
        ),
        act=(
            "Once: nothing, the restart was the remedy; make sure that `daemon.ready` follows.",
            "Again: repair or unmount the file system below the root; keep the log for a report.",
        ),
    ),
    Alert(
        name="TracewatchdRestarts",
        summary="The daemon was started again and again within an hour",
        severity="warning",
        log=Told(lines=(Lines("daemon.started"),), window_s=HOUR_S, at_least=3),
        metric=Metric("changes(process_start_time_seconds[1h]) > 1 and on (instance, job) tracewatchd_build_info"),
        means="The watchdog, the kernel's OOM killer or an error ends the daemon again and again. Nothing is lost by "
        "it, but what makes no progress between two starts is late.",
        look=(
            (
                "What stands before each `daemon.started`: `daemon.stopped` with its `cause`, `daemon.stuck`, or "
                "nothing at all, which is a kill from outside."
            ),
            "`systemctl status tracewatchd` and `dmesg` for the OOM killer.",
        ),
        act=(
            "An error: do what its `hint` says.",
            "Killed for memory: lower `ingest.bytes_in_flight`, or raise the limit of the unit or container.",
        ),
    ),
    Alert(
        name="TracewatchdFailed",
        summary="The daemon gave up: its surroundings are wrong",
        severity="critical",
        log=Told(lines=(Lines("daemon.stopped", (Where("exit_code", ">=", 1),)),), window_s=HOUR_S),
        metric=None,
        means="Something that waiting does not heal, such as a missing privilege or a source of another host. (A wrong "
        "configuration is said in plain words before there is a log; then only TracewatchdNoSweep speaks.)",
        look=("`cause` and `hint` of `daemon.stopped`.", "`tracewatchd config check` and `tracewatchd doctor`."),
        act=("Do what `hint` says, then `systemctl restart tracewatchd`.",),
    ),
    Alert(
        name="TracewatchdStoreReplaced",
        summary="The daemon is connected to another database than before",
        severity="critical",
        log=Told(lines=(Lines("store.replaced"),), window_s=6 * HOUR_S),
        metric=Metric("increase(tracewatchd_database_replaced_total[6h]) > 0"),
        means="The identity in the database is not the one that was seen before: a restored backup, a failover to an "
        "old copy, or a wrong address. Everything that has a file is loaded again into it.",
        look=(
            "`before` and `now` of `store.replaced`.",
            "Where does `database.url` lead (DNS, pgbouncer, a load balancer)?",
            "`tracewatchd archive status`: which days have no files any more, so that only the old database had them?",
        ),
        act=(
            "On purpose: nothing; wait for a `sweep.finished` that is consistent.",
            "By mistake: stop the daemon, lead it back, start it. Rows in the wrong database do no harm.",
            "Days without files: `tracewatchd archive restore`, which brings them back from their zips.",
        ),
    ),
    Alert(
        name="TracewatchdDayDue",
        summary="LangSmith will soon delete a day that is not proved to be kept here",
        severity="warning",
        log=Told(lines=(Lines("day.due"),), window_s=TOLD_DAILY_S, by=("source", "project")),
        metric=Metric("tracewatchd_day_due_days >= 0"),
        means="No full or deep sweep, made after the day had ended, has said that the day is consistent, and "
        "`retention.warn_days` are left at most.",
        look=(
            "`project`, `day`, `days_left` and `why` of `day.due`.",
            "`tracewatchd archive status` shows every place.",
        ),
        act=(
            "Nothing was loaded: `tracewatchd archive fetch --project NAME --date DAY`.",
            "Never verified: `tracewatchd reconcile --once --depth full --project NAME --date DAY`.",
        ),
    ),
    Alert(
        name="TracewatchdDayLost",
        summary="LangSmith deletes a day today or tomorrow that is not proved to be kept here",
        severity="critical",
        log=Told(
            lines=(Lines("day.due", (Where("days_left", "<=", 1),)),),
            window_s=TOLD_DAILY_S,
            by=("source", "project"),
        ),
        metric=Metric("tracewatchd_day_due_days <= 1"),
        means="As TracewatchdDayDue, but this is the last chance: after it nobody can fetch the day again.",
        look=("`why` of `day.due`: is the day missing here, or only not verified?",),
        act=(
            "`tracewatchd archive full-sweep --project NAME --date DAY` fetches, loads, zips and uploads it now.",
            "Then `tracewatchd reconcile --once --depth full --project NAME --date DAY` proves it.",
        ),
    ),
    Alert(
        name="TracewatchdUncertified",
        summary="The certificate of a day is missing or outdated",
        severity="warning",
        log=Told(
            lines=(Lines("day.uncertified"), Lines("certificate.due")), window_s=TOLD_DAILY_S, by=("source", "project")
        ),
        metric=Metric("tracewatchd_certificate_due_days >= 0"),
        means="The places of a day were compared and did not agree (`day.uncertified`), or a day that LangSmith will "
        "soon delete has no certificate, or something of it changed after its certificate (`certificate.due`; told "
        "only where days are certified at all).",
        look=(
            "`verdict` and `places` of `day.uncertified`, `why` of `certificate.due`.",
            "`tracewatchd archive status` shows which days are certified.",
        ),
        act=(
            (
                "`tracewatchd archive verify --project NAME --date DAY --against langsmith,files,zip,drive,db` names "
                "what differs, and certifies the day where nothing does."
            ),
            "An outdated zip: `tracewatchd archive full-sweep --project NAME --date DAY`, then compare again.",
        ),
    ),
)
