from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd import settings as places
from tracewatchd.model.errors import ConfigError
from tracewatchd.model.fixes import BY_DEFAULT, FixKind
from tracewatchd.settings import MASK, SETTINGS, Loaded, Root, Setting, Settings, load, masked

PASSWORD = "s3cret/of:ours"


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of this machine takes part: an empty working directory and no system file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")


def loaded(
    toml: str = "", environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> Loaded:
    """Load from a local file of this text (none where it is empty), these variables and these options."""
    if toml:
        Path("tracewatchd.toml").write_text(toml, encoding="utf-8")
    return load(None, overrides or {}, {"TRACEWATCHD_SECRETS_DIR": "secrets", **(environ or {})})


def faults(*arguments: Any, **named: Any) -> tuple[str, ...]:
    """The faults that loading ends with."""
    with pytest.raises(ConfigError) as failed:
        loaded(*arguments, **named)
    assert all(fault.isprintable() for fault in failed.value.faults)
    assert failed.value.hint
    return failed.value.faults


def secret(directory: str, value: bytes, name: str = "tracewatchd_database__url") -> Path:
    """A secret file in a directory that is made for it."""
    Path(directory).mkdir(exist_ok=True)
    path = Path(directory, name)
    path.write_bytes(value)
    return path


def url_of(found: Loaded) -> str:
    """The database URL in full."""
    url = found.settings.database.url
    assert url is not None
    return url.get_secret_value()


def test_nothing_set_is_the_defaults() -> None:
    """Without file, variable and option every setting is its default and says so."""
    found = loaded()
    assert found.settings == Settings()
    assert found.file is None
    assert found.origins == dict.fromkeys(SETTINGS, "default")


def test_places_in_their_order(tmp_path: Path) -> None:
    """Command line, environment, secret file, configuration file, DATABASE_URL: each beats the next, and is told."""
    toml = '[database]\nurl = "postgresql://file/x"\nschema = "f"\n[ingest]\nwriters = 2\nbatch_rows = 7'
    environ = {"DATABASE_URL": "postgresql://weakest/x"}
    assert url_of(loaded("", environ)) == "postgresql://weakest/x"
    assert loaded("", environ).origins["database.url"] == "DATABASE_URL"
    assert url_of(loaded(toml, environ)) == "postgresql://file/x"
    path = secret("secrets", b"postgresql://docker/x\n")
    found = loaded(toml, environ)
    assert (url_of(found), found.origins["database.url"]) == ("postgresql://docker/x", f"secret file {path}")
    systemd = secret("systemd", b"postgresql://systemd/x\n")
    environ["CREDENTIALS_DIRECTORY"] = str(systemd.parent)
    assert url_of(loaded(toml, environ)) == "postgresql://systemd/x"
    environ["TRACEWATCHD_DATABASE__URL"] = "postgresql://environment/x"
    environ["TRACEWATCHD_INGEST__WRITERS"] = "3"
    found = loaded(toml, environ, {"ingest.writers": 1, "log.level": None})
    assert url_of(found) == "postgresql://environment/x"
    assert (found.settings.ingest.writers, found.settings.ingest.batch_rows) == (1, 7)
    assert found.origins["ingest.writers"] == "command line"
    assert found.origins["database.url"] == "environment TRACEWATCHD_DATABASE__URL"
    assert found.origins["database.schema"] == f"file {tmp_path / 'tracewatchd.toml'}"
    assert found.origins["log.level"] == "default"


def test_the_file_that_is_read(tmp_path: Path) -> None:
    """--config, else $TRACEWATCHD_CONFIG, else ./tracewatchd.toml, else the system's file: one of them, never two."""
    for number, name in enumerate(("etc/config.toml", "tracewatchd.toml", "named.toml", "option.toml"), start=1):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[ingest]\nbatch_rows = {number}")
        environ = {"TRACEWATCHD_CONFIG": "named.toml"} if number >= 3 else {}
        found = load(Path("option.toml") if number == 4 else None, {}, environ)
        assert (found.file, found.settings.ingest.batch_rows) == (path, number)


@pytest.mark.parametrize("named_by", ["option", "variable"])
def test_a_named_file_must_be_there(tmp_path: Path, named_by: str) -> None:
    """A file that was asked for and is missing is a fault, not a reason to look elsewhere."""
    Path("tracewatchd.toml").write_text("[ingest]\nbatch_rows = 7")
    option = Path("other.toml") if named_by == "option" else None
    with pytest.raises(ConfigError) as failed:
        load(option, {}, {} if option else {"TRACEWATCHD_CONFIG": "other.toml"})
    assert failed.value.faults == (f"{tmp_path / 'other.toml'}: there is no such file",)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """What is there and cannot be read (here a directory, so that root sees it too) is a fault with its reason."""
    (tmp_path / "tracewatchd.toml").mkdir()
    assert faults() == (f"{tmp_path / 'tracewatchd.toml'}: cannot be read: Is a directory",)


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    """A slip in the file is told with its line; a file that is not UTF-8 with its byte."""
    file = tmp_path / "tracewatchd.toml"
    (told,) = faults("[ingest]\nbatch_rows 7\n")
    assert told.startswith(f"{file}: is not TOML: ")
    assert "line 2" in told
    file.write_bytes(b"# \xff")
    assert faults() == (f"{file}: is not UTF-8 at byte 2; TOML has to be",)


def test_every_fault_at_once(tmp_path: Path) -> None:
    """Each fault is a line of its own that names its place, its key and what is allowed."""
    file = tmp_path / "tracewatchd.toml"
    told = faults(
        '[ingest]\nbatch_rows = 5000\nbatchrows = 1\nwriters = true\n[colour]\n[watch]\nroots = "x"\n'
        '[log]\nformat = "xml"\n[database]\npgbouncer = "perhaps"\nschema = "A b"',
        {"TRACEWATCHD_SWEEP__GRACE_S": "nan", "TRACEWATCHD_SWEEP__GRACES": "1", "TRACEWATCHD_INGEST__LINGER_MS": "x"},
        {"service.shutdown_s": -1},
    )
    assert set(told) == {
        f"{file}: ingest.batch_rows: must be a whole number from 1 to 2000, not 5000",
        f"{file}: ingest.batchrows: unknown; is ingest.batch_rows meant?",
        f"{file}: ingest.writers: must be a whole number from 1 to 32, not True",
        f"{file}: colour: unknown; allowed: {', '.join(Settings.model_fields)}",
        f"{file}: watch.roots: must be {SETTINGS['watch.roots'].allowed}, not 'x'",
        f'{file}: log.format: must be "auto" or "json" or "console", not \'xml\'',
        f"{file}: database.pgbouncer: must be true or false, not 'perhaps'",
        f"{file}: database.schema: must be {SETTINGS['database.schema'].allowed}, not 'A b'",
        "TRACEWATCHD_SWEEP__GRACE_S: must be a number from 0 to 86400 seconds, not 'nan'",
        "TRACEWATCHD_SWEEP__GRACES: no setting has this variable; is TRACEWATCHD_SWEEP__GRACE_S meant?",
        "TRACEWATCHD_INGEST__LINGER_MS: must be a number from 0 to 10000 milliseconds, not 'x'",
        "command line: service.shutdown_s: must be a number from 0 to 3600 seconds, not -1",
    }


def test_a_section_is_a_table(tmp_path: Path) -> None:
    """A section's name with a value instead of a table is told, not merged away by a stronger place."""
    told = faults("ingest = 3", {"TRACEWATCHD_INGEST__WRITERS": "2"})
    assert told == (f"{tmp_path / 'tracewatchd.toml'}: ingest: must be a table, written [ingest]",)


def test_a_fault_stays_one_line() -> None:
    """Line ends and terminal codes in a key are escaped."""
    (told,) = faults('[ingest]\n"a\\nb\\u001b[31m" = 1')
    assert "ingest.a\\nb\\x1b[31m" in told


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.key)
def test_an_empty_text_is_not_set(setting: Setting) -> None:
    """An empty text in the file or in a variable leaves the default."""
    section, _, name = setting.key.partition(".")
    assert loaded(f'[{section}]\n{name} = ""').settings == Settings()
    assert loaded("", {setting.variable: ""}).settings == Settings()


