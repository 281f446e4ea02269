-- What each table has to allow a role that loads, sweeps and repairs, as far as it does not.
WITH needs (name, privileges) AS (
    VALUES ('runs', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
        ('ledger', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
        ('fixes', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
        ('leases', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
        ('gone', ARRAY['SELECT', 'INSERT', 'DELETE']),
        ('sources', ARRAY['SELECT', 'INSERT', 'UPDATE']),
        ('project_days', ARRAY['SELECT', 'INSERT', 'UPDATE']),
        ('certificates', ARRAY['SELECT', 'INSERT']),
        ('identity', ARRAY['SELECT']),
        ('schema_version', ARRAY['SELECT'])
)
SELECT needs.name, array_agg(needed.privilege ORDER BY needed.number) AS lacking
FROM needs
JOIN pg_class c ON c.relname = needs.name AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
CROSS JOIN unnest(needs.privileges) WITH ORDINALITY AS needed (privilege, number)
WHERE NOT has_table_privilege(c.oid, needed.privilege)
GROUP BY needs.name
ORDER BY needs.name
