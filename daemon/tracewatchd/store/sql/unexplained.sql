-- Those of these runs that no ledger row, of any source, names.
SELECT u.run_id
FROM unnest($1::uuid[]) AS u (run_id)
LEFT JOIN {schema}.ledger a ON a.run_id = u.run_id AND a.state = 'acknowledged'
WHERE a.run_id IS NULL
    AND u.run_id NOT IN (
        SELECT q.run_id FROM {schema}.ledger q WHERE q.state = 'quarantined' AND q.run_id IS NOT NULL
    )