def numbers() -> list[tuple[Setting, float, float]]:
    """Every setting with limits, and the limits as its documentation gives them."""
    found = []
    for setting in SETTINGS.values():
        match setting.allowed.split():
            case ["a", "whole", "number", "from", low, "to", high, *_] | ["a", "number", "from", low, "to", high, *_]:
                found.append((setting, float(low), float(high)))
    return found


@pytest.mark.parametrize(("setting", "low", "high"), numbers(), ids=lambda value: getattr(value, "key", ""))
def test_documented_limits_are_the_limits(setting: Setting, low: float, high: float) -> None:
    """What the documentation of a number allows is accepted at both ends, and nothing beyond either end is."""
    others = {"TRACEWATCHD_WATCH__SETTLE_LIMIT_S": "600", "TRACEWATCHD_DATABASE__CONNECTIONS": "34"}
    if setting.key in {"watch.settle_limit_s", "database.connections"}:
        others = {"TRACEWATCHD_WATCH__SETTLE_S": "0", "TRACEWATCHD_INGEST__WRITERS": "1"}
    for value in (low, high):
        loaded("", others | {setting.variable: f"{value:.15g}"})
    for value in (low - 1, high + 1):
        assert faults("", {setting.variable: f"{value:.15g}"}) == (
            f"{setting.variable}: must be {setting.allowed}, not '{value:.15g}'",
        )


