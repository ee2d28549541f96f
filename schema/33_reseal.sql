-- Sealing values anew under the active epoch; and a sealed column opened again.

CREATE FUNCTION courier_pii.sealed_epoch(courier_pii.sealed) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_sealed_epoch' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION courier_pii.sealed_epoch(courier_pii.sealed) IS 'epoch of the key under which a value is sealed';
CREATE FUNCTION courier_pii.reseal_value(courier_pii.sealed) RETURNS courier_pii.sealed
    AS 'MODULE_PATHNAME', 'cpii_reseal_value' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.reseal_value(courier_pii.sealed) IS 'support of reseal';
-- reseal runs as the table's owner: what it says is in the header of the value, and it works within reseal only
GRANT EXECUTE ON FUNCTION courier_pii.sealed_epoch(courier_pii.sealed), courier_pii.reseal_value(courier_pii.sealed) TO PUBLIC;
CREATE PROCEDURE courier_pii.reseal(tbl regclass, col name, batch_rows integer DEFAULT 10000, pause_ms integer DEFAULT 0)
    AS 'MODULE_PATHNAME', 'cpii_reseal' LANGUAGE c;
COMMENT ON PROCEDURE courier_pii.reseal(regclass, name, integer, integer) IS 'seal the values of a column anew under the active epoch, in batches; call it again to go on';
-- for the tables of whoever calls; it checks
GRANT EXECUTE ON PROCEDURE courier_pii.reseal(regclass, name, integer, integer) TO PUBLIC;

CREATE VIEW courier_pii.stat_progress_reseal AS
    SELECT l.pid, pg_catalog.current_database() AS datname, j.relid::pg_catalog.regclass AS relid, j.col, j.phase, j.rows_total, j.rows_done, j.started_at
    FROM courier_pii.column_job j
    LEFT JOIN pg_catalog.pg_locks l ON l.locktype OPERATOR(pg_catalog.=) 'object'
        AND l.classid OPERATOR(pg_catalog.=) 'courier_pii.column_job'::pg_catalog.regclass
        AND l.objid OPERATOR(pg_catalog.=) j.relid AND l.granted AND l.pid OPERATOR(pg_catalog.=) j.pid
    WHERE j.kind OPERATOR(pg_catalog.=) 'reseal';
COMMENT ON VIEW courier_pii.stat_progress_reseal IS 'columns that are being resealed; rows_total counts rows, rows_done values that were resealed';
GRANT SELECT ON courier_pii.stat_progress_reseal TO pii_security_admin, pii_auditor;

CREATE FUNCTION courier_pii.open_existing(courier_pii.sealed) RETURNS text
    AS 'MODULE_PATHNAME', 'cpii_open_existing' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.open_existing(courier_pii.sealed) IS 'support of unprotect_column';
REVOKE EXECUTE ON FUNCTION courier_pii.open_existing(courier_pii.sealed) FROM PUBLIC;
CREATE FUNCTION courier_pii.unprotect_column(tbl regclass, col name) RETURNS void
    AS 'MODULE_PATHNAME', 'cpii_unprotect_column' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.unprotect_column(regclass, name) IS 'make a sealed column a text column again; needs a ticket of kind unprotect';
REVOKE EXECUTE ON FUNCTION courier_pii.unprotect_column(regclass, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.unprotect_column(regclass, name) TO pii_security_admin;
