-- The sum of directory_summary.sql over the rows that the same ledger rows name; equal sums and counts mean that each
-- file's row holds it. A list of run ids, not a join: whatever a planner expects, it asks the primary key for them.
SELECT count(*) AS runs, sum(hash_record_extended(ROW (run_id, file_sha256), 0)) AS sum
FROM {schema}.runs
WHERE run_id = ANY (ARRAY(
    SELECT run_id FROM {schema}.ledger WHERE source = $1 AND path > $2 AND path < $3 AND state = 'acknowledged'
))