def test_every_number_has_limits_and_its_unit_in_its_name() -> None:
    """No number is without a limit, and no number with a unit hides it."""
    documented = {setting.key for setting, _, _ in numbers()}
    plain = {key for key, setting in SETTINGS.items() if isinstance(setting.default, int | float)}
    assert plain - documented == {"database.pgbouncer", "http.enabled"}
    assert all(setting.description for setting in SETTINGS.values())
    assert SETTINGS["ingest.bytes_in_flight"].unit == SETTINGS["ingest.max_file_bytes"].unit == "bytes"
    assert SETTINGS["ingest.linger_ms"].unit == "milliseconds"
    assert SETTINGS["watch.settle_s"].unit == "seconds"


class TestRoots:
    """watch.roots."""

    def test_a_path_and_a_table(self, tmp_path: Path) -> None:
        """A root's source is its absolute path as given, symlinks kept, unless a table names another."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        roots = loaded('[watch]\nroots = ["link/./", {path = "/mnt/b", source = "b"}]').settings.watch.roots
        assert roots == (
            Root(path=tmp_path / "link", source=str(tmp_path / "link")),
            Root(path=Path("/mnt/b"), source="b"),
        )

    def test_in_a_variable(self) -> None:
        """A variable holds JSON, or paths with colons between them."""
        plain = loaded("", {"TRACEWATCHD_WATCH__ROOTS": "/a:/b:"}).settings.watch.roots
        as_json = loaded("", {"TRACEWATCHD_WATCH__ROOTS": '["/a", {"path": "/b"}]'}).settings.watch.roots
        assert [str(root.path) for root in plain] == ["/a", "/b"]
        assert plain == as_json
        (told,) = faults("", {"TRACEWATCHD_WATCH__ROOTS": '["/a"'})
        assert told.startswith("TRACEWATCHD_WATCH__ROOTS: must be a list of paths")

    def test_on_the_command_line(self) -> None:
        """Paths of the command line stand instead of those of the file."""
        roots = loaded('[watch]\nroots = ["/a"]', None, {"watch.roots": [Path("/b")]}).settings.watch.roots
        assert [root.source for root in roots] == ["/b"]

    def test_a_path_that_is_not_utf8(self) -> None:
        """Any path of the file system can be a root; its source is text all the same."""
        (root,) = loaded("", None, {"watch.roots": [Path(os.fsdecode(b"/a/\xff%"))]}).settings.watch.roots
        assert (bytes(root.path), root.source) == (b"/a/\xff%", "/a/%FF%25")

    @pytest.mark.parametrize(
        ("roots", "told"),
        [
            ('["/a", "/a/b"]', "/a and /a/b overlap; no root may be equal to or inside another"),
            ('[{path = "/a", source = "x"}, "/a"]', "/a and /a overlap"),
            ('["link/x", "real"]', "overlap"),
            ('[{path = "/a", source = "x"}, {path = "/b", source = "x"}]', "/a and /b have the same source x"),
            ('[{path = "/a", source = ""}]', "[0].source: a source may be neither empty"),
            ('[{path = "/a", sauce = "x"}]', "[0].sauce: unknown; allowed: path, source"),
            ('[{path = "/a", source = 3}]', "[0].source: must be"),
            ('["/a", 3]', "[1]: a root is a path, or a table with path and source"),
            ('[""]', "[0]: a root is a path"),
            ('["a\\u0000"]', "[0]: a path may not hold a NUL"),
            (f'["/{"a" * 600}"]', "[0].source: a source may have at most 512 bytes"),
        ],
    )
    def test_faults(self, tmp_path: Path, roots: str, told: str) -> None:
        """Overlaps (symlinks resolved), equal sources and anything that is no root are refused."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        (fault,) = faults(f"[watch]\nroots = {roots}")
        assert fault.startswith(f"{tmp_path / 'tracewatchd.toml'}: watch.roots")
        assert told in fault

    def test_siblings_do_not_overlap(self) -> None:
        """A common beginning of two names is no overlap."""
        assert len(loaded('[watch]\nroots = ["/a/b", "/a/bc"]').settings.watch.roots) == 2


