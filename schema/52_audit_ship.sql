-- Records of standbys: handed over to the primary, which ingests them.

CREATE TABLE courier_pii.audit_inbox (
	node text NOT NULL,
	segment bigint NOT NULL,
	start_offset bigint NOT NULL,
	first_seq bigint NOT NULL,
	last_seq bigint NOT NULL,
	data bytea NOT NULL,
	keys bytea NOT NULL,
	CONSTRAINT audit_inbox_pkey PRIMARY KEY (node, last_seq)
);

CREATE FUNCTION courier_pii.audit_received(
	node text,
	OUT segment bigint,
	OUT byte_offset bigint,
	OUT seq bigint
)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_audit_received';

CREATE FUNCTION courier_pii.audit_receive(
	node text,
	from_segment bigint,
	start_offset bigint,
	after_seq bigint,
	last_seq bigint,
	data bytea,
	keys bytea,
	OUT segment bigint,
	OUT byte_offset bigint,
	OUT seq bigint
)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_audit_receive';

REVOKE ALL ON courier_pii.audit_inbox FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.audit_received(text),
	courier_pii.audit_receive(text, bigint, bigint, bigint, bigint, bytea, bytea)
	FROM PUBLIC;

COMMENT ON TABLE courier_pii.audit_inbox IS 'audit records of standbys that are to be ingested: pieces of their spool segments';
COMMENT ON FUNCTION courier_pii.audit_received(text) IS 'how far this server has the audit records of a standby; called by its worker';
COMMENT ON FUNCTION courier_pii.audit_receive(text, bigint, bigint, bigint, bigint, bytea, bytea) IS 'takes a piece of a standby''s audit spool; called by its worker';
