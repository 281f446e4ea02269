"""The house keeps its own rules: rooms, tests with claims, reasons for exceptions, pinned dependencies."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
ROOMS = {"cli", "service", "archive", "reconcile", "ingest", "store", "edges", "model"}
ALLOWED = {
    "daemon",
    "systemd",
    "tests",
    "docs",
    "benchmarks",
    "alerts",
    ".ci",
    "config.example.toml",
    "pyproject.toml",
    "constraints.txt",
    "Dockerfile",
    ".dockerignore",
    ".gitignore",
    "Makefile",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
}
_REASON = r"(- |# |\()\w.{3,}"
EXCEPTIONS = {
    "noqa": re.compile(rf"# (ruff: )?noqa: [A-Z]+\d+(, ?[A-Z]+\d+)* +{_REASON}"),
    "type: ignore": re.compile(rf"# type: ignore\[[a-z-]+(, ?[a-z-]+)*\] +{_REASON}"),
    "pragma": re.compile(rf"# pragma: no (cover|branch) +{_REASON}"),
}
"""How a comment that makes an exception must look: what is excepted, and why."""
_EVERY_ERROR = {"", "Exception", "BaseException"}


def _sources(*directories: str) -> Iterator[Path]:
    for directory in directories:
        yield from sorted((REPOSITORY / directory).rglob("*.py"))


def _place(path: Path, line: int) -> str:
    return f"{path.relative_to(REPOSITORY)}:{line}"


def test_imports_only_fall() -> None:
    """The import contracts hold, and there are contracts."""
    tool = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run(
        [tool, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout
    assert "Contracts: 5 kept, 0 broken." in result.stdout


def test_there_are_no_other_rooms() -> None:
    """Every directory of the package is a room that the import contracts know, and daemon/ is no package itself."""
    package = REPOSITORY / "daemon" / "tracewatchd"
    found = {entry.name for entry in package.iterdir() if entry.is_dir() and entry.name != "__pycache__"}
    assert found == ROOMS
    layers = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0][
        "layers"
    ]
    assert {room for layer in layers for room in layer.split(" | ")} == ROOMS
    assert not (REPOSITORY / "daemon" / "__init__.py").exists()


def test_every_test_states_its_claim() -> None:
    """Each test has a docstring of whole sentences, so that a reader knows what is true when it is green."""
    silent = []
    for path in _sources("tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                claim = " ".join((ast.get_docstring(node) or "").split())
                if not claim.endswith(".") or len(claim.split()) < 3:
                    silent.append(f"{_place(path, node.lineno)} {node.name}: {claim!r}")
    assert silent == []


def test_no_error_is_swallowed_whole() -> None:
    """What catches every error, whatever it is, stands nowhere, in tests neither."""
    caught = []
    for path in _sources("daemon", "tests", "benchmarks", "docs", "alerts"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                what = [node.type]
            elif isinstance(node, ast.Call) and "suppress" in _names(node.func):
                what = list(node.args)
            else:
                continue
            caught += [_place(path, node.lineno) for one in what if _names(one) & _EVERY_ERROR]
    assert caught == []


def _names(node: ast.expr | None) -> set[str]:
    """The plain names of an expression's parts; an empty one stands for nothing at all."""
    if node is None:
        return {""}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "?") for part in parts}


def test_every_exception_has_its_reason() -> None:
    """Each noqa, type-ignore and pragma names what it excepts and says why."""
    bare = []
    for path in _sources("daemon", "tests", "benchmarks", "docs", "alerts"):
        for line, comment in _comments(path):
            for word, form in EXCEPTIONS.items():
                if re.match(rf"# (ruff: )?{word}", comment) and not form.match(comment):
                    bare.append(f"{_place(path, line)} {comment}")
    assert bare == []


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


@pytest.mark.parametrize(
    ("word", "comment"),
    [
        ("noqa", "# noqa: S101 - tells the type checker"),
        ("noqa", "# noqa: S101, S102  # two of them"),
        ("noqa", "# ruff: noqa: ASYNC220 - nothing else runs"),
        ("type: ignore", "# type: ignore[arg-type]  # a double"),
        ("pragma", "# pragma: no cover - cannot happen"),
    ],
)
def test_what_counts_as_a_reason(word: str, comment: str) -> None:
    """The rule above takes an exception with a reason, and none whose reason or code is left out."""
    assert EXCEPTIONS[word].match(comment)
    assert not EXCEPTIONS[word].match(re.split(r" +(?:- |# )(?=[a-z]\w* \w)", comment)[0])
    assert not EXCEPTIONS[word].match(f"# {word}")


def test_nothing_lies_about() -> None:
    """The top level holds what a newcomer expects there, and what .gitignore leaves out."""
    ignored = [line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().split()]
    names = {entry.name for entry in REPOSITORY.iterdir()}
    found = {name for name in names if not any(fnmatch.fnmatch(name, glob) for glob in ignored)}
    assert found - {".git"} <= ALLOWED
    assert ALLOWED - found <= {"alerts"}


# ---------------------------------------------------------------------------------------------------------------------
# Dependencies


def _wanted() -> list[Requirement]:
    """Every requirement of pyproject.toml, extras included."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return [wanted for wanted in map(Requirement, lines) if wanted.name != project["name"]]


def _pins() -> dict[str, Version]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): Version(version) for name, _, version in (line.partition("==") for line in lines)}


def _needed(wanted: list[Requirement]) -> dict[str, list[Requirement]]:
    """What these requirements come to here, theirs included: by name, everything that is asked of it."""
    needed: dict[str, list[Requirement]] = {}
    waiting = list(wanted)
    while waiting:
        one = waiting.pop()
        asked = needed.setdefault(canonicalize_name(one.name), [])
        if str(one) in map(str, asked):
            continue
        asked.append(one)
        waiting += [other for other in map(Requirement, requires(one.name) or ()) if _applies(other, one.extras)]
    return needed


def _applies(wanted: Requirement, extras: set[str]) -> bool:
    return wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in {"", *extras})


def test_exactly_what_is_needed_is_pinned() -> None:
    """constraints.txt pins every package that is installed for pyproject.toml, and no other."""
    assert set(_pins()) == set(_needed(_wanted()))


def test_pins_are_what_is_asked_for() -> None:
    """No pin contradicts a bound of pyproject.toml or of another package, and each direct requirement has a bound."""
    pins = _pins()
    asked = [one for requirements in _needed(_wanted()).values() for one in requirements]
    assert [str(one) for one in asked if pins[canonicalize_name(one.name)] not in one.specifier] == []
    assert [str(one) for one in _wanted() if not one.specifier] == []
