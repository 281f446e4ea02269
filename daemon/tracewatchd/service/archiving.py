"""What archive verbs are made of that need no database."""

from __future__ import annotations

import os
from pathlib import Path

from tracewatchd.model.events import Tell
from tracewatchd.service.assemble import place_of
from tracewatchd.settings import Settings
from tracewatchd.store.embedded import default_directory


class Archiving:
    """Everything that is made from the settings for verbs between LangSmith, files, zips and Drive."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self.settings = settings
        self.tell = tell
        self.places = tuple(map(place_of, settings.watch.roots))

    @property
    def zip_dir(self) -> Path:
        """Where zips lie: ``<project folder>/<YYYY-MM-DD>.zip`` below it."""
        return self.settings.archive.zip_dir or default_directory(os.environ) / "zips"

    @property
    def state_dir(self) -> Path:
        """Where hints lie whose loss costs time only: cursors and upload sessions."""
        return self.settings.archive.state_dir or default_directory(os.environ) / "archive"
