-- Audit: the table that the worker fills from the spool, and views for people.

CREATE TABLE courier_pii.audit_record (
	node text NOT NULL,
	seq bigint NOT NULL,
	at timestamptz NOT NULL,
	phase text NOT NULL,
	action text NOT NULL,
	outcome text,
	sqlstate text,
	login_role text,
	session_role text,
	"current_role" text,
	staff_no text,
	actor_proof text,
	client_addr inet,
	client_port integer,
	application_name text,
	pid integer,
	session_started_at timestamptz,
	purpose text,
	ticket text,
	command text,
	relations text[] NOT NULL,
	classes text[] NOT NULL,
	rows_returned bigint,
	rows_examined bigint,
	disclosed bigint,
	masked bigint,
	probes bigint,
	query_id bigint,
	query text,
	duration interval,
	detail jsonb,
	prev_hash bytea NOT NULL,
	hash bytea NOT NULL,
	key_generation integer NOT NULL,
	segment bigint NOT NULL,
	-- the second guard against storing a record twice; the first is
	-- audit_progress, which moves in the same transaction
	CONSTRAINT audit_record_pkey PRIMARY KEY (node, seq, at)
) PARTITION BY RANGE (at);

CREATE INDEX audit_record_staff_idx ON courier_pii.audit_record (staff_no, at);
CREATE INDEX audit_record_at_idx ON courier_pii.audit_record USING brin (at);

CREATE TABLE courier_pii.audit_record_default
	PARTITION OF courier_pii.audit_record DEFAULT;

-- One row per server that writes records: how far the table has them.
CREATE TABLE courier_pii.audit_progress (
	node text NOT NULL CONSTRAINT audit_progress_pkey PRIMARY KEY,
	start_seq bigint NOT NULL,
	segment bigint NOT NULL,
	byte_offset bigint NOT NULL,
	seq bigint NOT NULL,
	head_hash bytea NOT NULL,
	key_generation integer NOT NULL,
	ingested_at timestamptz NOT NULL
);

CREATE FUNCTION courier_pii.audit_make_partitions()
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_audit_make_partitions';

SELECT courier_pii.audit_make_partitions();

CREATE FUNCTION courier_pii.audit_state(
	OUT node text,
	OUT segment bigint,
	OUT byte_offset bigint,
	OUT written_seq bigint,
	OUT ingested_seq bigint,
	OUT lost bigint,
	OUT ready boolean,
	OUT worker_pid integer,
	OUT caught_up_at timestamptz,
	OUT flushed_seq bigint,
	OUT state text
)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'cpii_audit_state';

CREATE FUNCTION courier_pii.audit_flush(timeout interval DEFAULT '10 s')
RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_audit_flush';

CREATE FUNCTION courier_pii.audit_verify(
	OUT node text,
	OUT segment bigint,
	OUT seq bigint,
	OUT problem text
)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cpii_audit_verify';

-- records about a sealed case are for its readers only
CREATE FUNCTION courier_pii.audit_visible(purpose text, ticket text) RETURNS boolean
LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'cpii_audit_visible';

CREATE VIEW courier_pii.audit_log WITH (security_barrier) AS
SELECT r.node, r.seq, r.at, r.phase, r.action, r.outcome, r.sqlstate,
	r.login_role, r.session_role, r."current_role", r.staff_no, r.actor_proof,
	r.client_addr, r.client_port, r.application_name, r.pid,
	r.session_started_at, r.purpose, r.ticket, r.command, r.relations,
	r.classes, r.rows_returned, r.rows_examined, r.disclosed, r.masked,
	r.probes, r.query_id, r.query, r.duration, r.detail, r.prev_hash, r.hash
FROM courier_pii.audit_record r
WHERE courier_pii.audit_visible(r.purpose, r.ticket);

CREATE VIEW courier_pii.audit_bulk AS
SELECT l.*
FROM courier_pii.audit_log l
WHERE l.action IN ('EXPORT', 'COPY', 'DESTROY')
	OR l.outcome = 'blocked'
	OR l.disclosed >= 100;

CREATE VIEW courier_pii.audit_denied AS
SELECT l.*
FROM courier_pii.audit_log l
WHERE l.action IN ('DENIED', 'LOGIN_DENIED')
	OR l.outcome IN ('denied', 'blocked');

-- A BEGIN record announces an event whose counts are in its END record.
CREATE VIEW courier_pii.audit_by_person AS
SELECT l.at::date AS day, l.staff_no, l.login_role,
	count(*) FILTER (WHERE l.phase <> 'BEGIN') AS events,
	count(*) FILTER (WHERE l.phase <> 'BEGIN' AND l.action = 'READ') AS reads,
	count(*) FILTER (WHERE l.phase <> 'BEGIN' AND l.action = 'SEARCH') AS searches,
	count(*) FILTER (WHERE l.phase <> 'BEGIN' AND l.action = 'EXPORT') AS exports,
	count(*) FILTER (WHERE l.phase <> 'BEGIN'
		AND (l.action IN ('DENIED', 'LOGIN_DENIED')
			OR l.outcome IN ('denied', 'blocked'))) AS denied,
	coalesce(sum(l.rows_returned) FILTER (WHERE l.phase <> 'BEGIN'), 0)::bigint AS rows_returned,
	coalesce(sum(l.disclosed) FILTER (WHERE l.phase <> 'BEGIN'), 0)::bigint AS disclosed,
	coalesce(sum(l.masked) FILTER (WHERE l.phase <> 'BEGIN'), 0)::bigint AS masked,
	coalesce(sum(l.probes) FILTER (WHERE l.phase <> 'BEGIN'), 0)::bigint AS probes,
	min(l.at) AS first_at,
	max(l.at) AS last_at
