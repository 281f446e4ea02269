"""A report's form follows from the end of its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tracewatchd.edges.writing import write_file
from tracewatchd.model.findings import VerificationResult
from tracewatchd.reconcile.report import machine, markdown
from tracewatchd.reconcile.report.data import Data, as_data


def _page(data: Data) -> str:
    from tracewatchd.reconcile.report import page  # noqa: PLC0415 - only this form needs the template engine

    return page.html(data)


_FORMS: Mapping[str, Callable[[Data], str]] = {
    ".json": machine.one_object,
    ".jsonl": machine.lines,
    ".csv": machine.table,
    ".md": markdown.text,
    ".html": _page,
}

SUFFIXES = tuple(_FORMS)
"""The ends of a report's name that say what form it has."""


def check_suffix(path: Path) -> Path:
    """The path itself, where its name says which form the report has.

    Raises:
        ValueError: it does not.
    """
    if path.suffix not in _FORMS:
        raise ValueError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    return path


def write_report(results: Sequence[VerificationResult], path: Path) -> None:
    """Write what these sweeps found, in one step, in the form that the end of the name asks for.

    Raises:
        ValueError: no form has this end.
        TransientError: The disk is full or failing.
        PermanentError: Nothing can be written there.
    """
    text = _FORMS[check_suffix(path).suffix](as_data(results))
    # Lone surrogates, which UTF-8 does not have, are escaped as JSON writes them.
    write_file(path, text.encode("utf-8", "backslashreplace"))
