-- Preamble: run by CREATE EXTENSION only; the duty roles; the schema.
--
-- The roles are cluster-wide and are no members of the extension, so each is
-- made only when it is missing.

\echo Use "CREATE EXTENSION courier_pii" to load this file. \quit

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA courier_pii;
GRANT USAGE ON SCHEMA courier_pii TO PUBLIC;

-- refuse at once, with a clear message, what can only fail later
CREATE FUNCTION courier_pii.check_install() RETURNS void
    AS 'MODULE_PATHNAME', 'cpii_check_install'
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
SELECT courier_pii.check_install();
DROP FUNCTION courier_pii.check_install();

DO $$
DECLARE
    duty pg_catalog.name;
BEGIN
    FOREACH duty IN ARRAY ARRAY['pii_security_admin', 'pii_auditor', 'pii_account_admin', 'pii_backup']
    LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) duty) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', duty);
        END IF;
    END LOOP;
END
$$;
