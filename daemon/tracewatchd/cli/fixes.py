"""``tracewatchd archive fixes``: what repairs replaced, putting it back, and letting go of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar, cast, get_args
from uuid import UUID

import typer

from tracewatchd.cli.asking import consented
from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import AsJson, ConfigFile, FixId, FixIds, Limit, RepairId, Source, State, Yes
from tracewatchd.cli.output import Output, note
from tracewatchd.cli.working import counted, require_roots, settings_of, work
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.events import FixRolledBack
from tracewatchd.model.exits import CHECKING, LOADING, Exit
from tracewatchd.model.fixes import Fix, FixImages, FixState
from tracewatchd.service.assemble import Assembly

_T = TypeVar("_T")
_Image: TypeAlias = dict[str, object] | list[dict[str, object]] | None

app = group("What repairs replaced: show it, put it back, let go of it.")

_SEE_LIST = "`tracewatchd archive fixes list` shows what there is"
_SHOWN_CHARACTERS = 200
_AN_ID = "6f1f9c1e-5f0e-4b7e-9c55-0d6f5a8f4c11"
_EXITS: Mapping[Exit, str] = {
    Exit.OK: "done, or it was so already",
    Exit.FOUND: "something was refused, or is not in the journal; the rest is done",
    Exit.USAGE: LOADING[Exit.USAGE],
    Exit.PERMANENT: LOADING[Exit.PERMANENT],
    Exit.TRANSIENT: LOADING[Exit.TRANSIENT],
    Exit.CONFIG: LOADING[Exit.CONFIG],
    Exit.INTERRUPTED: "interrupted; what was done by then is done",
}


@command(
    app,
    "list",
    exits=CHECKING,
    examples=["tracewatchd archive fixes list", "tracewatchd archive fixes list --state rolled_back --json"],
)
def list_(
    source: Source = None,
    repair_id: RepairId = None,
    state: State = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List what repairs did, the newest first. Each fix is about one run, or about one file whose run is not known."""
    settings = settings_of(config)
    find = partial(_find, source=source, repair_id=repair_id, state=_state(state), limit=limit + 1)
    fixes = work(settings, find, create=False, migrate=False)
    if source is not None and not fixes:
        require_roots(settings, source)
    out = Output(as_json=as_json)
    out.table(("fix", "applied", "kind", "state", "run", "files"), [_listed(fix) for fix in fixes[:limit]])
    out.line(f"{len(fixes[:limit])} fixes" + (" and more: raise --limit" if len(fixes) > limit else ""))
    out.data(fixes[:limit])


