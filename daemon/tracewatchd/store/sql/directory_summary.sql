-- One directory's ledger rows as one text, the way a walk makes it of the files (edges/survey.py), and a sum over run ids
-- and sha256s that runs_sum.sql makes of the rows. $2 and $3 bound the paths, $4 is where a name begins in them, $5 says
-- whether the files were read. With $6, files that were told as gone are in the sum but not in the text.
SELECT count(*) FILTER (WHERE NOT told) AS files,
    count(*) FILTER (WHERE NOT told AND state = 'quarantined') AS quarantined,
    sha256(convert_to(coalesce(string_agg(line, E'\n') FILTER (WHERE NOT told), ''), 'UTF8')) AS fingerprint,
    count(*) FILTER (WHERE state = 'acknowledged') AS runs,
    sum(hash) FILTER (WHERE state = 'acknowledged') AS sum,
    coalesce((array_agg(run_id) FILTER (WHERE state = 'acknowledged'))::text, '{}') AS run_ids
FROM (
    SELECT substr(path, $4) || E'\t' || size_bytes || E'\t' || mtime_ns || E'\t' || ctime_ns || E'\t'
            || CASE WHEN $5 THEN coalesce(encode(file_sha256, 'hex'), '') ELSE '' END AS line,
        state, run_id, hashtextextended(encode(file_sha256, 'hex'), uuid_hash_extended(run_id, 0)) AS hash,
        $6 AND path IN (SELECT g.path FROM {schema}.gone g WHERE g.source = $1 AND g.path > $2 AND g.path < $3) AS told
    FROM {schema}.ledger
    WHERE source = $1 AND path > $2 AND path < $3
    ORDER BY path
) AS f
