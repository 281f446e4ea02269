"""The catalogue of events: everything that tracewatchd says about itself while it runs.

An event is told, never printed: log lines, metrics and progress are listeners. Its name is ``noun.past_verb`` or
``noun.state``; fields carry their unit in their name. The documentation page and the alert rules are made from and
tested against this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, TypeAlias

import msgspec

CATALOGUE_VERSION = 1
"""Written as ``v`` into every line; raised when an event changes its meaning or loses a field."""

Level = Literal["debug", "info", "warning", "error", "critical"]


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that happened. The docstring of each kind says what it means and what to do, if anything."""

    event: ClassVar[str]
    level: ClassVar[Level] = "info"


Tell: TypeAlias = Callable[[Event], None]
"""How any room says that something happened; must return at once and never raise."""


class DaemonStarted(Event):
    """The process is up and has read its configuration."""

    event = "daemon.started"
    version: str
    pid: int
    roots: tuple[str, ...]


class DaemonStandby(Event):
    """Another daemon holds the lease of one of our sources; we take over when it ends."""

    event = "daemon.standby"
    source: str
    holder: str


class DaemonReady(Event):
    """Watches stand and the first sweep is scheduled: a run file written from now on becomes a row."""

    event = "daemon.ready"
    roots: tuple[str, ...]
    database: str


class DaemonStopping(Event):
    """A stop was asked for: one last quick sweep, then what is in flight is committed within ``shutdown_s``."""

    event = "daemon.stopping"
    cause: str
    shutdown_s: float


class DaemonStopped(Event):
    """The process ends now. ``left_files`` were seen but not committed; they wait on disk for the next start."""

    event = "daemon.stopped"
    exit_code: int
    left_files: int
    uptime_s: float
    cause: str
    hint: str = ""


class DaemonReloading(Event):
    """The configuration is read again, as was asked for; ``config.reloaded`` or ``config.rejected`` follows."""

    event = "daemon.reloading"
    cause: str


class ConfigReloaded(Event):
    """The configuration was read again. Names of settings: what counts from now on, and what only a restart changes."""

    event = "config.reloaded"
    taken_over: tuple[str, ...]
    needs_restart: tuple[str, ...]


class ConfigRejected(Event):
    """The configuration that was read again cannot be used; the old one stays. Mend ``faults``, then reload."""

    event = "config.rejected"
    level = "error"
    faults: tuple[str, ...]
    hint: str = ""


class DaemonStuck(Event):
    """A stage of the work has shown no sign of life for longer than any wait may take; a watchdog restarts the daemon.

    Nothing is lost by it: what was not committed lies on disk. Without a watchdog, restart the daemon.
    """

    event = "daemon.stuck"
    level = "critical"
    where: str


class DaemonUnstuck(Event):
    """What stood still moves again."""

    event = "daemon.unstuck"
    after_s: float


class LeaseAcquired(Event):
    """This process is now the one daemon of the source."""

    event = "lease.acquired"
    source: str
    holder: str


class LeaseLost(Event):
    """Another process became the daemon of the source while we could not renew; we stand by again."""

    event = "lease.lost"
    level = "warning"
    source: str
    holder: str


class BatchCommitted(Event):
    """One transaction committed: the canonical line of the line. Counts are in files.

    ``waited_s`` is how long the file that was offered first had waited until then.
    """

    event = "batch.committed"
    source: str
    files: int
    outcomes: Mapping[str, int]
    size_bytes: int
    read_s: float
    commit_s: float
    waited_s: float
    waiting_files: int


class BatchHalved(Event):
    """A batch was refused because of its content; its halves are tried to find the one record that is to blame."""

    event = "batch.halved"
    level = "warning"
    source: str
    files: int
    error: str
    sqlstate: str | None = None


class BatchRetried(Event):
    """A batch failed for a reason that heals and is tried again after ``wait_s``."""

    event = "batch.retried"
    level = "warning"
    source: str
    files: int
    error: str
    wait_s: float
    sqlstate: str | None = None


