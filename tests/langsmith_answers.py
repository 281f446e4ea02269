"""What LangSmith's two read APIs answer: from a question and an `Upstream` to a status and a body, without any I/O."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from langsmith_filter import FilterError, Term, parse
from langsmith_forms import V2_FIELDS, moment_of, v2_form
from langsmith_upstream import Held, Key, Project, Upstream

Api = Literal["v1", "v2", "both"]
V1_PAGE = 100
V2_PAGE = 1_000
FEEDBACK_RUNS = 50
"""Run ids that fit into the URL of one feedback call."""
V2_DEFAULT_WINDOW = timedelta(hours=24)
V1_ALWAYS = {"id", "name", "run_type", "trace_id", "dotted_order", "status", "session_id", "app_path", "start_time"}
"""Fields of a run that v1 answers whatever is selected."""
_V1_UNASKED = """
    id name run_type start_time end_time status error extra events inputs outputs parent_run_id manifest_id
    manifest_s3_id manifest session_id serialized reference_example_id reference_dataset_id total_tokens prompt_tokens
    prompt_token_details completion_tokens completion_token_details total_cost prompt_cost prompt_cost_details
    completion_cost completion_cost_details price_model_id first_token_time trace_id dotted_order last_queued_at
    feedback_stats parent_run_ids tags in_dataset app_path share_token trace_tier trace_first_received_at ttl_seconds
    trace_upgrade thread_id
"""
V1_DEFAULT = frozenset(_V1_UNASKED.split())
"""What v1 answers where nothing is selected; ``s3_urls``, which hold the attachments, are not among it."""
_V1_ASKED = """
    inputs_preview inputs_s3_urls inputs_or_signed_url outputs_preview outputs_s3_urls outputs_or_signed_url s3_urls
    error_or_signed_url events_or_signed_url extra_or_signed_url serialized_or_signed_url child_run_ids
    trace_min_max_start_time messages inserted_at
"""
V1_FIELDS = V1_DEFAULT | set(_V1_ASKED.split())
_TRACE_TOTALS = {"TOTAL_TOKENS", "TOTAL_COST", "FIRST_TOKEN_TIME"}
"""Fields that v2 answers for a trace beside its root run."""

Query = Mapping[str, Sequence[str]]
Sign = Callable[[str, str], str]
"""From a run id and an attachment's name to a URL that is good for a while."""


