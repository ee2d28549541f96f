-- Masked views follow their tables; by hand where something else changed.

CREATE FUNCTION courier_pii.refresh_masked_view(view regclass, masks jsonb DEFAULT NULL) RETURNS regclass
    AS 'MODULE_PATHNAME', 'cpii_refresh_masked_view' LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;
COMMENT ON FUNCTION courier_pii.refresh_masked_view(regclass, jsonb) IS 'bring a masked view up to date with its table, or give it other masks';
REVOKE EXECUTE ON FUNCTION courier_pii.refresh_masked_view(regclass, jsonb) FROM PUBLIC;
-- table owners call it for their own tables; it checks
GRANT EXECUTE ON FUNCTION courier_pii.refresh_masked_view(regclass, jsonb) TO PUBLIC;
