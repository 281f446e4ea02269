-- The sum of directory_summary.sql over the rows of these runs; equal sums and counts mean that each file's row holds it.
SELECT count(*) AS runs, sum(hash_record_extended(ROW (run_id, file_sha256), 0)) AS sum
FROM {schema}.runs
WHERE run_id = ANY (string_to_array($1, ',')::uuid[])
