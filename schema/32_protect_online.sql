-- Work on all rows of a column in batches: protecting tables that are in use.

-- one row for each job that has not ended; src/policy/column_job.c
CREATE TABLE courier_pii.column_job (
    relid oid NOT NULL,
    col name NOT NULL,
    kind text NOT NULL CHECK (kind IN ('protect', 'reseal')),
    phase text NOT NULL,
    attnum smallint NOT NULL,
    class integer NOT NULL,
    parts oid[] NOT NULL,
    part_attnums smallint[] NOT NULL,
    part integer NOT NULL,
    next_block bigint NOT NULL,
    rows_total bigint NOT NULL,
    rows_done bigint NOT NULL,
    key_group bigint NOT NULL,
    place integer NOT NULL,
    pid integer NOT NULL,
    started_by name NOT NULL DEFAULT session_user,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (relid, col, kind)
) WITH (fillfactor = 50);
COMMENT ON TABLE courier_pii.column_job IS 'jobs of protect_column_online and reseal that have not ended, and where they are; columns of one key_group, not 0, are connected by foreign keys and go together';

-- where a column that was protected online stood among the others
CREATE TABLE courier_pii.column_place (
    tbl regclass NOT NULL,
    col name NOT NULL,
    before_col name,
    PRIMARY KEY (tbl, col)
);
COMMENT ON TABLE courier_pii.column_place IS 'columns that protect_column_online moved to the end of their table, and the column before which they stood';
SELECT pg_catalog.pg_extension_config_dump('courier_pii.column_place', '');

CREATE FUNCTION courier_pii.protect_columns(tbl regclass, columns jsonb) RETURNS void
    AS 'MODULE_PATHNAME', 'cpii_protect_columns' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.protect_columns(regclass, jsonb) IS 'seal several existing columns in one rewrite of the table';
CREATE FUNCTION courier_pii.seal_pgcrypto(bytea, integer) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_seal_pgcrypto' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.seal_pgcrypto(bytea, integer) IS 'support of protect_column: seal a value that pgcrypto encrypted';
CREATE FUNCTION courier_pii.seal_pgcrypto(text, integer) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_seal_pgcrypto' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.seal_pgcrypto(text, integer) IS 'support of protect_column: seal an armored message of pgcrypto';
REVOKE EXECUTE ON FUNCTION courier_pii.seal_pgcrypto(bytea, integer) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.seal_pgcrypto(text, integer) FROM PUBLIC;

CREATE FUNCTION courier_pii.protect_sync() RETURNS trigger
    AS 'MODULE_PATHNAME', 'cpii_protect_sync' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.protect_sync() IS 'trigger of tables that protect_column_online works on';
-- whoever adds a partition meanwhile gets the trigger
GRANT EXECUTE ON FUNCTION courier_pii.protect_sync() TO PUBLIC;

CREATE PROCEDURE courier_pii.protect_column_online(tbl regclass, col name, class text, batch_rows integer DEFAULT 10000)
    AS 'MODULE_PATHNAME', 'cpii_protect_column_online' LANGUAGE c;
COMMENT ON PROCEDURE courier_pii.protect_column_online(regclass, name, text, integer) IS 'seal an existing column in batches, while the table is in use; call it again to go on';
CREATE PROCEDURE courier_pii.cancel_protect(tbl regclass, col name)
    AS 'MODULE_PATHNAME', 'cpii_cancel_protect' LANGUAGE c;
COMMENT ON PROCEDURE courier_pii.cancel_protect(regclass, name) IS 'give up an unfinished protect_column_online: the table is as before';

-- pid is null when no session works on it now
CREATE VIEW courier_pii.stat_progress_protect AS
    SELECT a.pid, d.datname, j.relid::pg_catalog.regclass AS relid, j.col, j.phase, j.rows_total, j.rows_done, j.started_at
    FROM courier_pii.column_job j
    JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    LEFT JOIN pg_catalog.pg_locks l ON l.locktype OPERATOR(pg_catalog.=) 'object' AND l.database OPERATOR(pg_catalog.=) d.oid
        AND l.classid OPERATOR(pg_catalog.=) 'courier_pii.column_job'::pg_catalog.regclass
        AND l.objid OPERATOR(pg_catalog.=) j.relid AND l.granted AND l.pid OPERATOR(pg_catalog.=) j.pid
    LEFT JOIN LATERAL (SELECT l.pid) a ON true
    WHERE j.kind OPERATOR(pg_catalog.=) 'protect';
COMMENT ON VIEW courier_pii.stat_progress_protect IS 'columns that are being protected online; rows_total is an estimate until the end';
GRANT SELECT ON courier_pii.stat_progress_protect TO pii_security_admin, pii_auditor;

-- for the tables of whoever calls; each checks
GRANT EXECUTE ON FUNCTION courier_pii.protect_columns(regclass, jsonb) TO PUBLIC;
GRANT EXECUTE ON PROCEDURE courier_pii.protect_column_online(regclass, name, text, integer) TO PUBLIC;
GRANT EXECUTE ON PROCEDURE courier_pii.cancel_protect(regclass, name) TO PUBLIC;
