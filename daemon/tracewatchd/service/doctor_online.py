"""What the doctor says of LangSmith and Google Drive: whether what is configured for them is accepted.

Nothing is asked of whoever is not configured. Each gets one short attempt: a service that is away is not checked.
"""

from __future__ import annotations

from tracewatchd.model.diagnosis import Trouble
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.events import Tell
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.doctor import Check, in_thread
from tracewatchd.settings import Settings

_LIMIT_S = 10.0
_PROJECTS = 20
"""Of more projects only these are asked for."""


class Online:
    """The checks of what lies beyond this machine."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self._archiving = Archiving(_hasty(settings), tell)

    def checks(self) -> list[Check]:
        """Both of them."""
        return [Check("langsmith", self._langsmith, 3 * _LIMIT_S), Check("drive", self._drive, 3 * _LIMIT_S)]

    async def _langsmith(self) -> list[Trouble]:
        troubles: list[Trouble] = []
        if self._archiving.settings.langsmith.api_key is None:
            return troubles
        async with self._archiving.langsmith() as langsmith:
            await langsmith.admit()
            for kept in self._archiving.settings.retention.projects[:_PROJECTS]:
                try:
                    await langsmith.project_id(kept.project)
                except PermanentError as error:
                    troubles.append(Trouble("langsmith", "error", str(error), error.hint, source=kept.source))
        return troubles

    async def _drive(self) -> list[Trouble]:
        chosen = self._archiving.settings.drive
        is_named = chosen.folder is not None or chosen.credentials_file is not None
        if not is_named and not await in_thread(lambda: self._archiving.has_drive_login):
            return []
        async with self._archiving.drive() as drive:
            await drive.archive()
        return []


def _hasty(settings: Settings) -> Settings:
    """The same settings with little patience."""
    quick = {"patience_s": 0.0, "request_timeout_s": _LIMIT_S}
    return settings.model_copy(
        update={
            "langsmith": settings.langsmith.model_copy(update=quick),
            "drive": settings.drive.model_copy(update=quick),
        }
    )
