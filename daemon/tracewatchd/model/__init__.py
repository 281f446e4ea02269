"""Pure words and rules: nothing here does I/O or logs."""
