"""Sweeps: the directory against the ledger, which is the truth that hints only hurry."""
