"""What sweeps found, written down: one object, and the forms that are made from it."""

from tracewatchd.reconcile.report.data import as_data, due_lines, worst_verdict
from tracewatchd.reconcile.report.write import SUFFIXES, check_suffix, write_report

__all__ = ["SUFFIXES", "as_data", "check_suffix", "due_lines", "worst_verdict", "write_report"]