def test_settings_that_contradict_each_other() -> None:
    """What is allowed alone and not together is told with the key to change."""
    told = faults("[watch]\nsettle_s = 10\nsettle_limit_s = 1\n[ingest]\nwriters = 8")
    assert told[0].endswith("watch.settle_limit_s: must be at least watch.settle_s, which is 10")
    assert told[1] == "database.connections (default): must be at least 10, ingest.writers and 2 more"


class TestPostgresVariables:
    """DATABASE_URL and the variables of libpq."""

    def test_all_of_them(self) -> None:
        """The PG* variables become one URL that says the same, and the origin names those that name the database."""
        environ = {
            "PGHOST": "/run/pg,db2",
            "PGPORT": "5432,5433",
            "PGUSER": "u ser",
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": "d/b",
            "PGSSLMODE": "require",
        }
        found = loaded("", environ)
        assert url_of(found) == (
            "postgresql:///d%2Fb?host=/run/pg,db2&port=5432,5433&user=u%20ser&password=s3cret/of%3Aours&sslmode=require"
        )
        assert found.origins["database.url"] == "PGHOST, PGPORT, PGUSER, PGDATABASE"
        assert PASSWORD not in json.dumps(found.shown())

    def test_without_a_database(self) -> None:
        """Without PGDATABASE the server chooses, as with libpq."""
        assert url_of(loaded("", {"PGHOST": "db"})) == "postgresql://?host=db"

    def test_a_password_alone_names_no_database(self) -> None:
        """PGPASSWORD, PGPASSFILE or PGSSLMODE alone leave the embedded server in place."""
        environ = {"PGPASSWORD": PASSWORD, "PGPASSFILE": "/x", "PGSSLMODE": "require", "PGHOST": ""}
        assert loaded("", environ).settings.database.url is None

    def test_database_url_is_stronger(self) -> None:
        """DATABASE_URL stands before the PG* variables."""
        assert url_of(loaded("", {"DATABASE_URL": "postgres://a/b", "PGHOST": "db"})) == "postgres://a/b"


