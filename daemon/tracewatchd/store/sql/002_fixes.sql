-- Bookkeeping of sweeps and repairs: what was verified when, what was told as gone, what a repair replaced.

-- Which directory a source's root was, so that another one in its place is not taken for it.
ALTER TABLE {schema}.sources
    ADD COLUMN root_device numeric(20),
    ADD COLUMN root_inode numeric(20);

-- The last sweep of each depth that looked at a project-day, and what it said.
CREATE TABLE {schema}.project_days (
    source text NOT NULL,
    directory text COLLATE "C" NOT NULL,
    depth text NOT NULL,
    verified_at timestamptz NOT NULL,
    verdict text NOT NULL,
    files integer NOT NULL,
    counts jsonb NOT NULL,
    PRIMARY KEY (source, directory, depth),
    CONSTRAINT project_days_depth_is_known CHECK (depth IN ('quick', 'full', 'deep')),
    CONSTRAINT project_days_verdict_is_known CHECK (verdict IN ('consistent', 'inconsistent', 'not_checked')),
    CONSTRAINT project_days_files_is_not_negative CHECK (files >= 0)
);

-- Files that a sweep reported as gone, or that were accepted as gone: each is reported once.
CREATE TABLE {schema}.gone (
    source text NOT NULL,
    path text COLLATE "C" NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, path)
);

-- What each repair replaced: whole rows as JSON, from which they can be put back exactly. The state after the repair is
-- kept as a digest of the row and as the ledger rows themselves, so that a rollback sees whether anything changed since.
CREATE TABLE {schema}.fixes (
    fix_id uuid PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY,
    repair_id uuid NOT NULL,
    source text NOT NULL,
    kind text NOT NULL,
    run_id uuid,
    paths text[] NOT NULL,
    run_before jsonb,
    ledger_before jsonb NOT NULL,
    run_after_sha256 bytea,
    ledger_after jsonb NOT NULL,
    state text NOT NULL DEFAULT 'applied',
    applied_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fixes_state_is_known CHECK (state IN ('applied', 'rolled_back', 'released')),
    CONSTRAINT fixes_sha256_is_32_bytes CHECK (coalesce(octet_length(run_after_sha256), 32) = 32)
);
CREATE INDEX fixes_number ON {schema}.fixes (number);
CREATE INDEX fixes_repair ON {schema}.fixes (repair_id, number);
CREATE INDEX fixes_held_runs ON {schema}.fixes (run_id) WHERE state = 'rolled_back';
CREATE INDEX fixes_held_paths ON {schema}.fixes USING gin (paths) WHERE state = 'rolled_back';
