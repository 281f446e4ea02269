"""What the documents name exists: commands, options, events, settings, files, make targets."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from command_tree import commands, groups
from tracewatchd.cli.main import program
from tracewatchd.edges.day_folder import ERRORS
from tracewatchd.model.events import catalogue
from tracewatchd.settings import CONFIG_VARIABLE, SECRETS_VARIABLE, SETTINGS, load

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
OTHERS = [
    REPOSITORY / "config.example.toml",
    REPOSITORY / "Dockerfile",
    *sorted((REPOSITORY / "systemd").glob("**/*.service")),
    *sorted((REPOSITORY / "systemd").glob("**/*.conf")),
    *sorted((REPOSITORY / "docs" / "deploy").glob("*.yaml")),
]
DOCUMENTS = [*PAGES, *OTHERS]
COMMANDS = {found.words: found for found in commands()}
GROUPS = {found.words for found in groups()}


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _code(path: Path) -> list[str]:
    """Every piece of code: spans between backticks, and lines of fenced blocks; what a unit starts is code too."""
    text = path.read_text()
    if path.suffix != ".md":
        return [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"(?m)^ExecStart=(.*)", text)]
    fence = r"(?ms)^```[a-z]*\n(.*?)^```"
    blocks = [line for block in re.findall(fence, text) for line in block.splitlines()]
    return [*blocks, *re.findall(r"`([^`]+)`", re.sub(fence, "", text))]


def _calls(code: str) -> Iterator[list[str]]:
    """The words after each `tracewatchd` that is called in a piece of code."""
    for call in re.findall(r"(?:^|[\s(\"]|bin/)tracewatchd((?: +[^\s\")|;#&]+)+)", code):
        yield shlex.split(call.replace("'", ""))


def _command_of(words: list[str]) -> tuple[str, ...]:
    """The command that these words begin with."""
    taken: tuple[str, ...] = ()
    for word in words:
        if taken not in GROUPS or word.startswith("-"):
            break
        taken = (*taken, word)
    return taken


def _options(words: tuple[str, ...]) -> set[str]:
    found = COMMANDS[words].parameters if words in COMMANDS else get_command(program()).params
    return {"-h", "--help"} | {name for option in found for name in (*option.opts, *option.secondary_opts)}


def _faults_of(call: list[str]) -> list[str]:
    """What a call names that does not exist; `a|b` stands for either."""
    words = _command_of(call)
    faults = []
    for one in words[-1].split("|") if words else ():
        command = (*words[:-1], one)
        if command not in COMMANDS and command not in GROUPS:
            faults.append(" ".join(command))
        else:
            given = {word.partition("=")[0] for word in call[len(words) :] if word.startswith("-")}
            faults += [f"{' '.join(command)} {option}" for option in given - _options(command)]
    return faults


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_commands_that_are_named_exist(path: Path) -> None:
    """Every `tracewatchd ...` names a command, and only options that this very command takes."""
    assert [fault for code in _code(path) for call in _calls(code) for fault in _faults_of(call)] == []


def test_commands_that_hints_name_exist() -> None:
    """What messages and hints of the program tell an operator to run can be run."""
    hints = [
        (path.name, call)
        for path in sorted((REPOSITORY / "daemon").rglob("*.py"))
        for code in re.findall(r"`(tracewatchd [^`]+)`", path.read_text())
        for call in _calls(code)
    ]
    assert len(hints) > 5
    assert [(name, fault) for name, call in hints for fault in _faults_of(call)] == []


def test_the_checks_see_a_slip() -> None:
    """A command, a subcommand and an option that do not exist are found where they are called."""
    calls = "$ TZ=x tracewatchd db url; (tracewatchd db upgrade) && /opt/bin/tracewatchd runs ./data"
    assert list(_calls(calls)) == [["db", "url"], ["db", "upgrade"], ["runs", "./data"]]
    assert _faults_of(["db", "url"]) == []
    assert _faults_of(["db", "init|upgrade"]) == ["db upgrade"]
    assert _faults_of(["reconcile", "--once", "--fast"]) == ["reconcile --fast"]
    assert _faults_of(["runs", "./data"]) == ["runs"]


def test_every_command_is_in_the_readme() -> None:
    """A newcomer finds every command there; several of one group stand as `group first`, `second`."""
    named: set[tuple[str, ...]] = set()
    for line in (REPOSITORY / "README.md").read_text().splitlines():
        spans = re.findall(r"`([^`]+)`", line)
        for call in (call for code in spans[:1] for call in _calls(code)):
            words = _command_of(call)
            named |= {words, *((*words[:-1], other) for other in spans[1:])}
    assert set(COMMANDS) - named == set()


def test_options_that_stand_alone_exist() -> None:
    """An option that a page names without its command is one of some command."""
    known = set().union(*map(_options, (*COMMANDS, ())))
    named = {(path.name, code) for path in PAGES for code in _code(path) if re.fullmatch(r"--[a-z-]+", code)}
    assert named
    assert {option for option in named if option[1] not in known} == set()


def _dotted() -> list[tuple[str, str]]:
    """Names of the form `noun.word` in code of the pages: events, settings and files have it."""
    form = r"[a-z_]+\.[a-z_]+"
    return [(path.name, code) for path in PAGES for code in _code(path) if re.fullmatch(form, code)]


def test_events_and_settings_that_are_named_exist() -> None:
    """Each `noun.word` is an event of the catalogue, a setting, or a file of this repository or of a day."""
    files = {path.name for path in REPOSITORY.iterdir()} | {"settings.py", ERRORS}
    named = _dotted()
    assert {"store.unavailable", "log.format"} <= {code for _, code in named}
    assert [found for found in named if found[1] not in {*catalogue(), *SETTINGS, *files}] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_variables_that_are_named_exist(path: Path) -> None:
    """Every TRACEWATCHD_ variable sets something."""
    known = {setting.variable for setting in SETTINGS.values()} | {CONFIG_VARIABLE, SECRETS_VARIABLE}
    named = set(re.findall(r"\bTRACEWATCHD_[A-Z_]+", path.read_text()))
    assert named - known - {"TRACEWATCHD_"} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_secret_files_that_are_named_exist(path: Path) -> None:
    """A credential of systemd or a secret of Docker that a document names is one that settings look for."""
    text = path.read_text()
    # Of a directory, systemd puts the name and an underscore before each file's.
    text = re.sub(r"LoadCredential=tracewatchd:\S+/credentials\b", "", text)
    named = set(re.findall(r"LoadCredential=([^:\s`]+):", text)) | set(
        re.findall(r"(?<!POSTGRES_PASSWORD_FILE: )/run/secrets/(\w+)", text)
    )
    assert named <= {setting.secret_file for setting in SETTINGS.values() if setting.secret}


def test_the_readme_s_configuration_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The TOML that the README shows is a configuration."""
    (block,) = re.findall(r"(?ms)^```toml\n(.*?)^```", (REPOSITORY / "README.md").read_text())
    file = tmp_path / "readme.toml"
    file.write_text(block)
    given = {f"{section}.{name}" for section, table in tomllib.loads(block).items() for name in table}
    loaded = load(file, {}, {SECRETS_VARIABLE: str(tmp_path)})
    assert {key for key, origin in loaded.origins.items() if origin != "default"} == given


def _links(path: Path) -> list[str]:
    text = path.read_text()
    return [link for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link is a file, and where it names a heading the file has it."""
    broken = []
    for link in _links(path):
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (heading and heading not in _headings(target)):
            broken.append(link)
    assert broken == []


def _headings(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"(?m)^#+ (.+)$", path.read_text())
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", [*DOCUMENTS, REPOSITORY / ".ci" / "run"], ids=_name)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    """Every `make word` is a target that `make help` explains."""
    explained = set(re.findall(r"(?m)^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text()))
    called = {word for code in _code(path) for word in re.findall(r"(?:^|\$ )make ([a-z-]+)\b(?! [a-z])", code)}
    assert called <= explained


def test_the_rooms_are_described() -> None:
    """ARCHITECTURE.md has a line for each room of the package, and for no other."""
    package = REPOSITORY / "daemon" / "tracewatchd"
    rooms: set[str] = {f"{entry.name}/" for entry in package.iterdir() if (entry / "__init__.py").exists()}
    described: list[Any] = re.findall(r"(?m)^\| `(\w+/)` \|", (REPOSITORY / "ARCHITECTURE.md").read_text())
    assert sorted(described) == sorted(rooms)