class FileQuarantined(Event):
    """A run file cannot be stored and was set aside in the ledger; the file itself stays where it is.

    ``quarantine show`` tells more; it is offered again when the file, our rules or the setting changes.
    """

    event = "file.quarantined"
    level = "error"
    source: str
    path: str
    reason: str
    detail: str
    size_bytes: int
    sqlstate: str | None = None


class FileUnreadable(Event):
    """A run file or directory cannot be read right now; every sweep tries again. Told when it begins, not each time."""

    event = "file.unreadable"
    level = "error"
    source: str
    path: str
    error: str


class FileReadable(Event):
    """What could not be read before can be read again."""

    event = "file.readable"
    source: str
    path: str


class FileSanitized(Event):
    """A run was stored with replacements because jsonb cannot hold what its file holds; ``places`` counts them."""

    event = "file.sanitized"
    source: str
    path: str
    run_id: str
    places: int


class FileFromFuture(Event):
    """A file says that it was extracted more than a day ahead of our clock; it wins over honest files until then."""

    event = "file.from_future"
    level = "warning"
    source: str
    path: str
    extracted_at: str


class HintsSuspectedLost(Event):
    """Watch events may have been lost; a sweep follows at once and finds every file that they were about."""

    event = "hints.suspected_lost"
    level = "warning"
    source: str
    cause: str


class WatchStarted(Event):
    """A root is being watched. ``mode`` is ``events``, or ``polling`` where the file system sends none."""

    event = "watch.started"
    source: str
    root: str
    mode: str
    file_system: str
    poll_s: float | None = None


class WatchRestarted(Event):
    """The watcher of a root ended and was started again; a sweep covers the time between."""

    event = "watch.restarted"
    level = "warning"
    source: str
    cause: str
    hint: str = ""


class RootMissing(Event):
    """A root is not there (not mounted, renamed?). It is looked for until it is back; nothing in it is gone."""

    event = "root.missing"
    level = "error"
    source: str
    root: str
    error: str


class RootReturned(Event):
    """A root that was missing is there; it is watched and swept."""

    event = "root.returned"
    source: str
    root: str
    missing_s: float


class RootReplaced(Event):
    """A root has another device or inode than before (mounted anew?); it is watched and swept from the start."""

    event = "root.replaced"
    level = "warning"
    source: str
    root: str


class SweepFinished(Event):
    """The canonical line of a sweep. States count run files and add up to ``files``; ``ignored`` is everything else.

    ``findings`` tells the state after repair, ``fixed`` what was put right, ``days`` how many project-days were looked
    at: a full or deep sweep of the schedule takes those that were verified the longest time ago.
    """

    event = "sweep.finished"
    source: str
    depth: str
    cause: str
    verdict: str
    files: int
    states: Mapping[str, int]
    findings: Mapping[str, int]
    fixed: Mapping[str, int]
    ignored: int
    days: int
    directories: int
    took_s: float


class SweepIncomplete(Event):
    """Something could not be checked: a root that is not mounted or was emptied, what cannot be read, ...

    Nothing of it counts as gone. Told once for as long as it is so; `reconcile --once --accept-gone` settles what is
    gone indeed.
    """

    event = "sweep.incomplete"
    level = "error"
    source: str
    depth: str
    reasons: tuple[str, ...]


class SweepFailed(Event):
    """A sweep ended before it was done; it is tried again."""

    event = "sweep.failed"
    level = "error"
    source: str
    depth: str
    error: str


class FindingConfirmed(Event):
    """Files and database disagree, and a second look said so again.

    ``held`` says that a fix of it was rolled back: nothing repairs it until `archive fixes release`.
    """

    event = "finding.confirmed"
    level = "error"
    source: str
    kind: str
    severity: str
    detail: str
    path: str | None = None
    run_id: str | None = None
    held: bool = False


class FindingsWithheld(Event):
    """More findings than are told one by one; ``findings`` counts the rest by kind."""

    event = "finding.withheld"
    level = "error"
    source: str
    findings: Mapping[str, int]


