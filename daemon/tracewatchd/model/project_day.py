"""The unit of every archive verb: one project's folder on one UTC day."""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from tracewatchd.model.layout import encode_path

_NOT_PLAIN = re.compile(r"[^\w.-]+")


class ProjectDay(NamedTuple):
    """A project's folder, in the spelling of `tracewatchd.model.layout`, and a UTC day."""

    folder: str
    day: date

    @classmethod
    def of(cls, directory: str) -> ProjectDay:
        """The project-day that a directory ``<project folder>/<YYYY-MM-DD>`` is.

        Raises:
            ValueError: the directory is no such thing.
        """
        folder, _, day = directory.partition("/")
        return cls(folder, date.fromisoformat(day))

    @property
    def directory(self) -> str:
        """``<project folder>/<YYYY-MM-DD>``."""
        return f"{self.folder}/{self.day.isoformat()}"


def folder_of(project: str) -> str:
    """The folder that a project is fetched into: its name in lower case, each run of other characters a ``-``.

    Word characters, ``.`` and ``-`` stay, wherever they are not at an end of the name.

    Raises:
        ValueError: nothing is left of the name.
    """
    slug = _NOT_PLAIN.sub("-", project.strip().lower()).strip("-.")
    if not slug:
        raise ValueError(f"no folder can be named after the project {project!r}")
    return encode_path(slug.encode("utf-8", "surrogatepass"))
