-- The tables that hold the truth, and those that hold bookkeeping. {schema} is the quoted schema.
-- Distribution column of runs on Citus: run_id, which is in every unique key. No triggers, no foreign keys.

CREATE TABLE {schema}.runs (
    run_id uuid PRIMARY KEY,
    trace_id uuid NOT NULL,
    parent_run_id uuid,
    project text NOT NULL,
    run_date date NOT NULL,
    trace_date date,
    name text,
    run_type text,
    status text,
    start_time timestamptz,
    end_time timestamptz,
    total_tokens bigint,
    total_cost numeric,
    data jsonb NOT NULL,
    metadata jsonb,
    extracted_at timestamptz NOT NULL DEFAULT '-infinity',
    file_mtime_ns bigint NOT NULL,
    file_sha256 bytea NOT NULL,
    rules smallint NOT NULL,
    sanitized text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT runs_sha256_is_32_bytes CHECK (octet_length(file_sha256) = 32),
    CONSTRAINT runs_rules_are_positive CHECK (rules > 0),
    CONSTRAINT runs_data_is_an_object CHECK (jsonb_typeof(data) = 'object')
);

-- lz4 where this server was built with it: faster to write than the default.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE {schema}.runs ALTER COLUMN data SET COMPRESSION lz4;
    END IF;
END
$$;

CREATE INDEX runs_trace_id ON {schema}.runs (trace_id);
CREATE INDEX runs_project_run_date ON {schema}.runs (project, run_date, run_id);

CREATE TABLE {schema}.ledger (
    source text NOT NULL,
    path text COLLATE "C" NOT NULL,
    size_bytes bigint NOT NULL,
    mtime_ns bigint NOT NULL,
    ctime_ns bigint NOT NULL,
    file_sha256 bytea,
    run_id uuid,
    state text NOT NULL,
    reason text,
    detail text,
    setting text,
    rules smallint NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, path),
    CONSTRAINT ledger_state_is_known CHECK (state IN ('acknowledged', 'quarantined')),
    CONSTRAINT ledger_sha256_is_32_bytes CHECK (coalesce(octet_length(file_sha256), 32) = 32),
    CONSTRAINT ledger_acknowledged_names_its_row
        CHECK (state <> 'acknowledged' OR (file_sha256 IS NOT NULL AND run_id IS NOT NULL)),
    CONSTRAINT ledger_quarantined_says_why
        CHECK (state <> 'quarantined' OR (reason IS NOT NULL AND detail IS NOT NULL)),
    CONSTRAINT ledger_size_is_not_negative CHECK (size_bytes >= 0)
);

CREATE INDEX ledger_run_id ON {schema}.ledger (run_id) WHERE state = 'acknowledged';
CREATE INDEX ledger_quarantined ON {schema}.ledger (source, path) WHERE state = 'quarantined';

CREATE TABLE {schema}.identity (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    only_one boolean NOT NULL UNIQUE DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT identity_is_one CHECK (only_one)
);
INSERT INTO {schema}.identity DEFAULT VALUES;

CREATE TABLE {schema}.sources (
    source text PRIMARY KEY,
    host text NOT NULL,
    root text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE {schema}.leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    expires_at timestamptz NOT NULL
);

-- For people: each file with the state that follows from comparing versions. Not used by writes or sweeps.
CREATE VIEW {schema}.files AS
SELECT l.source,
       l.path,
       CASE
           WHEN l.state = 'quarantined' THEN 'quarantined'
           WHEN r.run_id IS NULL THEN 'orphan'
           WHEN r.file_sha256 = l.file_sha256 THEN 'loaded'
           ELSE 'superseded'
       END AS state,
       l.reason,
       l.detail,
       l.run_id,
       l.size_bytes,
       encode(l.file_sha256, 'hex') AS sha256,
       l.first_seen_at,
       l.updated_at
FROM {schema}.ledger l
LEFT JOIN {schema}.runs r ON r.run_id = l.run_id;
