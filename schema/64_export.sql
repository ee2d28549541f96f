-- ---------------------------------------------------------------------------
-- 64_export.sql: encrypted packages and the marks in them
-- ---------------------------------------------------------------------------

CREATE TABLE courier_pii.export_register (
	export_id	text PRIMARY KEY,
	ticket		bigint NOT NULL,
	person		text NOT NULL,
	relation	text NOT NULL,
	rows		bigint NOT NULL,
	decoys		integer NOT NULL,
	package_digest text NOT NULL,
	recipient_digest text NOT NULL,
	exported_at	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- keyed fingerprints: the register does not tell which rows are decoys
CREATE TABLE courier_pii.export_decoy (
	export_id	text NOT NULL,
	decoy		integer NOT NULL,
	pair		boolean NOT NULL,
	fingerprint	bytea NOT NULL
);

CREATE INDEX export_decoy_fingerprint ON courier_pii.export_decoy (fingerprint);

CREATE FUNCTION courier_pii.export_sealed(relation regclass, recipient text, to_file boolean DEFAULT false,
		OUT export_id text, OUT package bytea)
	RETURNS record
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'cpii_export_sealed';

CREATE FUNCTION courier_pii.identify_leak(rows text[], OUT export_id text, OUT ticket bigint,
		OUT person text, OUT exported_at timestamptz, OUT matched bigint, OUT decoys bigint,
		OUT certain boolean)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 5
	AS 'MODULE_PATHNAME', 'cpii_identify_leak';

CREATE VIEW courier_pii.exports AS
	SELECT e.export_id, e.ticket, e.person, e.relation, e.rows, e.decoys,
		   e.package_digest, e.recipient_digest, e.exported_at
	FROM courier_pii.export_register e;

SELECT pg_catalog.pg_extension_config_dump('courier_pii.export_register', '');
SELECT pg_catalog.pg_extension_config_dump('courier_pii.export_decoy', '');

REVOKE ALL ON FUNCTION courier_pii.identify_leak(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.identify_leak(text[]) TO pii_auditor, pii_security_admin;
-- reads with the caller's own rights, and needs a ticket
GRANT EXECUTE ON FUNCTION courier_pii.export_sealed(regclass, text, boolean) TO PUBLIC;
GRANT SELECT ON courier_pii.exports TO pii_security_admin, pii_auditor;

COMMENT ON TABLE courier_pii.export_register IS 'encrypted packages that were made';
COMMENT ON TABLE courier_pii.export_decoy IS 'keyed fingerprints of the decoy rows of packages';
COMMENT ON FUNCTION courier_pii.export_sealed(regclass, text, boolean) IS 'the rows of a masked view with decoys, encrypted for the holder of a certificate; needs a ticket';
COMMENT ON FUNCTION courier_pii.identify_leak(text[]) IS 'the exports that leaked rows come from';
COMMENT ON VIEW courier_pii.exports IS 'encrypted packages that were made';
