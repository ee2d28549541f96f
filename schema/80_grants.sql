-- Who may call and read what, in one place.  The parts 40 and 50 end with
-- their own grants.

REVOKE EXECUTE ON FUNCTION courier_pii.grant_disclosure(regrole, text, text, boolean, timestamptz, regclass, name) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.revoke_disclosure(regrole, text, regclass, name) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.set_limit(regrole, bigint, bigint, bigint) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.set_row_rule(regclass, regrole, name, text[], text[], name[]) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.drop_row_rule(regclass, regrole, name) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION courier_pii.seal_existing(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.grant_disclosure(regrole, text, text, boolean, timestamptz, regclass, name) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.revoke_disclosure(regrole, text, regclass, name) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.set_limit(regrole, bigint, bigint, bigint) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.set_row_rule(regclass, regrole, name, text[], text[], name[]) TO pii_security_admin;
GRANT EXECUTE ON FUNCTION courier_pii.drop_row_rule(regclass, regrole, name) TO pii_security_admin;

-- table owners call these two for their own tables; both check
GRANT EXECUTE ON FUNCTION courier_pii.protect_column(regclass, name, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.create_masked_view(regclass, name, jsonb, boolean) TO PUBLIC;

GRANT SELECT ON courier_pii.disclosures, courier_pii.limits, courier_pii.row_rules,
    courier_pii.masked_views, courier_pii.protected_columns
    TO pii_security_admin, pii_auditor;
GRANT SELECT ON courier_pii.effective_disclosures TO PUBLIC;
