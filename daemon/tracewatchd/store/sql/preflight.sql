-- What a role can learn of a database and of the tables in a schema ($1) without reading any of them.
WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = $1),
held AS (
    SELECT c.oid, c.relname, c.relowner
    FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM here) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
)
SELECT current_user::text AS role,
    current_database()::text AS database,
    current_setting('server_encoding') AS encoding,
    pg_is_in_recovery() AS in_recovery,
    (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user AND NOT rolsuper) AS role_connections,
    (SELECT coalesce(array_agg(name ORDER BY name), '{}') FROM pg_settings
        WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off') AS unsafe,
    EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) AS has_lz4,
    (SELECT attcompression = 'l' FROM pg_attribute
        WHERE attrelid = (SELECT oid FROM held WHERE relname = 'runs') AND attname = 'data') AS data_is_lz4,
    EXISTS (SELECT FROM here) AS schema_exists,
    coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM here), false) AS may_use_schema,
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM here), false) AS may_create_in_schema,
    has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
    coalesce((SELECT has_table_privilege(oid, 'SELECT') FROM held WHERE relname = 'schema_version'), false)
        AS may_read_version,
    (SELECT coalesce(bool_and(pg_has_role(relowner, 'USAGE')), true) FROM held) AS owns_tables,
    (SELECT coalesce(array_agg(relname::text), '{}') FROM held) AS tables,
    to_regclass('citus_tables') IS NOT NULL AS has_citus
