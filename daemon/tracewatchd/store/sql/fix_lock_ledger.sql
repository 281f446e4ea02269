SELECT path FROM {schema}.ledger WHERE source = $1 AND path = ANY ($2::text[]) ORDER BY path FOR UPDATE
