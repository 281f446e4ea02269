"""What the doctor says of the roots: their file systems, permissions, layout, and what it takes to watch them."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tracewatchd.edges.inotify_limits import Granted, InotifyLimits, InotifyUse, inotify_limits, inotify_use
from tracewatchd.edges.permissions import Closed, closed_level, our_user
from tracewatchd.edges.tree import MOST_CLOSED, TreeLook, look_at_tree
from tracewatchd.model.diagnosis import Severity, Trouble
from tracewatchd.service.assemble import Place, place_of
from tracewatchd.service.doctor import Check, in_thread
from tracewatchd.settings import Root, Watch

_SLACK_S = 5.0
_GROWTH_DAYS = 90
_EVENTS_PER_FILE = 6
"""Writing a file atomically: create, open, modify, close, and a rename, which is two."""
_KERNELS_QUEUE = 16_384
_COARSE = frozenset({"vfat", "msdos", "exfat"})
_VERBS = {"r": "read", "x": "enter", "rx": "list and enter"}


class Roots:
    """The checks of these roots, each of which is walked once, within ``walk_s``.

    A root that hangs holds up nothing but its own check: not even the kind of its file system is asked for elsewhere.
    """

    def __init__(self, roots: Sequence[Root], watch: Watch, *, walk_s: float = 60.0) -> None:
        self._roots = roots
        self._watch = watch
        self._walk_s = walk_s
        self._watched: dict[str, asyncio.Future[TreeLook | None]] = {}

    def checks(self) -> list[Check]:
        """One check for each root, and one of what all of them together take of inotify."""
        loop = asyncio.get_running_loop()
        self._watched = {root.source: loop.create_future() for root in self._roots}
        limit_s = self._walk_s + _SLACK_S
        each = [Check(f"root {root.path}", partial(self._root, root), limit_s) for root in self._roots]
        return [*each, Check("inotify", self._inotify, limit_s + _SLACK_S)]

    async def _root(self, root: Root) -> list[Trouble]:
        watched, tree = self._watched[root.source], None
        try:
            place = await in_thread(partial(place_of, root))
            troubles = list(file_system_troubles(place, self._watch))
            closed = await in_thread(partial(_root_troubles, place))
            if closed:
                return [*troubles, *closed]
            seen = await in_thread(partial(look_at_tree, root.path, limit_s=self._walk_s))
            tree = seen if place.file_system.sends_events else None
            below = await in_thread(lambda: list(closed_troubles(place, seen.closed)))
            return [*troubles, *below, *layout_troubles(place, seen), *future_troubles(place, seen)]
        finally:
            watched.set_result(tree)

    async def _inotify(self) -> list[Trouble]:
        limits = await in_thread(inotify_limits)
        use = await in_thread(inotify_use)
        trees = [tree for watched in self._watched.values() if (tree := await watched)]
        return [*watch_troubles(trees, limits, use), *queue_troubles(trees, limits.queue)] if trees else []


# ---------------------------------------------------------------------------------------------------------------------
# The file system


def file_system_troubles(place: Place, watch: Watch) -> Iterator[Trouble]:
    """What the kind of file system means for watching and for telling versions apart."""
    root, found = place.folder.root, place.file_system
    say = partial(_trouble, place, "file system")
    if not found.sends_events:
        yield say(
            "warning",
            f"root {root} lies on {found.kind}, which sends no events: files are found by looking every"
            f" {watch.poll_interval_s:g} s",
            "run the daemon on the host that writes the files, or choose the delay with watch.poll_interval_s",
        )
    if found.kind == "overlay":
        yield say(
            "warning",
            f"root {root} lies on overlay, a container's own layer: it ends with the container, and what is written"
            " below the layer sends no events",
            f"mount a volume there (`--volume /srv/traces:{root}:ro`)",
        )
    if watch.stamp_grain_s is not None and watch.stamp_grain_s < found.stamp_grain_s:
        yield _trouble(
            place,
            "timestamps",
            "warning",
            f"two writes within {found.stamp_grain_s:g} s may share one stamp on root {root} ({found.kind}), but"
            f" watch.stamp_grain_s is {watch.stamp_grain_s:g}: the second one may go unseen until a full sweep",
            f"remove watch.stamp_grain_s, or set it to {found.stamp_grain_s:g}",
        )
    if found.kind in _COARSE:
        yield _trouble(
            place,
            "timestamps",
            "note",
            f"root {root} lies on {found.kind}, which keeps stamps to two seconds and no ctime: an edit that keeps size"
            " and mtime is seen by full sweeps alone",
            "keep traces on ext4, xfs or btrfs, or let full sweeps come round sooner with sweep.full_interval_s",
        )


# ---------------------------------------------------------------------------------------------------------------------
# Permissions


def _root_troubles(place: Place) -> list[Trouble]:
    """Why a root cannot be walked, if so."""
    root = place.folder.root
    say = partial(_trouble, place, "permissions", "error")
    closed = closed_level(root, "rx")
    if closed is None:
        return [] if root.is_dir() else [say(f"root {root} is no directory", "correct watch.roots")]
    if closed.is_missing:
        return [
            say(
                f"root {root} is not there: {closed.path} does not exist",
                f"mount it, make it (`mkdir -p {shlex.quote(str(root))}`), or correct watch.roots",
            )
        ]
    return [_closed_trouble(place, closed, f"root {root} is closed")]


def closed_troubles(place: Place, paths: Iterable[Path]) -> Iterator[Trouble]:
    """One trouble for each level below a root that is closed to us; blocks."""
    told: set[Path] = set()
    for path in paths:
        closed = closed_level(path, "rx")
        if closed is None or closed.is_missing:
            if closed is None:
                yield _forbidden(place, path)
        elif closed.path not in told:
            told.add(closed.path)
            yield _closed_trouble(place, closed, f"a part of root {place.folder.root} is closed")
    if len(told) >= MOST_CLOSED:
        yield _trouble(
            place,
            "permissions",
            "error",
            f"more than these {MOST_CLOSED} are closed under root {place.folder.root}",
            "mend these, then ask the doctor once more",
        )


def _closed_trouble(place: Place, closed: Closed, what: str) -> Trouble:
    user, path, lacks = our_user(), shlex.quote(str(closed.path)), closed.lacks
    return _trouble(
        place,
        "permissions",
        "error",
        f"{what}: user {user} may not {_VERBS[lacks]} {closed.path} (mode {closed.mode}, owner {closed.owner})",
        f"`setfacl -m u:{user}:{lacks} {path}` for this user alone, or `chmod o+{lacks} {path}` for everybody",
    )


def _forbidden(place: Place, path: Path) -> Trouble:
    return _trouble(
        place,
        "permissions",
        "error",
        f"{path} cannot be read although its mode allows it",
        "see whether a security module forbids it (`journalctl -k --grep=denied`)",
    )


# ---------------------------------------------------------------------------------------------------------------------
# What lies there


def layout_troubles(place: Place, tree: TreeLook) -> Iterator[Trouble]:
    """What looks like run files and will never be loaded, counted by its reason."""
    root = place.folder.root
    for reason, count in sorted(tree.outside.items()):
        which = f"{count} .json files under root {root} are" if count > 1 else f"a .json file under root {root} is"
        each = "each" if count > 1 else "it"
        yield _trouble(
            place,
            "layout",
            "warning",
            f"{which} never loaded: {each} {reason}, as {tree.examples[reason]}",
            f"put the files themselves into {root}/<project>/<YYYY-MM-DD>/, or keep them out of the root",
        )


def future_troubles(place: Place, tree: TreeLook) -> Iterator[Trouble]:
    """Stamps from the future: such a file wins over whatever is written later."""
    if tree.future:
        yield _trouble(
            place,
            "clock",
            "warning",
            f"run files under root {place.folder.root} are stamped later than now: {tree.future}, as"
            f" {tree.future_example}",
            "let the host that writes them keep time (`timedatectl set-ntp true`): where files carry no extracted_at,"
            " the later stamp wins",
        )


# ---------------------------------------------------------------------------------------------------------------------
# What watching takes


def watch_troubles(trees: Sequence[TreeLook], limits: InotifyLimits, use: InotifyUse) -> Iterator[Trouble]:
    """Whether there are watches and watchers for all directories of all roots, now and some months on."""
    needed = sum(tree.directories for tree in trees)
    later = needed + _GROWTH_DAYS * sum(tree.projects for tree in trees)
    granted, user = limits.watches, our_user()
    taken = f"{use.watches} of them taken by other programs" if use.watches else "none of them taken"
    if needed + use.watches > granted.number:
        yield Trouble(
            "watches",
            "error",
            f"{needed} directories want to be watched, but user {user} has {granted.number} inotify watches, {taken}",
            _raised(granted, later + use.watches),
        )
    elif later + use.watches > granted.number:
        yield Trouble(
            "watches",
            "warning",
            f"{later} directories will want to be watched in {_GROWTH_DAYS} days, one a day for each project, but user"
            f" {user} has {granted.number} inotify watches, {taken}",
            _raised(granted, later + use.watches),
        )
    if len(trees) + use.instances > limits.instances.number:
        yield Trouble(
            "watches",
            "error",
            f"each root needs a watcher of its own, but of the {limits.instances.number} inotify instances of user"
            f" {user} {use.instances} are taken by other programs",
            _raised(limits.instances, len(trees) + use.instances),
        )


def queue_troubles(trees: Sequence[TreeLook], queue: Granted) -> Iterator[Trouble]:
    """Whether the kernel's queue holds what was once written within a second."""
    burst = max((tree.burst for tree in trees), key=lambda burst: burst.files)
    events = burst.files * _EVENTS_PER_FILE
    if events > queue.number:
        yield Trouble(
            "queue",
            "warning",
            f"{burst.files} files were once written into {burst.directory} within a second, about {events} events, but"
            f" the kernel keeps {queue.number} for a watcher: hints get lost, and only a sweep finds the files",
            _raised(queue, max(events, _KERNELS_QUEUE)),
        )
    elif queue.number < _KERNELS_QUEUE:
        yield Trouble(
            "queue",
            "warning",
            f"the kernel keeps only {queue.number} events for a watcher, enough for {queue.number // _EVENTS_PER_FILE}"
            " files at once: hints of more get lost, and only a sweep finds the files",
            _raised(queue, _KERNELS_QUEUE),
        )


def _raised(granted: Granted, needed: int) -> str:
    """How a limit is raised to twice what is needed, now and for good."""
    setting = f"{granted.name}={1 << (2 * needed - 1).bit_length()}"
    return f"`sysctl -w {setting}`, and for good `echo {setting} > /etc/sysctl.d/60-tracewatchd.conf`"


def _trouble(place: Place, check: str, severity: Severity, sentence: str, remedy: str) -> Trouble:
    return Trouble(check, severity, sentence, remedy, source=place.source)