class DayDue(Event):
    """LangSmith will delete a project-day in ``days_left`` days, and no sweep has proved yet that it is kept here.

    ``why`` says what is missing. Export the day if it is not there, then run `tracewatchd reconcile --once` with
    `--depth full`. Told once a day for each such day of the configured projects (`retention.projects`).
    """

    event = "day.due"
    level = "warning"
    source: str
    project: str
    day: str
    days_left: int
    why: str


class FixApplied(Event):
    """A repair that can be undone: `archive fixes list --repair-id` shows what it replaced, `rollback` puts it back.

    What a sweep repairs by reading files again is told by `sweep.finished`.
    """

    event = "fix.applied"
    source: str
    kind: str
    files: int
    repair_id: str


class FixFailed(Event):
    """Files could not be repaired; they stay findings. ``error`` is the first of them's."""

    event = "fix.failed"
    level = "error"
    source: str
    kind: str
    files: int
    error: str
    hint: str = ""


class FixRolledBack(Event):
    """What a repair had replaced was put back; no sweep repairs it again until `archive fixes release`."""

    event = "fix.rolled_back"
    source: str
    fix_id: str
    kind: str
    run_id: str | None = None


class FetchFinished(Event):
    """A project-day was fetched from LangSmith; ``requests`` counts retries, too.

    What is missing of it is told by `fetch.incomplete`.
    """

    event = "fetch.finished"
    source: str
    project: str
    day: str
    written_files: int
    replaced_files: int
    unchanged_files: int
    pending_runs: int
    requests: int
    took_s: float


class FetchIncomplete(Event):
    """A project-day was fetched, but not all of it: the same command fetches what is missing.

    ``bad_runs`` cannot become files, each for the reason in the day's ``_errors.json``; the files of
    ``without_feedback_runs`` say so; ``missing_files`` are attachments that could not be downloaded.
    """

    event = "fetch.incomplete"
    level = "warning"
    source: str
    project: str
    day: str
    bad_runs: int
    without_feedback_runs: int
    missing_files: int
    error: str = ""


class FetchFailed(Event):
    """A project-day could not be fetched to its end. Each page that came is on disk; the same command goes on."""

    event = "fetch.failed"
    level = "error"
    source: str
    project: str
    day: str
    error: str
    hint: str = ""


class LangsmithThrottled(Event):
    """LangSmith answered 429: something else asks with the same key, or the limits are lower than documented.

    ``wait_s`` is what it wants to pass before the next request, 0 where it did not say.
    """

    event = "langsmith.throttled"
    level = "warning"
    request: str
    wait_s: float


class UploadFinished(Event):
    """A project-day's zip is on Google Drive, and Drive's checksum is that of the zip.

    ``what`` is created, updated or unchanged (nothing was sent). ``duplicates`` are ids of other files there that say
    they are this day's zip: look at them and remove those that are not wanted.
    """

    event = "upload.finished"
    project: str
    day: str
    what: str
    file_id: str
    size_bytes: int
    sent_bytes: int
    resumed_at_bytes: int
    duplicates: tuple[str, ...]
    took_s: float


class UploadFailed(Event):
    """A project-day's zip could not be brought to Google Drive; the same command goes on from where it stopped."""

    event = "upload.failed"
    level = "error"
    project: str
    day: str
    error: str
    hint: str = ""


class StoreUnavailable(Event):
    """Postgres does not answer. Files wait on disk; one such event per outage."""

    event = "store.unavailable"
    level = "error"
    error: str
    database: str


class StoreAwaited(Event):
    """Postgres still does not answer; told every 30 s of an outage."""

    event = "store.awaited"
    level = "error"
    error: str
    outage_s: float


class StoreRecovered(Event):
    """Postgres answers again, ``after_s`` after the outage began."""

    event = "store.recovered"
    after_s: float


class StoreReplaced(Event):
    """This is another database than the one we were connected to; everything that has a file is loaded again."""

    event = "store.replaced"
    level = "error"
    before: str
    now: str


