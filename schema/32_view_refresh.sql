-- Masked views follow their tables; by hand where something else changed.

CREATE FUNCTION courier_pii.refresh_masked_view(view regclass, masks jsonb DEFAULT NULL) RETURNS regclass
    AS 'MODULE_PATHNAME', 'cpii_refresh_masked_view' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.refresh_masked_view(regclass, jsonb) IS 'bring a masked view up to date with its table, or give it other masks';
REVOKE EXECUTE ON FUNCTION courier_pii.refresh_masked_view(regclass, jsonb) FROM PUBLIC;
-- table owners call it for their own tables; it checks
GRANT EXECUTE ON FUNCTION courier_pii.refresh_masked_view(regclass, jsonb) TO PUBLIC;

-- INSERT ... ON CONFLICT through a masked view
CREATE FUNCTION courier_pii.upsert(view regclass, new_row jsonb, key name[]) RETURNS text
    AS 'MODULE_PATHNAME', 'cpii_upsert' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.upsert(regclass, jsonb, name[]) IS 'update the row with this key through a masked view, or insert it';
REVOKE EXECUTE ON FUNCTION courier_pii.upsert(regclass, jsonb, name[]) FROM PUBLIC;
-- it does what its caller may do through the view
GRANT EXECUTE ON FUNCTION courier_pii.upsert(regclass, jsonb, name[]) TO PUBLIC;
