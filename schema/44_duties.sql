-- ---------------------------------------------------------------------------
-- 44_duties.sql: the end of set-up, and who holds which duty
-- ---------------------------------------------------------------------------

-- server: system identifier of the server that was sealed
CREATE TABLE courier_pii.duty_seal (
	sealed_at	timestamptz NOT NULL DEFAULT pg_catalog.now() PRIMARY KEY,
	sealed_by	text NOT NULL,
	sealed_by_staff_no text,
	server		text NOT NULL,
	holders		jsonb NOT NULL
);

CREATE FUNCTION courier_pii.seal_duties() RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_seal_duties';

CREATE FUNCTION courier_pii.duties_sealed() RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_duties_are_sealed';

CREATE FUNCTION courier_pii.duty_seal_removed() RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_duty_seal_removed';

CREATE VIEW courier_pii.duty_status AS
	SELECT courier_pii.duties_sealed() AS sealed, s.sealed_at, s.sealed_by,
		   s.sealed_by_staff_no, s.holders
	FROM (VALUES (1)) one
	LEFT JOIN courier_pii.duty_seal s ON true;

CREATE VIEW courier_pii.duty_holders AS
	WITH RECURSIVE member (duty, oid) AS (
		SELECT r.rolname, r.oid FROM pg_catalog.pg_roles r
		WHERE r.rolname IN ('pii_security_admin', 'pii_auditor', 'pii_account_admin', 'pii_backup')
		UNION
		SELECT b.duty, m.member FROM member b
		JOIN pg_catalog.pg_auth_members m ON m.roleid = b.oid)
	SELECT b.duty, r.rolname AS login_role, a.staff_no
	FROM member b
	JOIN pg_catalog.pg_roles r ON r.oid = b.oid AND r.rolcanlogin
	LEFT JOIN courier_pii.account_register a ON a.login_role::pg_catalog.oid = b.oid;

SELECT pg_catalog.pg_extension_config_dump('courier_pii.duty_seal', '');

REVOKE ALL ON FUNCTION courier_pii.seal_duties(), courier_pii.duty_seal_removed() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.duty_seal_removed()
	TO pii_security_admin, pii_auditor, pii_account_admin;
GRANT EXECUTE ON FUNCTION courier_pii.seal_duties() TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.duties_sealed() TO PUBLIC;
GRANT SELECT ON courier_pii.duty_status, courier_pii.duty_holders
	TO pii_security_admin, pii_auditor, pii_account_admin;

COMMENT ON TABLE courier_pii.duty_seal IS 'when set-up ended, by whom, and who held the duties then';
COMMENT ON FUNCTION courier_pii.seal_duties() IS 'end set-up: from now on only holders of duties act; cannot be undone';
COMMENT ON FUNCTION courier_pii.duties_sealed() IS 'did set-up end on this server?';
COMMENT ON FUNCTION courier_pii.duty_seal_removed() IS 'was the seal found removed when the server started?';
COMMENT ON VIEW courier_pii.duty_status IS 'whether and when the duties were sealed';
COMMENT ON VIEW courier_pii.duty_holders IS 'who holds a duty, directly or through groups';