class StoreMigrated(Event):
    """The tables were brought to a newer version."""

    event = "store.migrated"
    before: int
    now: int


class EmbeddedStarted(Event):
    """The embedded Postgres runs; ``db url`` says how to reach it."""

    event = "embedded.started"
    directory: str
    server_version: str
    created: bool


class EmbeddedStopped(Event):
    """The embedded Postgres was stopped after the drain."""

    event = "embedded.stopped"
    directory: str
    took_s: float


class ZipFinished(Event):
    """A project-day has been zipped, or its zip was there already: ``outcome`` is written, unchanged or nothing."""

    event = "zip.finished"
    source: str
    project: str
    day: str
    outcome: str
    files: int
    size_bytes: int
    took_s: float
    zip_bytes: int | None = None
    day_digest: str | None = None


class ZipDamaged(Event):
    """The zip of a project-day was damaged; a good one is in its place, and the damaged one is kept beside it."""

    event = "zip.damaged"
    level = "warning"
    source: str
    project: str
    day: str
    error: str
    kept_as: str


class ZipFailed(Event):
    """A project-day could not be zipped; whatever zip of it was there is still there."""

    event = "zip.failed"
    level = "error"
    source: str
    project: str
    day: str
    error: str
    hint: str = ""


class RestoreFinished(Event):
    """Files of a project-day were taken from its zip; ``files`` counts them by how they stood to what was there."""

    event = "restore.finished"
    source: str
    project: str
    day: str
    files: Mapping[str, int]
    took_s: float


class RestoreFailed(Event):
    """A project-day could not be restored. Files that had been moved in are whole; the same command goes on."""

    event = "restore.failed"
    level = "error"
    source: str
    project: str
    day: str
    error: str
    hint: str = ""


class DayArchived(Event):
    """A full sweep of a project-day did every step that it was asked for."""

    event = "day.archived"
    source: str
    project: str
    day: str
    took_s: float


class StepFailed(Event):
    """A step of a full sweep failed, or needs one that did: the day is not archived; the same command goes on."""

    event = "step.failed"
    level = "error"
    source: str
    project: str
    day: str
    step: str
    error: str
    hint: str = ""


class DayCertified(Event):
    """These places held the same of a project-day, and a certificate says so."""

    event = "day.certified"
    source: str
    project: str
    day: str
    places: tuple[str, ...]
    runs: int
    files: int
    day_digest: str


class DayUncertified(Event):
    """Places of a project-day were compared and it was not certified; ``places`` names what each came to.

    Where the verdict is inconsistent, `tracewatchd archive verify --against` names the files that differ.
    """

    event = "day.uncertified"
    level = "warning"
    source: str
    project: str
    day: str
    verdict: str
    places: Mapping[str, str]


class HttpStarted(Event):
    """The page, `/status`, `/metrics` and the answers to probes are at ``url``; ``needs_token`` says who may look."""

    event = "http.started"
    url: str
    needs_token: bool


class HttpRefused(Event):
    """Somebody at ``peer`` tried to log in to the page with something that is not the token."""

    event = "http.refused"
    level = "warning"
    peer: str


class CertificateDue(Event):
    """LangSmith will delete a project-day in ``days_left`` days, and its certificate is missing or outdated.

    ``why`` says which. `tracewatchd archive verify --against` compares the day's places once more and certifies it.
    Told once a day for each such day of the configured projects, of sources that have any certificate.
    """

    event = "certificate.due"
    level = "warning"
    source: str
    project: str
    day: str
    days_left: int
    why: str


class LogDropped(Event):
    """Log lines were dropped because nothing read them fast enough; the work itself went on."""

    event = "log.dropped"
    level = "warning"
    lines: int


class LibraryLogged(Event):
    """A library that we use logged a warning; usually the event after it says what it meant for us."""

    event = "library.logged"
    level = "warning"
    library: str
    message: str


def catalogue() -> dict[str, type[Event]]:
    """Every kind of event by its name, in the order of this module."""
    return {kind.event: kind for kind in Event.__subclasses__()}
