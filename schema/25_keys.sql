-- Keys: what is known of them, and what administrators do with them.

CREATE FUNCTION courier_pii.key_status(OUT class text, OUT epoch integer, OUT state text, OUT suite text,
        OUT created_at timestamptz, OUT values_sealed bigint, OUT key_check text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'cpii_key_status' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE VIEW courier_pii.key_status AS
    SELECT k.class, k.epoch, k.state, k.suite, k.created_at, k.values_sealed, k.key_check
    FROM courier_pii.key_status() k;

CREATE FUNCTION courier_pii.new_epoch(class text) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_new_epoch' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
CREATE FUNCTION courier_pii.set_suite(class text, suite text) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_set_suite' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
CREATE FUNCTION courier_pii.set_search_scope(class text, scope text) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_set_search_scope' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
CREATE FUNCTION courier_pii.destroy_epoch(class text, epoch integer, force boolean DEFAULT false) RETURNS void
    AS 'MODULE_PATHNAME', 'cpii_destroy_epoch' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
CREATE FUNCTION courier_pii.unseal(share text) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_unseal' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
CREATE FUNCTION courier_pii.change_master_key(share text DEFAULT NULL) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_change_master_key' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
CREATE FUNCTION courier_pii.epoch_of(value courier_pii.sealed) RETURNS integer
    AS 'MODULE_PATHNAME', 'cpii_epoch_of' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION courier_pii.key_status() IS 'the rows of view courier_pii.key_status';
COMMENT ON VIEW courier_pii.key_status IS 'keys by class and epoch: state and age, never the keys';
COMMENT ON FUNCTION courier_pii.new_epoch(text) IS 'seal new values of a class with a new key; older values stay readable';
COMMENT ON FUNCTION courier_pii.set_suite(text, text) IS 'choose the encryption suite of a class''s new values';
COMMENT ON FUNCTION courier_pii.set_search_scope(text, text) IS 'choose whether the search tags of a class''s new values are keyed for the class or for the epoch';
COMMENT ON FUNCTION courier_pii.destroy_epoch(text, integer, boolean) IS 'destroy the secret of an epoch: its values are unreadable for ever, in every backup too';
COMMENT ON FUNCTION courier_pii.unseal(text) IS 'enter a custodian''s share of the master key; returns how many are still missing';
COMMENT ON FUNCTION courier_pii.change_master_key(text) IS 'change the master key to the next one, or enter a custodian''s share of it; returns how many shares are still missing';
COMMENT ON FUNCTION courier_pii.epoch_of(courier_pii.sealed) IS 'epoch that a value was sealed in; needs no key';

REVOKE EXECUTE ON FUNCTION courier_pii.key_status(), courier_pii.new_epoch(text), courier_pii.set_suite(text, text),
    courier_pii.set_search_scope(text, text), courier_pii.destroy_epoch(text, integer, boolean),
    courier_pii.unseal(text), courier_pii.change_master_key(text), courier_pii.epoch_of(courier_pii.sealed) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.key_status() TO pii_security_admin, pii_auditor;
GRANT EXECUTE ON FUNCTION courier_pii.epoch_of(courier_pii.sealed) TO pii_security_admin, pii_auditor;
GRANT EXECUTE ON FUNCTION courier_pii.new_epoch(text), courier_pii.set_suite(text, text),
    courier_pii.set_search_scope(text, text), courier_pii.destroy_epoch(text, integer, boolean),
    courier_pii.unseal(text), courier_pii.change_master_key(text) TO pii_security_admin;
GRANT SELECT ON courier_pii.key_status TO pii_security_admin, pii_auditor;
