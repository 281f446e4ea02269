SELECT version() AS server,
    current_database() AS database,
    (SELECT max(version) FROM {schema}.schema_version) AS schema_version,
    (SELECT id FROM {schema}.identity) AS identity,
    -- An estimate: counting every row of a large table would take long and prove nothing. None until it was analysed.
    (SELECT nullif(reltuples, -1)::bigint FROM pg_class WHERE oid = '{schema}.runs'::regclass) AS runs_estimated,
    (SELECT count(*) FROM {schema}.ledger WHERE state = 'acknowledged') AS files_acknowledged,
    (SELECT count(*) FROM {schema}.ledger WHERE state = 'quarantined') AS files_quarantined,
    pg_total_relation_size('{schema}.runs'::regclass) AS size_bytes
