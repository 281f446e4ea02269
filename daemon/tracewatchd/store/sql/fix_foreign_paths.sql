-- Of these paths, which this transaction wrote and had not locked before, those whose row somebody else inserted.
SELECT path FROM {schema}.ledger WHERE source = $1 AND path = ANY ($2::text[]) AND xmax <> 0
