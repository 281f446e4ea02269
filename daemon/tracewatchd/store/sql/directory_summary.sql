-- One directory's ledger rows as one text, the way a walk makes it of the files (edges/survey.py), and a sum over run ids
-- and sha256s that runs_sum.sql makes of the rows. $2 and $3 bound the paths, $4 says whether the files were read. With
-- $5, files that were told as gone are in the sum but not in the text.
SELECT count(*) FILTER (WHERE NOT told) AS files,
    count(*) FILTER (WHERE NOT told AND state = 'quarantined') AS quarantined,
    sha256(convert_to(coalesce(string_agg(line, E'\n') FILTER (WHERE NOT told), ''), 'UTF8')) AS fingerprint,
    count(*) FILTER (WHERE state = 'acknowledged') AS runs,
    sum(hash) FILTER (WHERE state = 'acknowledged') AS sum,
    coalesce(string_agg(run_id::text, ',') FILTER (WHERE state = 'acknowledged'), '') AS run_ids
FROM (
    SELECT concat_ws(
            E'\t', path, size_bytes, mtime_ns, ctime_ns,
            CASE WHEN $4 AND file_sha256 IS NOT NULL THEN encode(file_sha256, 'hex') ELSE '' END
        ) AS line,
        state,
        run_id,
        hash_record_extended(ROW (run_id, file_sha256), 0) AS hash,
        $5 AND path IN (SELECT g.path FROM {schema}.gone g WHERE g.source = $1 AND g.path > $2 AND g.path < $3) AS told
    FROM {schema}.ledger
    WHERE source = $1 AND path > $2 AND path < $3
    ORDER BY path
) AS f
