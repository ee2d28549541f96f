-- ---------------------------------------------------------------------------
-- 64_maintenance.sql: maintenance windows
-- ---------------------------------------------------------------------------

CREATE FUNCTION courier_pii.begin_maintenance(ticket bigint) RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_begin_maintenance';

CREATE FUNCTION courier_pii.end_maintenance() RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_end_maintenance';

CREATE FUNCTION courier_pii.maintenance_rows(OUT pid integer, OUT login_role text,
		OUT staff_no text, OUT ticket bigint, OUT began_at timestamptz,
		OUT ends_at timestamptz, OUT statements bigint,
		OUT last_statement_at timestamptz, OUT last_statement text,
		OUT emergency boolean)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'cpii_maintenance_rows';

CREATE VIEW courier_pii.stat_maintenance AS
	SELECT m.pid, m.login_role, m.staff_no, m.ticket, m.began_at, m.ends_at,
		   m.statements, m.last_statement_at, m.last_statement, m.emergency
	FROM courier_pii.maintenance_rows() m;

REVOKE ALL ON FUNCTION courier_pii.maintenance_rows() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.maintenance_rows() TO pii_security_admin, pii_auditor;
GRANT SELECT ON courier_pii.stat_maintenance TO pii_security_admin, pii_auditor;
GRANT EXECUTE ON FUNCTION courier_pii.begin_maintenance(bigint) TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.end_maintenance() TO PUBLIC;

COMMENT ON FUNCTION courier_pii.begin_maintenance(bigint) IS 'begin the maintenance window that a ticket gives, in this session; returns its end';
COMMENT ON FUNCTION courier_pii.end_maintenance() IS 'end this session''s maintenance window';
COMMENT ON FUNCTION courier_pii.maintenance_rows() IS 'the rows of view courier_pii.stat_maintenance';
COMMENT ON VIEW courier_pii.stat_maintenance IS 'open maintenance windows and the statement that runs in each, without literals';