FROM courier_pii.audit_log l
GROUP BY l.at::date, l.staff_no, l.login_role;

CREATE VIEW courier_pii.audit_exports AS
SELECT l.*
FROM courier_pii.audit_log l
WHERE l.action = 'EXPORT';

CREATE VIEW courier_pii.audit_admin AS
SELECT l.*
FROM courier_pii.audit_log l
WHERE l.action IN ('POLICY', 'ACCOUNT', 'DDL', 'MAINTENANCE', 'KEY',
	'PASSWORD', 'SYSTEM', 'REQUEST');

-- Logins that were refused may name the role only.
CREATE VIEW courier_pii.audit_leavers AS
SELECT s.display_name, s.departed_at, l.at > s.departed_at AS after_departure,
	l.*
FROM courier_pii.audit_log l
	JOIN courier_pii.staff s ON s.staff_no = l.staff_no
		OR (l.staff_no IS NULL AND s.login_role::text = l.login_role)
WHERE s.status = 'departed';

CREATE VIEW courier_pii.stat_audit AS
SELECT s.node, s.ready, s.written_seq AS records_written,
	s.ingested_seq AS records_ingested,
	greatest(s.written_seq - s.ingested_seq, 0) AS backlog,
	CASE WHEN s.written_seq <= s.ingested_seq THEN interval '0'
		ELSE clock_timestamp() - s.caught_up_at END AS lag,
	s.lost AS records_lost, s.segment, s.byte_offset, p.ingested_at,
	s.worker_pid, s.flushed_seq AS records_flushed, s.state
FROM courier_pii.audit_state() s
	LEFT JOIN courier_pii.audit_progress p ON p.node = s.node;

REVOKE ALL ON courier_pii.audit_record, courier_pii.audit_record_default,
	courier_pii.audit_progress FROM PUBLIC;
REVOKE ALL ON courier_pii.audit_log, courier_pii.audit_bulk,
	courier_pii.audit_denied, courier_pii.audit_by_person,
	courier_pii.audit_exports, courier_pii.audit_admin,
	courier_pii.audit_leavers, courier_pii.stat_audit FROM PUBLIC;
REVOKE ALL ON FUNCTION courier_pii.audit_make_partitions(),
	courier_pii.audit_state(), courier_pii.audit_flush(interval),
	courier_pii.audit_verify(), courier_pii.audit_visible(text, text)
	FROM PUBLIC;

GRANT SELECT ON courier_pii.audit_log, courier_pii.audit_bulk,
	courier_pii.audit_denied, courier_pii.audit_by_person,
	courier_pii.audit_exports, courier_pii.audit_admin,
	courier_pii.audit_leavers, courier_pii.stat_audit TO pii_auditor;
GRANT EXECUTE ON FUNCTION courier_pii.audit_state(),
	courier_pii.audit_flush(interval), courier_pii.audit_verify(),
	courier_pii.audit_visible(text, text) TO pii_auditor;

COMMENT ON TABLE courier_pii.audit_record IS 'audit records as ingested from the spool, chained by hash; partitioned by month';
COMMENT ON TABLE courier_pii.audit_record_default IS 'audit records of a month that has no partition of its own';
COMMENT ON TABLE courier_pii.audit_progress IS 'per server: how far its spool has been moved into audit_record';
COMMENT ON VIEW courier_pii.audit_log IS 'every audit record';
COMMENT ON VIEW courier_pii.audit_bulk IS 'exports, copies, destruction, blocked statements, and reads that disclosed 100 values or more';
COMMENT ON VIEW courier_pii.audit_denied IS 'refused access and refused logins';
COMMENT ON VIEW courier_pii.audit_by_person IS 'sums per person and day';
COMMENT ON VIEW courier_pii.audit_exports IS 'exports of personal data';
COMMENT ON VIEW courier_pii.audit_admin IS 'changes of policy, accounts, keys, passwords and structure, requests and approvals, maintenance, and starts of the server';
COMMENT ON VIEW courier_pii.audit_leavers IS 'records of persons who have departed';
COMMENT ON VIEW courier_pii.stat_audit IS 'state of the audit spool of this server: records written, ingested, lost, and the lag';
COMMENT ON FUNCTION courier_pii.audit_make_partitions() IS 'makes the audit partitions for this month and the next one; called by the worker';
COMMENT ON FUNCTION courier_pii.audit_visible(text, text) IS 'false for records about a sealed case, unless the person is one of its readers';
COMMENT ON FUNCTION courier_pii.audit_state() IS 'numbers behind the view stat_audit';
COMMENT ON FUNCTION courier_pii.audit_flush(interval) IS 'waits until all records written so far can be queried; false when the timeout came first';
COMMENT ON FUNCTION courier_pii.audit_verify() IS 'checks the chain of the audit records and the spool; an empty result means intact';
