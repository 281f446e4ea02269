"""``python -m tracewatchd`` is ``tracewatchd``."""

from tracewatchd.cli.main import main

main()
