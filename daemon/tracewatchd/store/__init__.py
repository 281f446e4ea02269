"""Postgres: schema, the one transaction, error classes, leases, the availability gate, the embedded server."""
