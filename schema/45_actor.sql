-- ---------------------------------------------------------------------------
-- 45_actor.sql: the person behind a pooled connection
-- ---------------------------------------------------------------------------

CREATE FUNCTION courier_pii.set_actor(token text) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_set_actor';
COMMENT ON FUNCTION courier_pii.set_actor(text) IS
	'let the person that a signed token names act until the transaction ends';

CREATE FUNCTION courier_pii.actor_audience() RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'cpii_actor_audience_sql';
COMMENT ON FUNCTION courier_pii.actor_audience() IS
	'the audience ("aud") that actor tokens of this database must name';

CREATE FUNCTION courier_pii.make_actor_token(staff_no text, seconds integer DEFAULT 60)
	RETURNS text
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_make_actor_token';
COMMENT ON FUNCTION courier_pii.make_actor_token(text, integer) IS
	'make an actor token for trying things out (superusers, until the duties are sealed)';
REVOKE EXECUTE ON FUNCTION courier_pii.make_actor_token(text, integer) FROM PUBLIC;
