-- One run at a time, in order of run id: Citus locks rows of one shard only.
SELECT FROM {schema}.runs WHERE run_id = $1 FOR UPDATE