class TestLangsmithVariables:
    """What LangSmith's own SDK reads is understood, as the weakest place."""

    def test_they_are_used(self) -> None:
        """Key, address and workspace; the newer name of a variable before the older one, a path of an API cut off."""
        workspace = "5b1c9f0e-6c55-4c3c-9f43-9d3d9a5e7f10"
        environ = {
            "LANGCHAIN_API_KEY": "older",
            "LANGSMITH_API_KEY": PASSWORD,
            "LANGSMITH_ENDPOINT": "https://eu.api.smith.langchain.com/api/v1/",
            "LANGSMITH_WORKSPACE_ID": workspace,
        }
        found = loaded("", environ)
        chosen = found.settings.langsmith
        assert chosen.api_key is not None
        assert chosen.api_key.get_secret_value() == PASSWORD
        assert (chosen.endpoint, str(chosen.workspace_id)) == ("https://eu.api.smith.langchain.com", workspace)
        assert found.origins["langsmith.api_key"] == "LANGSMITH_API_KEY"
        assert PASSWORD not in repr(found) + json.dumps(found.shown())
        older = loaded("", {"LANGCHAIN_API_KEY": "older"}).settings.langsmith.api_key
        assert older is not None
        assert older.get_secret_value() == "older"

    def test_ours_are_stronger(self) -> None:
        """A configuration file beats them."""
        toml = '[langsmith]\nendpoint = "http://langsmith.local/api"'
        found = loaded(toml, {"LANGSMITH_ENDPOINT": "https://other"})
        assert found.settings.langsmith.endpoint == "http://langsmith.local"

    @pytest.mark.parametrize(
        ("variable", "value", "key"),
        [
            ("LANGSMITH_ENDPOINT", "api.smith.langchain.com", "langsmith.endpoint"),
            ("LANGSMITH_ENDPOINT", f"https://u:{PASSWORD}@host", "langsmith.endpoint"),
            ("LANGSMITH_ENDPOINT", f"https://host?key={PASSWORD}", "langsmith.endpoint"),
            ("LANGSMITH_API_KEY", f"{PASSWORD}\n", "langsmith.api_key"),
            ("LANGSMITH_API_KEY", f"{PASSWORD}\u00fc", "langsmith.api_key"),
        ],
    )
    def test_what_is_refused(self, variable: str, value: str, key: str) -> None:
        """An address that is none or holds a secret, a key that is no header's value: said without the value."""
        assert faults("", {variable: value}) == (f"{variable}: must be {SETTINGS[key].allowed}",)


class TestSecrets:
    """Nothing secret is ever told."""

    @pytest.mark.parametrize(
        "url",
        [
            f"mysql://u:{PASSWORD}@h/d",
            "postgresql://u:pass@word@h/d",
            "postgresql://u:pass/word@h/d",
            "postgresql://u:pass#word@h/d",
            "postgresql://u:pass\\nword@h/d",
            "postgresql://[password",
            "postgresql://u:password",
            "postgresql://h/d?password",
        ],
    )
    def test_a_bad_url_is_reported_without_itself(self, tmp_path: Path, url: str) -> None:
        """A URL in which the password's place is in doubt is refused, and the fault says only what is allowed."""
        expected = f"{tmp_path / 'tracewatchd.toml'}: database.url: {SETTINGS['database.url'].allowed}"
        assert faults(f'[database]\nurl = "{url}"') == (expected,)

    def test_a_url_that_is_no_text(self, tmp_path: Path) -> None:
        """A value of another type is not told either."""
        told = faults("[database]\nurl = 12345")
        assert told == (f"{tmp_path / 'tracewatchd.toml'}: database.url: must be {SETTINGS['database.url'].allowed}",)

    def test_nothing_is_chained(self) -> None:
        """The error carries no pydantic error that holds the values."""
        with pytest.raises(ConfigError) as failed:
            loaded(f'[database]\nurl = "mysql://u:{PASSWORD}@h/d"')
        assert failed.value.__context__ is None
        assert failed.value.__cause__ is None

    def test_repr_and_shown(self) -> None:
        """Neither the repr nor what is shown holds the password; host and database stay readable."""
        found = loaded("", {"DATABASE_URL": "postgresql://u:pa%40ss@h:5432/d?sslmode=require"})
        assert "pa%40ss" not in repr(found)
        assert found.shown()["database.url"] == f"postgresql://u:{MASK}@h:5432/d?sslmode=require"

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("postgresql://h/d", "postgresql://h/d"),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            (
                "postgresql:///d?host=/run/pg&password=x&sslpassword=y",
                f"postgresql:///d?host=/run/pg&password={MASK}&sslpassword={MASK}",
            ),
        ],
    )
    def test_masked(self, url: str, shown: str) -> None:
        """Passwords are masked wherever asyncpg reads them; a URL without one stays as it is."""
        assert masked(url) == shown

    @given(st.text("@:/?#[],=&%2\n\0aé", min_size=1))
    def test_no_url_leaks_its_password(self, tail: str) -> None:
        """Whatever surrounds the password: the URL is refused without it, or shown without it."""
        environ = {"TRACEWATCHD_DATABASE__URL": f"postgresql://u:{PASSWORD.partition('/')[0]}{tail}"}
        try:
            shown = str(load(None, {}, {"TRACEWATCHD_SECRETS_DIR": "secrets", **environ}).shown()["database.url"])
        except ConfigError as error:
            shown = str(error)
        assert "s3cret" not in shown

    def test_files_that_cannot_be_used(self) -> None:
        """An empty, unreadable or undecodable secret, and one with a name that no secret has, are faults."""
        empty = secret("secrets", b" \n")
        assert faults() == (f"{empty}: is empty; a secret file holds the value and nothing else",)
        empty.write_bytes(b"\xff")
        assert faults() == (f"{empty}: is not UTF-8",)
        empty.unlink()
        empty.mkdir()
        assert faults() == (f"{empty}: cannot be read: Is a directory",)
        empty.rmdir()
        other = secret("secrets", b"3", "tracewatchd_ingest__writers")
        secret("secrets", b"x", "of_another_program")
        assert faults() == (f"{other}: no secret setting has this file",)


