-- Some of the runs whose files lie between two paths, whatever the source: one look into the ledger for each.
SELECT found.run_id
FROM {schema}.sources s
CROSS JOIN LATERAL (
    SELECT l.run_id
    FROM {schema}.ledger l
    WHERE l.source = s.source AND l.path >= $1 AND l.path < $2 AND l.state = 'acknowledged'
    ORDER BY l.path
    LIMIT $3
) AS found
LIMIT $3
