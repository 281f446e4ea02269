"""tracewatchd: every LangSmith run file on disk is a row in Postgres, and there is a proof."""

from importlib.metadata import version

__version__ = version("tracewatchd")
