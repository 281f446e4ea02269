from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

from command_tree import Found, commands, examples, groups
from tracewatchd.cli import options
from tracewatchd.cli.main import program
from tracewatchd.settings import SETTINGS

COMMANDS = commands()
NAMES = [" ".join(found.words) for found in COMMANDS]


def numeric_options() -> list[tuple[Found, Any]]:
    """Every option of every command that has limits."""
    return [(found, option) for found in COMMANDS for option in found.parameters if option.min is not None]


def options_table() -> dict[str, Any]:
    """Every option and argument that the table holds, by its alias."""
    return {name: alias for name, alias in vars(options).items() if hasattr(alias, "__metadata__")}


def declared_names(entry: Any) -> list[str]:
    """The names of an option in the table; typer keeps the first of them as the default of an annotation."""
    return [name for given in (entry.default, *(entry.param_decls or ())) if given for name in str(given).split("/")]


def meaning(option: Any) -> tuple[object, ...]:
    """What must be the same wherever an option of this name is taken."""
    return (
        tuple(option.opts),
        tuple(option.secondary_opts),
        option.help,
        option.metavar,
        option.default,
        str(option.type_descriptor.annotation),
        option.min,
        option.max,
    )


def test_one_name_has_one_meaning() -> None:
    """Long and short names mean the same, with the same type, range, default and help, in every command."""
    seen: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
    for found in COMMANDS:
        for option in found.parameters:
            for name in (*option.opts, *option.secondary_opts):
                seen[name].add(meaning(option))
    assert {name: meanings for name, meanings in seen.items() if len(meanings) > 1} == {}


def test_every_option_comes_from_the_table() -> None:
    """No command declares an option or argument of its own."""
    known = {alias.__metadata__[0].help for alias in options_table().values()}
    strays = {
        (found.words, option.name) for found in COMMANDS for option in found.parameters if option.help not in known
    }
    assert strays == set()


def test_the_table_holds_no_name_twice() -> None:
    """No two entries of the table share a long or a short name, or the help."""
    declared = [alias.__metadata__[0] for alias in options_table().values()]
    names = [name for entry in declared if isinstance(entry, OptionInfo) for name in declared_names(entry)]
    assert len(names) == len(set(names))
    assert len({entry.help for entry in declared}) == len(declared)


@pytest.mark.parametrize("found", COMMANDS, ids=NAMES)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_each_help_is_whole(found: Found, option: str) -> None:
    """Help says what the command does, every exit status, and an example that calls this very command."""
    result = CliRunner().invoke(program(), [*found.words, option])
    assert result.exit_code == 0
    assert re.search(r"(?m)^  EXIT STATUS\n +0  \S", result.stdout)
    assert re.search(r"(?m)^  Example:\n    tracewatchd ", result.stdout)
    assert found.command.help
    assert found.examples
    for example in found.examples:
        assert example[: len(found.words) + 1] == ["tracewatchd", *found.words]
        assert " ".join(example) in re.sub(r"\s+", " ", result.stdout.replace("'", "").replace('"', ""))


def test_examples_are_collected() -> None:
    """The lines that are run by the acceptance test are those of every command."""
    assert ["tracewatchd", "config", "check"] in examples()
    assert len(examples()) >= len(COMMANDS)


@pytest.mark.parametrize("found", groups(), ids=lambda found: " ".join(found.words) or "tracewatchd")
def test_a_group_alone_shows_its_help(found: Found) -> None:
    """A group without a command is wrong usage and shows what there is."""
    result = CliRunner().invoke(program(), list(found.words))
    assert result.exit_code == 2
    assert "Commands:" in result.stderr
    assert all(name in result.stderr for name in found.command.commands)


def test_a_number_out_of_range_names_the_range() -> None:
    """Exit 2 in every command, and the message holds both limits, beyond either end and for what is no number."""
    for found, option in numeric_options():
        for value in (option.min - 1, option.max + 1, "x"):
            result = CliRunner().invoke(program(), [*found.words, f"{option.opts[0]}={value}"])
            assert result.exit_code == 2
            assert f"from {option.min} to {option.max}" in result.stderr


@pytest.mark.parametrize("name", options_table())
def test_the_table_itself(name: str) -> None:
    """Each entry by itself: a range is named when it is left, a bad day names the form, a good value arrives."""
    alias = options_table()[name]
    entry = alias.__metadata__[0]
    small = typer.Typer(rich_markup_mode=None)

    def probe(value: Any = None) -> None:
        typer.echo(repr(value))

    probe.__annotations__["value"] = alias
    small.command()(probe)

    def run(text: str) -> Any:
        return CliRunner().invoke(small, [f"{declared_names(entry)[0]}={text}"])

    if entry.min is not None:
        for text in (str(entry.min - 1), str(entry.max + 1), "x", "nan"):
            assert run(text).exit_code == 2
            assert f"from {entry.min} to {entry.max}" in run(text).stderr
        assert float(run(str(entry.max)).stdout) == entry.max
    elif entry.metavar == "YYYY-MM-DD":
        for text in ("2025-13-01", "20250829", "2025-W35-5", "yesterday"):
            assert run(text).exit_code == 2
            assert "YYYY-MM-DD" in run(text).stderr
        assert run("2025-08-29").stdout == "datetime.date(2025, 8, 29)\n"


def test_one_range_of_batches() -> None:
    """The option and the setting allow the same batches."""
    entry = options_table()["BatchSize"].__metadata__[0]
    assert SETTINGS["ingest.batch_rows"].allowed == f"a whole number from {entry.min} to {entry.max}"
