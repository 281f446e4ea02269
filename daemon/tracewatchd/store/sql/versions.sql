-- The versions of these runs, without their data.
SELECT run_id, extracted_at, file_mtime_ns, file_sha256, rules FROM {schema}.runs WHERE run_id = ANY ($1::uuid[])