@command(app, "show", exits=CHECKING, examples=[f"tracewatchd archive fixes show {_AN_ID}"])
def show(fix_id: FixId, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Show one fix: the row before it, and the ledger rows before and after it (whole with --json, else shortened)."""
    fix, images = work(settings_of(config), partial(_one, fix_id=fix_id), create=False, migrate=False)
    out = Output(as_json=as_json)
    kept: dict[str, _Image] = {name: image and json.loads(image) for name, image in asdict(images).items()}
    told = {name.replace("_", " "): str(value) for name, value in asdict(fix).items() if name != "paths"}
    out.table(("", ""), [*told.items(), *(("file", path) for path in fix.paths)])
    for name, image in kept.items():
        out.line("")
        out.line(f"{name.replace('_', ' ')}:" + ("" if image else " none"))
        for row in _rows(image):
            out.table(("", ""), [(f"  {column}", _shortened(value)) for column, value in row.items()])
    out.data({**asdict(fix), **kept})


@command(app, "rollback", exits=_EXITS, examples=[f"tracewatchd archive fixes rollback {_AN_ID} --yes"])
def rollback(
    fix_ids: FixIds = None,
    repair_id: RepairId = None,
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> Exit:
    """Put back exactly what fixes replaced, the newest first, unless something changed since.

    What was put back is held: sweeps report it and leave it alone until it is released.
    """
    choice = _Choice(tuple(fix_ids or ()), repair_id)
    question = f"Put back what {choice} replaced?"
    settings = settings_of(config)
    if not consented(question, yes=yes):
        return Exit.FOUND
    return _show_changed(
        work(settings, partial(_change, choice=choice, change=_roll_back), create=False, migrate=False), as_json=as_json
    )


@command(app, "release", exits=_EXITS, examples=[f"tracewatchd archive fixes release {_AN_ID}"])
def release(
    fix_ids: FixIds = None,
    repair_id: RepairId = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> Exit:
    """Let go of fixes that were rolled back, so that sweeps may repair those runs again."""
    choice = _Choice(tuple(fix_ids or ()), repair_id)
    settings = settings_of(config)
    return _show_changed(
        work(settings, partial(_change, choice=choice, change=_release), create=False, migrate=False), as_json=as_json
    )


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which fixes are meant: those that are named, or all of one repair."""

    fix_ids: tuple[UUID, ...]
    repair_id: UUID | None

    def __post_init__(self) -> None:
        if bool(self.fix_ids) == (self.repair_id is not None):
            raise typer.BadParameter("name fixes, or give a --repair-id (but not both)", param_hint="FIX_ID")

    def __str__(self) -> str:
        return f"repair {self.repair_id}" if self.repair_id else f"{len(set(self.fix_ids))} fixes"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What became of one fix."""

    fix_id: UUID
    outcome: str
    refused: str | None = None


@dataclass(slots=True)
class _Changed:
    """What became of the chosen fixes; ``unknown`` holds what is not in the journal."""

    answers: list[_Answer] = field(default_factory=list)
    unknown: list[UUID] = field(default_factory=list)


_Changing: TypeAlias = Callable[[Assembly, Fix], Awaitable[_Answer]]


async def _change(assembly: Assembly, *, choice: _Choice, change: _Changing) -> _Changed:
    """Change the chosen fixes, the newest first: a later one may have replaced what an earlier one wrote."""
    changed = _Changed()
    if choice.repair_id:
        async for fix in assembly.database.fixes(repair_id=choice.repair_id):
            changed.answers.append(await change(assembly, fix))
        if not changed.answers:
            changed.unknown.append(choice.repair_id)
        return changed
    known = {fix_id: await assembly.database.fix(fix_id) for fix_id in choice.fix_ids}
    for fix in sorted(filter(None, known.values()), key=lambda fix: fix.number, reverse=True):
        changed.answers.append(await change(assembly, fix))
    changed.unknown += [fix_id for fix_id, fix in known.items() if fix is None]
    return changed


async def _roll_back(assembly: Assembly, fix: Fix) -> _Answer:
    answer = await _retried(assembly, partial(assembly.database.roll_back, fix.fix_id))
    if answer.refused or answer.already:
        outcome = "refused" if answer.refused else "already rolled back"
        return _Answer(fix_id=fix.fix_id, outcome=outcome, refused=answer.refused)
    run_id = str(fix.run_id) if fix.run_id else None
    assembly.tell(FixRolledBack(source=fix.source, fix_id=str(fix.fix_id), kind=fix.kind, run_id=run_id))
    return _Answer(fix_id=fix.fix_id, outcome="rolled back")


async def _release(assembly: Assembly, fix: Fix) -> _Answer:
    after = await _retried(assembly, partial(assembly.database.release, fix.fix_id))
    if after.state == "applied":
        return _Answer(fix_id=fix.fix_id, outcome="refused", refused="it was not rolled back")
    return _Answer(fix_id=fix.fix_id, outcome="already released" if fix.state == "released" else "released")


async def _retried(assembly: Assembly, attempt_it: Callable[[], Awaitable[_T]]) -> _T:
    async for attempt in assembly.retrying(lambda _: None):
        with attempt:
            await assembly.database.available()
            return await attempt_it()
    raise AssertionError("a policy ends with a result or an error")  # pragma: no cover - tenacity reraises


def _show_changed(changed: _Changed, *, as_json: bool) -> Exit:
    out = Output(as_json=as_json)
    counts = Counter(answer.outcome for answer in changed.answers)
    out.line(counted(counts))
    for answer in changed.answers:
        if answer.refused:
            out.line(f"refused: fix {answer.fix_id}: {answer.refused}")
    out.data({"counts": counts, "fixes": changed.answers, "unknown": changed.unknown})
    for unknown in changed.unknown:
        note(f"error: {unknown} is not in the journal")
    if changed.unknown:
        note(f"hint: {_SEE_LIST}")
    return Exit.FOUND if counts["refused"] or changed.unknown else Exit.OK


async def _find(
    assembly: Assembly, *, source: str | None, repair_id: UUID | None, state: FixState | None, limit: int
) -> list[Fix]:
    fixes: list[Fix] = []
    async for fix in assembly.database.fixes(source=source, repair_id=repair_id, state=state):
        fixes.append(fix)
        if len(fixes) == limit:
            break
    return fixes


async def _one(assembly: Assembly, *, fix_id: UUID) -> tuple[Fix, FixImages]:
    fix, images = await assembly.database.fix(fix_id), await assembly.database.fix_images(fix_id)
    if fix is None or images is None:
        raise NotCheckedError(f"{fix_id} is not in the journal", hint=_SEE_LIST)
    return fix, images


def _state(text: str | None) -> FixState | None:
    for state in get_args(FixState):
        if text == state:
            return cast("FixState", state)
    if text is None:
        return None
    raise typer.BadParameter(f"{text!r} is no state; allowed: {', '.join(get_args(FixState))}", param_hint="--state")


def _listed(fix: Fix) -> tuple[str, ...]:
    about = str(fix.run_id) if fix.run_id else "-"
    files = fix.paths[0] + (f" and {len(fix.paths) - 1} more" if len(fix.paths) > 1 else "") if fix.paths else "-"
    return str(fix.fix_id), f"{fix.applied_at:%Y-%m-%d %H:%M}", fix.kind, fix.state, about, files


def _rows(image: _Image) -> Sequence[Mapping[str, object]]:
    """The rows of an image: one, several, or none."""
    return image if isinstance(image, list) else [image] if image else []


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}... ({len(text)} characters)"
