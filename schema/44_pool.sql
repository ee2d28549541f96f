-- what a connection pool asks for the passwords of people at work

CREATE FUNCTION courier_pii.pool_admits(login_role oid) RETURNS boolean
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_pool_admits';

CREATE FUNCTION courier_pii.pool_auth(login_name text, OUT role_name name, OUT password text)
	RETURNS SETOF record
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER ROWS 1
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT r.rolname, r.rolpassword
	FROM pg_catalog.pg_authid r
	WHERE r.rolname = login_name::pg_catalog.name
		  AND pg_catalog.octet_length(login_name) < 64
		  AND r.rolcanlogin AND r.rolpassword IS NOT NULL
		  AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil > pg_catalog.clock_timestamp())
		  AND courier_pii.pool_admits(r.oid)
	$$;

CREATE FUNCTION courier_pii.set_pool_role(login_role regrole) RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_set_pool_role';

REVOKE ALL ON FUNCTION courier_pii.pool_admits(oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.pool_auth(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.set_pool_role(regrole) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.set_pool_role(regrole) TO pii_security_admin;

COMMENT ON FUNCTION courier_pii.pool_admits(oid) IS 'would the account be let in now?  for the extension''s own use';
COMMENT ON FUNCTION courier_pii.pool_auth(text) IS 'name and verifier of an account at work, for the one role of a connection pool';
COMMENT ON FUNCTION courier_pii.set_pool_role(regrole) IS 'name the role that may call pool_auth; null: nobody may';
