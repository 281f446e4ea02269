-- One directory's ledger rows in few bytes, the way a walk makes them of the files (edges/survey.py), and a sum over run
-- ids and sha256s that runs_sum.sql makes of the rows. $2 and $3 bound the paths, $4 says whether the files were read.
-- With $5, files that were told as gone are in the sum but not in the fingerprint.
SELECT count(*) FILTER (WHERE NOT told) AS files,
    count(*) FILTER (WHERE NOT told AND state = 'quarantined') AS quarantined,
    sha256(
        convert_to(coalesce(string_agg(path, '/') FILTER (WHERE NOT told), ''), 'UTF8')
        || coalesce(string_agg(stamp, '') FILTER (WHERE NOT told), '')
        || coalesce(string_agg(coalesce(file_sha256, decode(repeat('00', 32), 'hex')), '') FILTER (WHERE $4 AND NOT told), '')
    ) AS fingerprint,
    count(*) FILTER (WHERE state = 'acknowledged') AS runs,
    sum(hash) FILTER (WHERE state = 'acknowledged') AS sum,
    coalesce(string_agg(run_id::text, ',') FILTER (WHERE state = 'acknowledged'), '') AS run_ids
FROM (
    SELECT path,
        int8send(size_bytes) || int8send(mtime_ns) || int8send(ctime_ns) AS stamp,
        file_sha256,
        state,
        run_id,
        hash_record_extended(ROW (run_id, file_sha256), 0) AS hash,
        $5 AND path IN (SELECT g.path FROM {schema}.gone g WHERE g.source = $1 AND g.path > $2 AND g.path < $3) AS told
    FROM {schema}.ledger
    WHERE source = $1 AND path > $2 AND path < $3
    ORDER BY path
) AS f
