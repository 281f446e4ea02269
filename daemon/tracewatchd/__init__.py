"""tracewatchd: every LangSmith run file on disk is a row in Postgres, and there is a proof."""

__version__ = "0.1.0"
