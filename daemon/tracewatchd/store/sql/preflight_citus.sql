-- Which of the tables of a schema ($1) Citus distributes, and by which column.
SELECT c.relname::text AS name, t.citus_table_type::text AS kind, t.distribution_column::text AS by
FROM citus_tables t
JOIN pg_class c ON c.oid = t.table_name
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    AND t.citus_table_type::text IN ('distributed', 'reference', 'schema')
