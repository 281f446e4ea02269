-- What a sweep of depth $2, begun at $3, said of project-days. The last one to say it is right, whatever the clocks say.
INSERT INTO {schema}.project_days (source, directory, depth, verified_at, verdict, files, counts)
SELECT $1, u.directory, $2, $3, u.verdict, u.files, u.counts
FROM jsonb_to_recordset($4::jsonb) AS u (directory text, verdict text, files integer, counts jsonb)
ORDER BY u.directory COLLATE "C"
ON CONFLICT (source, directory, depth) DO UPDATE SET
    verified_at = excluded.verified_at,
    verdict = excluded.verdict,
    files = excluded.files,
    counts = excluded.counts
