DELETE FROM {schema}.ledger WHERE source = $1 AND path = ANY ($2::text[]) RETURNING path
