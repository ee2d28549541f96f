-- Proof of the audit trail: checkpoints, months that were exported and dropped.

CREATE TABLE courier_pii.audit_checkpoint (
	node text NOT NULL,
	seq bigint NOT NULL,
	records bigint NOT NULL,
	hash bytea NOT NULL,
	generation integer NOT NULL,
	timeline integer NOT NULL,
	at bigint NOT NULL,
	signature bytea NOT NULL,
	CONSTRAINT audit_checkpoint_pkey PRIMARY KEY (node, seq, timeline)
);

-- Runs of records that were in a month that was dropped: what the chain goes
-- on from behind them.
CREATE TABLE courier_pii.audit_retired (
	node text NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	prev_hash bytea NOT NULL,
	last_hash bytea NOT NULL,
	month date NOT NULL,
	manifest text NOT NULL,
	dropped_at timestamptz NOT NULL,
	CONSTRAINT audit_retired_pkey PRIMARY KEY (node, first_seq)
);

-- Where each node's records stood when this database went over to another
-- timeline: later records of it were ingested, and chained, a second time.
CREATE TABLE courier_pii.audit_switch (
	node text NOT NULL,
	timeline integer NOT NULL,
	seq bigint NOT NULL,
	CONSTRAINT audit_switch_pkey PRIMARY KEY (node, timeline)
);

CREATE FUNCTION courier_pii.audit_checkpoint()
RETURNS integer
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_audit_checkpoint';

CREATE FUNCTION courier_pii.audit_public_key()
RETURNS text
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'cpii_audit_public_key';

CREATE FUNCTION courier_pii.audit_export_month(month date)
RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_audit_export_month';

CREATE FUNCTION courier_pii.drop_audit_month(month date, manifest text)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_drop_audit_month';

REVOKE ALL ON courier_pii.audit_checkpoint, courier_pii.audit_retired,
	courier_pii.audit_switch FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.audit_checkpoint(),
	courier_pii.audit_public_key(), courier_pii.audit_export_month(date),
	courier_pii.drop_audit_month(date, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION courier_pii.audit_checkpoint(),
	courier_pii.audit_public_key(), courier_pii.audit_export_month(date)
	TO pii_auditor;
GRANT EXECUTE ON FUNCTION courier_pii.drop_audit_month(date, text)
	TO pii_security_admin;

COMMENT ON TABLE courier_pii.audit_checkpoint IS 'signed checkpoints of the audit chain; the same are sent out of the server';
COMMENT ON TABLE courier_pii.audit_retired IS 'runs of audit records that were exported and dropped';
COMMENT ON TABLE courier_pii.audit_switch IS 'per node: the last record ingested before this database changed its timeline';
COMMENT ON FUNCTION courier_pii.audit_checkpoint() IS 'makes checkpoints now; their number';
COMMENT ON FUNCTION courier_pii.audit_public_key() IS 'key that checkpoints and manifests are checked with (Ed25519, hexadecimal)';
COMMENT ON FUNCTION courier_pii.audit_export_month(date) IS 'writes a month of audit records to the export directory; returns its signed manifest';
COMMENT ON FUNCTION courier_pii.drop_audit_month(date, text) IS 'drops a month that its signed manifest covers and that is older than courier_pii.audit_keep_months; the number of records';