class RefusedError(Exception):
    """The question is answered by an error, in the form of the API that was asked."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Question:
    """One request; ``path`` is without ``/api`` and ``/api/v1``, ``body`` is parsed."""

    method: str
    path: str
    query: Query
    body: Any
    now: datetime


@dataclass(frozen=True)
class Answers:
    """The APIs of one instance; ``api`` says which of them serve runs."""

    upstream: Upstream
    api: Api
    sign: Sign

    def answer(self, question: Question) -> bytes:
        """The JSON of a successful answer.

        Raises:
            RefusedError: there is none.
        """
        for method, pattern, api, find in _ROUTES:
            if method == question.method and (found := re.fullmatch(pattern, question.path)):
                if api not in {"any", self.api} and self.api != "both":
                    break
                with self.upstream.lock:
                    return find(self, question, **found.groupdict())
        raise RefusedError(404, "Not Found")

    # -----------------------------------------------------------------------------------------------------------------
    # What both share

    def info(self, _question: Question) -> bytes:
        """``GET /info``: which API serves runs; an instance of v1 alone is older than the flags."""
        flags: dict[str, object] = {"blob_storage_enabled": True}
        if self.api != "v1":
            flags |= {"ch_query_enabled": self.api == "both", "sdb_query_enabled": True}
        batches = {"use_multipart_endpoint": True, "size_limit": 100, "size_limit_bytes": 20_971_520}
        version = "0.12.9" if self.api == "v1" else "0.16.4"
        return _json({"version": version, "instance_flags": flags, "batch_ingest_config": batches})

    def sessions(self, question: Question) -> bytes:
        """``GET /sessions``: projects by name, in pages by offset."""
        name, part = _one(question.query, "name"), _one(question.query, "name_contains")
        ids = set(question.query.get("id", ()))
        found = [
            self._session(project)
            for project in self.upstream.projects.values()
            if (name is None or project.name == name)
            and (part is None or part.casefold() in project.name.casefold())
            and (not ids or project.project_id in ids)
        ]
        return _json(_offset_page(found, question.query))

    def session(self, _question: Question, project_id: str) -> bytes:
        """``GET /sessions/{id}``."""
        return _json(self._session(*self._projects([project_id])))

    def _session(self, project: Project) -> dict[str, object]:
        start = project.first_start().isoformat()
        names = {"id": project.project_id, "tenant_id": self.upstream.tenant_id, "name": project.name}
        rest = dict.fromkeys(("end_time", "description", "reference_dataset_id", "default_dataset_id"))
        return {**names, "start_time": start, **rest, "extra": None, "trace_tier": "shortlived"}

    def feedback(self, question: Question) -> bytes:
        """``GET /feedback``: of at most 50 runs, newest first, in pages by offset."""
        run_ids = question.query.get("run", ())
        if len(run_ids) > FEEDBACK_RUNS:
            raise RefusedError(414, "Request-URI Too Long")
        _require_uuids(run_ids, ("query", "run"))
        keys = set(question.query.get("key", ()))
        of_runs = run_ids or self.upstream.feedback
        found = [
            one
            for run_id in dict.fromkeys(of_runs)
            for one in self.upstream.feedback.get(run_id, ())
            if not keys or one["key"] in keys
        ]
        found.sort(key=lambda one: (one["created_at"], one["id"]), reverse=True)
        return _json(_offset_page(found, question.query))

    def _projects(self, project_ids: Iterable[str], *, what: str = "Project") -> list[Project]:
        known = {project.project_id: project for project in self.upstream.projects.values()}
        try:
            return [known[project_id] for project_id in dict.fromkeys(project_ids)]
        except KeyError:
            raise RefusedError(404, f"{what} not found") from None

    def _run(self, run_id: str) -> tuple[Project, Held]:
        _require_uuids([run_id], ("path", "run_id"))
        found = self.upstream.find(run_id)
        if found is None:
            raise RefusedError(404, "Run not found")
        return found

    # -----------------------------------------------------------------------------------------------------------------
    # v1

    def v1_query(self, question: Question) -> bytes:
        """``POST /runs/query`` of v1: newest first, at most 100 a page."""
        body = question.body
        if (limit := body.get("limit", V1_PAGE)) > V1_PAGE:
            raise RefusedError(400, f"Limit exceeds maximum allowed value of {V1_PAGE}")
        if limit < 1:
            raise RefusedError(422, _invalid(("body", "limit"), "Input should be greater than or equal to 1"))
        chosen = _v1_selection(body.get("select"))
        if not any(body.get(name) for name in ("session", "id", "trace", "parent_run", "reference_example")):
            raise RefusedError(400, "At least one of 'session', 'id', 'parent_run', 'trace' or 'reference_example'")
        sessions = body.get("session")
        _require_uuids(sessions or (), ("body", "session"))
        page = self.upstream.page(
            self._projects(sessions) if sessions else self.upstream.projects.values(),
            v1_bounds(body),
            _v1_wanted(body),
            limit=limit,
            after=_position(body.get("cursor")),
            newest_first=body.get("order", "desc") == "desc",
        )
        runs = b",".join(self._v1_run(held, chosen) for held in page.runs)
        return b'{"runs":[%s],"cursors":%s}' % (runs, _json({"next": _cursor(page.last)}))

    def v1_read(self, _question: Question, run_id: str) -> bytes:
        """``GET /runs/{id}`` of v1."""
        _, held = self._run(run_id)
        return self._v1_run(held, V1_FIELDS)

    def _v1_run(self, held: Held, chosen: frozenset[str]) -> bytes:
        if held.spoiled is not None:
            return held.spoiled
        attached = self.upstream.attachments.get(held.key[1], {})
        run = held.run
        if attached:
            run["s3_urls"] = {
                f"attachment.{name}": {
                    "presigned_url": self.sign(held.key[1], name),
                    "s3_url": f"attachments/{held.key[1]}/{name}",
                    "mime_type": one.mime_type,
                }
                for name, one in attached.items()
            }
        unasked = V1_ALWAYS | chosen | (run.keys() - V1_FIELDS)
        return _json({name: value for name, value in run.items() if name in unasked})

    # -----------------------------------------------------------------------------------------------------------------
    # v2

    def v2_query(self, question: Question) -> bytes:
        """``POST /v2/runs/query``: the last 24 hours and the id alone, unless more is asked for."""
        body = question.body
        project_ids = body.get("project_ids") or ()
        if bool(project_ids) == bool(body.get("reference_dataset_id")):
            raise RefusedError(400, "exactly one of project_ids and reference_dataset_id must be set")
        _require_uuids(project_ids, ("project_ids",))
        chosen = _v2_selection(body.get("selects"))
        order = body.get("sort_order", "DESC")
        if order not in {"ASC", "DESC"}:
            raise RefusedError(400, "sort_order must be ASC or DESC")
        page = self.upstream.page(
            self._projects(project_ids, what="session"),
            [*_v2_bounds(body, question.now, upper="lte"), *_filter(body).bounds()],
            _v2_wanted(body),
            limit=_page_size(body, default=100, limit=V2_PAGE),
            after=_position(body.get("cursor")),
            newest_first=order == "DESC",
        )
        return _v2_page((self._v2_run(held, chosen) for held in page.runs), page.last)

    def v2_read(self, question: Question, run_id: str) -> bytes:
        """``GET /v2/runs/{id}``: by id and project, and faster by start_time."""
        project_id = _required(question.query, "project_id")
        _, held = self._run(run_id)
        if held.key[1] not in self._projects([project_id], what="session")[0].runs:
            raise RefusedError(404, "run not found")
        written = _one(question.query, "start_time")
        if written is not None and moment_of(written) != held.key[0]:
            raise RefusedError(404, "run not found")
        return self._v2_run(held, _v2_selection(question.query.get("selects")))

    def v2_trace(self, question: Question, trace_id: str) -> bytes:
        """``GET /v2/traces/{id}/runs``: all of them, oldest first, both bounds inclusive."""
        _require_uuids([trace_id], ("trace_id",))
        project = self._projects([_required(question.query, "project_id")], what="session")
        times = {name: _one(question.query, name) for name in ("min_start_time", "max_start_time")}
        if None in times.values() and set(times.values()) != {None}:
            raise RefusedError(400, "min_start_time and max_start_time are required together")
        chosen = _v2_selection(question.query.get("selects"))
        bounds = list(_v2_bounds(times, question.now, upper="lte")) if times["min_start_time"] else []
        asked = _filter({"filter": _one(question.query, "filter")})
        page = self.upstream.page(
            project,
            bounds,
            lambda held: held.fields["trace_id"] == trace_id and asked.matches(held.fields),
            limit=len(project[0].runs) + 1,
            newest_first=False,
        )
        return b'{"items":[%s]}' % b",".join(self._v2_run(held, chosen) for held in page.runs)

    def v2_traces(self, question: Question) -> bytes:
        """``POST /v2/traces/query``: root runs of one project, and their totals, which are those of the whole trace."""
        body = question.body
        if not body.get("project_id"):
            raise RefusedError(400, "project_id is required")
        _require_uuids([body["project_id"]], ("project_id",))
        chosen = _v2_selection(body.get("selects"))
        wanted, trace_ids = _filter(body, "trace_filter"), body.get("trace_ids")
        page = self.upstream.page(
            self._projects([body["project_id"]], what="session"),
            _v2_bounds(body, question.now, upper="lt"),
            lambda held: (
                held.fields["is_root"]
                and (trace_ids is None or held.key[1] in trace_ids)
                and wanted.matches(held.fields)
            ),
            limit=_page_size(body, default=20, limit=100),
            after=_position(body.get("cursor")),
        )
        return _v2_page((self._v2_trace_item(held, chosen) for held in page.runs), page.last)

    def _v2_trace_item(self, root: Held, chosen: Collection[str]) -> bytes:
        totals = [name for name in chosen if name in _TRACE_TOTALS]
        rest = [name for name in chosen if name not in _TRACE_TOTALS]
        item = b'{"root_run":%s' % self._v2_run(root, rest or ["ID"])
        summed = b',"trace_aggregates":%s' % _json(v2_form(root.run, totals)) if totals else b""
        return item + summed + b"}"

    def _v2_run(self, held: Held, chosen: Collection[str]) -> bytes:
        if held.spoiled is not None:
            return held.spoiled
        run = v2_form(held.run, chosen)
        attached = self.upstream.attachments.get(held.key[1], {})
        if attached and "ATTACHMENTS" in chosen:
            run["attachments"] = {name: self.sign(held.key[1], name) for name in attached}
        return _json(run)


_UUID = r"(?P<{}>[^/]+)"
_ROUTES: tuple[tuple[str, str, str, Callable[..., bytes]], ...] = (
    ("GET", "/info", "any", Answers.info),
    ("GET", "/sessions", "any", Answers.sessions),
    ("GET", "/sessions/" + _UUID.format("project_id"), "any", Answers.session),
    ("GET", "/feedback", "any", Answers.feedback),
    ("POST", "/runs/query", "v1", Answers.v1_query),
    ("GET", "/runs/" + _UUID.format("run_id"), "v1", Answers.v1_read),
    ("POST", "/v2/runs/query", "v2", Answers.v2_query),
    ("GET", "/v2/runs/" + _UUID.format("run_id"), "v2", Answers.v2_read),
    ("GET", "/v2/traces/" + _UUID.format("trace_id") + "/runs", "v2", Answers.v2_trace),
    ("POST", "/v2/traces/query", "v2", Answers.v2_traces),
)


# ---------------------------------------------------------------------------------------------------------------------
# Reading questions


def v1_bounds(body: Mapping[str, Any]) -> list[tuple[str, datetime]]:
    """What a v1 query demands of start_time, by its body and its filter; ``end_time`` bounds ends, not starts."""
    start = _body_time(body, "start_time")
    return ([] if start is None else [("gte", start)]) + list(_filter(body).bounds())


def v1_window(body: Mapping[str, Any], now: datetime) -> timedelta | None:
    """The time that a v1 query spans, for its rate limit; None without a beginning."""
    bounds = v1_bounds(body)
    lower = [moment for name, moment in bounds if name in {"gte", "gt", "eq"}]
    upper = [moment for name, moment in bounds if name in {"lte", "lt", "eq"}]
    upper += [end for end in [_body_time(body, "end_time")] if end is not None]
    return min([*upper, now]) - max(lower) if lower else None


def _v1_wanted(body: Mapping[str, Any]) -> Callable[[Held], bool]:
    equal = {name: body[name] for name in ("is_root", "run_type") if body.get(name) is not None}
    equal |= {"trace_id": body["trace"]} if body.get("trace") else {}
    equal |= {"parent_run_id": body["parent_run"]} if body.get("parent_run") else {}
    end, error, asked = _body_time(body, "end_time"), body.get("error"), _filter(body)
    ids = None if body.get("id") is None else set(body["id"])

    def wanted(held: Held) -> bool:
        fields = held.fields
        return (
            all(fields[name] == value for name, value in equal.items())
            and (ids is None or fields["id"] in ids)
            and (end is None or (fields["end_time"] is not None and fields["end_time"] < end))
            and (error is None or (fields["error"] is not None) == error)
            and asked.matches(fields)
        )

    return wanted


def _v2_wanted(body: Mapping[str, Any]) -> Callable[[Held], bool]:
    equal = {name: body[name] for name in ("is_root", "trace_id") if body.get(name) is not None}
    equal |= {"run_type": body["run_type"].lower()} if body.get("run_type") else {}
    error, asked = body.get("has_error"), _filter(body)
    ids = None if body.get("ids") is None else set(body["ids"])

    def wanted(held: Held) -> bool:
        fields = held.fields
        return (
            all(fields[name] == value for name, value in equal.items())
            and (ids is None or fields["id"] in ids)
            and (error is None or (fields["error"] is not None) == error)
            and asked.matches(fields)
        )

    return wanted


def _v2_bounds(body: Mapping[str, Any], now: datetime, *, upper: str) -> list[tuple[str, datetime]]:
    """The window of a v2 query: from 24 hours ago to now, unless it says otherwise."""
    low, high = _body_time(body, "min_start_time"), _body_time(body, "max_start_time")
    return [("gte", low or now - V2_DEFAULT_WINDOW), (upper, high or now)]


def _filter(body: Mapping[str, Any], name: str = "filter") -> Term:
    if not (text := body.get(name)):
        return Term("and", ())
    try:
        return parse(text)
    except FilterError as error:
        raise RefusedError(400, f"Invalid filter: {error}") from error


def _v1_selection(given: Sequence[str] | None) -> frozenset[str]:
    if given is None:
        return V1_DEFAULT
    for number, name in enumerate(given):
        if name not in V1_FIELDS:
            raise RefusedError(422, _invalid(("body", "select", number), "Input should be a field of a run"))
    return frozenset(given)


def _v2_selection(given: Sequence[str] | None) -> Sequence[str]:
    for name in given or ():
        if name not in V2_FIELDS:
            raise RefusedError(400, f"invalid select field {name!r}")
    return given or ("ID",)


def _page_size(body: Mapping[str, Any], *, default: int, limit: int) -> int:
    size: int = body.get("page_size", default)
    if not 1 <= size <= limit:
        raise RefusedError(400, f"page_size must be between 1 and {limit}")
    return size


def _body_time(body: Mapping[str, Any], name: str) -> datetime | None:
    if (written := body.get(name)) is None:
        return None
    if (moment := moment_of(written)) is None:
        raise RefusedError(422, _invalid(("body", name), "Input should be a valid datetime"))
    return moment


def _one(query: Query, name: str) -> str | None:
    return query[name][-1] if query.get(name) else None


def _required(query: Query, name: str) -> str:
    if (value := _one(query, name)) is None:
        raise RefusedError(400, f"{name} is required")
    _require_uuids([value], (name,))
    return value


def _require_uuids(values: Iterable[str], where: tuple[str, ...]) -> None:
    for value in values:
        try:
            UUID(value)
        except ValueError:
            raise RefusedError(422, _invalid(where, "Input should be a valid UUID")) from None


def _invalid(where: tuple[str | int, ...], message: str) -> list[dict[str, object]]:
    return [{"type": "value_error", "loc": list(where), "msg": message, "input": None}]


def _offset_page(found: Sequence[Any], query: Query) -> Sequence[Any]:
    limit, offset = _number(query, "limit", 100), _number(query, "offset", 0)
    if not 1 <= limit <= 100:
        raise RefusedError(422, _invalid(("query", "limit"), "Input should be between 1 and 100"))
    return found[offset : offset + limit]


def _number(query: Query, name: str, default: int) -> int:
    value = _one(query, name)
    if value is not None and not value.isdecimal():
        raise RefusedError(422, _invalid(("query", name), "Input should be a valid integer"))
    return default if value is None else int(value)


# ---------------------------------------------------------------------------------------------------------------------
# Writing answers


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _v2_page(items: Iterable[bytes], last: Key | None) -> bytes:
    more = b',"has_more":false' if last is None else b',"next_cursor":%s,"has_more":true' % _json(_cursor(last))
    return b'{"items":[%s]%s}' % (b",".join(items), more)


def _cursor(last: Key | None) -> str | None:
    return None if last is None else base64.urlsafe_b64encode(_json([last[0].isoformat(), last[1]])).decode()


def _position(cursor: str | None) -> Key | None:
    if cursor is None:
        return None
    try:
        moment, run_id = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=tuple[str, str])
        return datetime.fromisoformat(moment).astimezone(UTC), run_id
    except (ValueError, msgspec.MsgspecError):
        raise RefusedError(400, "Invalid cursor") from None


def refusal(api: Literal["v1", "v2"], status: int, detail: Any) -> bytes:
    """The body of an error: v1 says ``detail``, or ``error`` of a key that it does not know; v2 follows RFC 7807."""
    if api == "v2":
        title = _TITLES.get(status, "Error")
        text = detail if isinstance(detail, str) else detail[0]["msg"]
        return _json({"type": "about:blank", "title": title, "status": status, "detail": text})
    return _json({"error": detail} if status == 401 else {"detail": detail})


_TITLES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def title_of(status: int) -> str:
    """The words of a status."""
    return _TITLES.get(status, "Error")
