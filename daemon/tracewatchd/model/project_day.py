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

    @property
    def directory(self) -> str:
        """``<project folder>/<YYYY-MM-DD>``."""
        return f"{self.folder}/{self.day.isoformat()}"


def folder_of(project: str) -> str:
    """The folder that a project is fetched into: its name in lower case, with ``-`` for all but word characters and ``.-``.

    Raises:
        ValueError: nothing is left of the name.
    """
    slug = _NOT_PLAIN.sub("-", project.strip().lower()).strip("-.")
    if not slug:
        raise ValueError(f"no folder can be named after the project {project!r}")
    return encode_path(slug.encode("utf-8", "surrogatepass"))
