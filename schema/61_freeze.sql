-- The emergency brake.

-- the column order is known to src/policy/freeze.c
CREATE TABLE courier_pii.freeze_register (
    what text PRIMARY KEY CHECK (what = 'all' OR what LIKE 'class:%' OR what LIKE 'person:%'),
    reason text,
    frozen_by name NOT NULL,
    frozen_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

CREATE FUNCTION courier_pii.freeze(what text, reason text DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_freeze' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
CREATE FUNCTION courier_pii.unfreeze(what text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'cpii_unfreeze' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

CREATE VIEW courier_pii.freezes AS
    SELECT f.what, f.reason, f.frozen_by, f.frozen_at FROM courier_pii.freeze_register f;

SELECT pg_catalog.pg_extension_config_dump('courier_pii.freeze_register', '');

REVOKE ALL ON courier_pii.freeze_register, courier_pii.freezes FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.freeze(text, text), courier_pii.unfreeze(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.freeze(text, text), courier_pii.unfreeze(text) TO pii_security_admin;
GRANT SELECT ON courier_pii.freezes TO pii_security_admin, pii_auditor;

COMMENT ON TABLE courier_pii.freeze_register IS 'persons and classes that are shown masked until further notice';
COMMENT ON VIEW courier_pii.freezes IS 'persons and classes that are shown masked until further notice';
COMMENT ON FUNCTION courier_pii.freeze(text, text) IS 'masks for a person, a class, or all, from the next value on';
COMMENT ON FUNCTION courier_pii.unfreeze(text) IS 'ends a freeze';