@pytest.mark.parametrize("variable", ["missing,stale,orphan", '["orphan", "stale", "missing"]'])
def test_what_the_daemon_repairs(variable: str) -> None:
    """A list of fixes: in the file, or in a variable as names with commas or as JSON."""
    assert loaded("").settings.sweep.repairs == (FixKind.MISSING, FixKind.STALE)
    in_file = loaded('[sweep]\nrepairs = ["missing", "stale", "orphan"]').settings.sweep.repairs
    in_variable = loaded("", {"TRACEWATCHD_SWEEP__REPAIRS": variable}).settings.sweep.repairs
    assert set(in_file) == set(in_variable) == BY_DEFAULT


@pytest.mark.parametrize(
    ("repairs", "told"),
    [
        ("missing,stale,everything", "must be a list of missing, stale, orphan, "),
        ("missing", "missing and stale must be in it"),
        ("missing,stale,gone,gone-rows", "only one of them can be in it"),
        ("{}", "must be a list of"),
    ],
)
def test_faults_of_what_the_daemon_repairs(repairs: str, told: str) -> None:
    """An unknown fix, one that must not be missing, and two that contradict each other."""
    (fault,) = faults("", {"TRACEWATCHD_SWEEP__REPAIRS": repairs})
    assert fault.startswith("TRACEWATCHD_SWEEP__REPAIRS")
    assert told in fault


PROJECT = {"project": "Support Bot", "retention_days": 14, "first_day": "2026-08-01"}


def test_projects_whose_retention_is_watched() -> None:
    """They are tables of the file, or JSON in the variable; a day may be TOML's own."""
    toml = '[retention]\nprojects = [{project = "Support Bot", retention_days = 14, first_day = 2026-08-01}]'
    (in_file,) = loaded(toml).settings.retention.projects
    (in_variable,) = loaded("", {"TRACEWATCHD_RETENTION__PROJECTS": json.dumps([PROJECT])}).settings.retention.projects
    assert in_file == in_variable
    assert (in_file.directory_name, in_file.first_day.isoformat()) == ("Support Bot", "2026-08-01")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([PROJECT | {"retention_days": 30}], "[0].retention_days: must be a list of tables"),
        ([PROJECT | {"days": 1}], "[0].days: unknown; allowed: project, retention_days, first_day, folder, source"),
        ([PROJECT | {"project": "a/b"}], "[0]: 'a/b' can be no directory's name; say what it is with folder"),
        ([PROJECT | {"folder": ".."}], "[0]: '..' can be no directory's name; say what it is with folder"),
        ([PROJECT, {**PROJECT, "source": "s"}], ": Support Bot stands there twice"),
        ([PROJECT | {"source": "other"}], ": Support Bot: no root has the source other"),
    ],
)
def test_projects_that_cannot_be_watched(given: list[dict[str, object]], told: str) -> None:
    """A table that means nothing, or another than was meant, is a fault that names it."""
    environ = {"TRACEWATCHD_RETENTION__PROJECTS": json.dumps(given)}
    roots = [{"path": "x", "source": "s"}]
    (fault,) = faults("", environ, {"watch.roots": roots})
    assert fault.startswith(f"TRACEWATCHD_RETENTION__PROJECTS{told}")


def test_a_source_may_be_named_before_its_root() -> None:
    """Where no root is configured (they may stand on a command line), a project's source is taken as it is."""
    environ = {"TRACEWATCHD_RETENTION__PROJECTS": json.dumps([PROJECT | {"source": "other"}])}
    assert loaded("", environ).settings.retention.projects[0].source == "other"
