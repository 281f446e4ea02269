"""Exit statuses: the one table from which commands exit and from which their help is written."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a command's exit status says."""

    OK = 0
    FOUND = 1
    USAGE = 2
    NOT_CHECKED = 3
    POISON = 65
    PERMANENT = 70
    TRANSIENT = 75
    CONFIG = 78
    INTERRUPTED = 130


LOADING: dict[Exit, str] = {
    Exit.OK: "done; quarantined files that were known before are told as a count",
    Exit.FOUND: "done, but quarantine grew or a step failed",
    Exit.USAGE: "wrong usage",
    Exit.POISON: "the one file that was named cannot be stored",
    Exit.PERMANENT: "our surroundings are wrong (role, schema, credentials); retrying will not help",
    Exit.TRANSIENT: "gave up after retrying what usually heals",
    Exit.CONFIG: "the configuration cannot be used",
    Exit.INTERRUPTED: "interrupted twice",
}

CHECKING: dict[Exit, str] = {
    Exit.OK: "no finding of severity error or above",
    Exit.FOUND: "findings stand (the state after repair); --strict counts warnings too",
    Exit.USAGE: "wrong usage",
    Exit.NOT_CHECKED: "could not check: store away, root missing, or busy",
    Exit.CONFIG: "the configuration cannot be used",
    Exit.INTERRUPTED: "interrupted",
}
