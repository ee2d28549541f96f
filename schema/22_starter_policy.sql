-- ---------------------------------------------------------------------------
-- 22_starter_policy.sql: least privilege for the posts of a courier company
-- ---------------------------------------------------------------------------

CREATE FUNCTION courier_pii.load_starter_policy(roles jsonb DEFAULT '{}', tables regclass[] DEFAULT NULL,
        dry_run boolean DEFAULT false,
        OUT action text, OUT grantee name, OUT object text, OUT detail text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'cpii_load_starter_policy' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE ROWS 300;

REVOKE EXECUTE ON FUNCTION courier_pii.load_starter_policy(jsonb, regclass[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.load_starter_policy(jsonb, regclass[], boolean) TO pii_security_admin;

COMMENT ON FUNCTION courier_pii.load_starter_policy(jsonb, regclass[], boolean) IS 'makes roles, disclosures and row rules for the posts of a courier company; reports each step';
