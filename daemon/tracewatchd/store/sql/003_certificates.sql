-- When which places were seen to hold the same of a project-day. Rows are only added: the last one of a day counts.
CREATE TABLE {schema}.certificates (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    directory text COLLATE "C" NOT NULL,
    certified_at timestamptz NOT NULL,
    locations text[] NOT NULL,
    runs integer NOT NULL,
    files integer NOT NULL,
    day_digest bytea NOT NULL,
    CONSTRAINT certificates_digest_is_32_bytes CHECK (octet_length(day_digest) = 32),
    CONSTRAINT certificates_counts_are_not_negative CHECK (runs >= 0 AND files >= 0),
    CONSTRAINT certificates_name_two_locations CHECK (cardinality(locations) > 1)
);
CREATE INDEX certificates_directory ON {schema}.certificates (source, directory, number);
