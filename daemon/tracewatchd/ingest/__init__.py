"""The line: paths in, committed rows and receipts out."""
