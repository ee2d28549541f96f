-- ---------------------------------------------------------------------------
-- 47_trust.sql: functions that may be given clear text
-- ---------------------------------------------------------------------------

-- signature as text: a dump must restore before the functions exist, and
-- pg_upgrade carries no regprocedure.  The column order is known to
-- src/policy/trust.c.
CREATE TABLE courier_pii.trusted_function_register (
	signature	text PRIMARY KEY,
	digest		text NOT NULL,
	note		text,
	trusted_by	name NOT NULL,
	trusted_at	timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_pii.trusted_function_register IS
	'functions that a security administrator vouched for, pinned by a digest of their definition';

CREATE FUNCTION courier_pii.trust_function(func regprocedure, note text DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_trust_function_sql';
COMMENT ON FUNCTION courier_pii.trust_function(regprocedure, text) IS
	'vouch for a function as it is now: statements that call it may show clear text';
CREATE FUNCTION courier_pii.distrust_function(signature text) RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_distrust_function';
COMMENT ON FUNCTION courier_pii.distrust_function(text) IS
	'take a function off the list of trusted ones; its signature as in trusted_functions';
CREATE FUNCTION courier_pii.function_digest(func regprocedure) RETURNS text
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'cpii_function_digest';
COMMENT ON FUNCTION courier_pii.function_digest(regprocedure) IS
	'SHA-256 of what defines a function, hexadecimal';

CREATE VIEW courier_pii.trusted_functions AS
	SELECT t.signature,
		   coalesce(courier_pii.function_digest(pg_catalog.to_regprocedure(t.signature)) = t.digest, false) AS in_force,
		   t.note, t.trusted_by, t.trusted_at
	FROM courier_pii.trusted_function_register t;
COMMENT ON VIEW courier_pii.trusted_functions IS
	'functions that may be given clear text; in_force is false when one was changed or dropped since';

REVOKE EXECUTE ON FUNCTION courier_pii.trust_function(regprocedure, text),
	courier_pii.distrust_function(text), courier_pii.function_digest(regprocedure) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.trust_function(regprocedure, text),
	courier_pii.distrust_function(text) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.function_digest(regprocedure) TO pii_security_admin, pii_auditor;
GRANT SELECT ON courier_pii.trusted_functions TO pii_security_admin, pii_auditor;

SELECT pg_catalog.pg_extension_config_dump('courier_pii.trusted_function_register', '');
