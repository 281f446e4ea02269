-- The trace that a run belongs to.
SELECT trace_id FROM {schema}.runs WHERE run_id = $1
