-- Requests and decisions: who may ask, who may decide, what is a person.
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_ann LOGIN;
CREATE ROLE regress_courier_pii_bob LOGIN;
CREATE ROLE regress_courier_pii_cat LOGIN;
CREATE ROLE regress_courier_pii_dan LOGIN;
SELECT courier_pii.appoint('pii_security_admin', 'regress_courier_pii_ann');
SELECT courier_pii.appoint('pii_security_admin', 'regress_courier_pii_cat');
SELECT courier_pii.add_org('T62', 'Depot 62', 'depot');
SELECT courier_pii.hire('T62-A', 'Ann', 'regress_courier_pii_ann', 'T62', NULL);
SELECT courier_pii.hire('T62-B', 'Bob', 'regress_courier_pii_bob', 'T62', NULL);
CREATE SCHEMA regress_ticket;
CREATE TABLE regress_ticket.t (id int PRIMARY KEY, phone text, name text);
INSERT INTO regress_ticket.t SELECT i, '138' || lpad(i::text, 8, '0'), '王小明' FROM generate_series(1, 300) i;
SELECT courier_pii.protect_column('regress_ticket.t', 'phone', 'phone');
ANALYZE regress_ticket.t;
GRANT USAGE ON SCHEMA regress_ticket TO PUBLIC;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_bob;

-- what is asked for
\c - regress_courier_pii_bob
SELECT courier_pii.request('theft', 'because');
SELECT courier_pii.request('export', '  ');
SELECT courier_pii.request('export', NULL);
SELECT courier_pii.request(NULL, 'report');
SELECT courier_pii.request('export', 'report', '[1]');
SELECT courier_pii.request('export', repeat('x', 1001));
SELECT courier_pii.request('export', 'report', jsonb_build_object('note', repeat('x', 20000)));
SELECT courier_pii.request('export', 'report', jsonb_build_object('objects', (SELECT jsonb_agg(i) FROM generate_series(1, 101) i)));
SELECT courier_pii.request('export', 'monthly report', '{"tables": ["regress_ticket.t"], "max_values": 500}') AS own \gset
SELECT kind, state, requester, purpose, details, decided_by, used_at, outcome,
	expires_at - requested_at AS time_to_decide
FROM courier_pii.requests WHERE id = :own;
-- the name is resolved when it is asked for
SELECT courier_pii.request('destroy', 'old rows', '{"table": "t"}') AS unresolved \gset
SET search_path = regress_ticket;
SELECT courier_pii.request('destroy', 'old rows', '{"object": "T.phone"}') AS second \gset
RESET search_path;
SELECT courier_pii.approve(:own);
SELECT courier_pii.request_review(:own);
SELECT count(*) FROM courier_pii.request_register;
SELECT count(*) FROM courier_pii.request_notices;
INSERT INTO courier_pii.request_register DEFAULT VALUES;

-- others do not see it
\c - regress_courier_pii_dan
SELECT count(*) FROM courier_pii.requests WHERE id >= :own;
SELECT courier_pii.cancel(:own);
SELECT courier_pii.cancel(NULL);
SELECT courier_pii.cancel(999999999);

-- the approver's view
\c - regress_courier_pii_ann
SELECT section, item, value FROM courier_pii.request_review(:own) WHERE section <> 'audit of 30 days';
SELECT section, item, value FROM courier_pii.request_review(:second) WHERE section IN ('taken', 'classes', 'requests of 90 days');
SELECT section, item, value FROM courier_pii.request_review(:unresolved) WHERE section = 'taken';
SELECT count(*) FROM courier_pii.request_review(:own) WHERE section = 'audit of 30 days';
SELECT count(*) FROM courier_pii.request_review(999999999);

-- nobody decides on what is theirs: not by SET ROLE, not by a function
SELECT courier_pii.request('export', 'for me', '{"tables": ["regress_ticket.t"]}') AS mine \gset
SELECT courier_pii.approve(:mine);
SELECT courier_pii.reject(:mine);
\c - :superuser
GRANT regress_courier_pii_cat TO regress_courier_pii_ann;
\c - regress_courier_pii_ann
SET ROLE regress_courier_pii_cat;
SELECT courier_pii.approve(:mine);
RESET ROLE;
\c - :superuser
SET SESSION AUTHORIZATION regress_courier_pii_ann;
SELECT courier_pii.request('export', 'as another', '{}') AS other \gset
SELECT requester FROM courier_pii.requests WHERE id = :other;
SET SESSION AUTHORIZATION regress_courier_pii_cat;
SELECT courier_pii.approve(:other);
RESET SESSION AUTHORIZATION;
CREATE FUNCTION regress_ticket.trap(bigint) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT courier_pii.approve($1)';
CREATE FUNCTION regress_ticket.invoker_trap(bigint) RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM courier_pii.approve($1); END';
CREATE VIEW regress_ticket.work AS SELECT 1 AS n FROM courier_pii.approve(:own);
REVOKE regress_courier_pii_cat FROM regress_courier_pii_ann;
GRANT SELECT ON regress_ticket.work TO PUBLIC;
\c - regress_courier_pii_bob
SELECT regress_ticket.trap(:own);
-- somebody with the duty is lured into the call
\c - regress_courier_pii_ann
SELECT regress_ticket.trap(:own);
SELECT regress_ticket.invoker_trap(:own);
SELECT * FROM regress_ticket.work;
SELECT state FROM courier_pii.requests WHERE id = :own;

-- nor does whoever it is for
\c - regress_courier_pii_bob
SELECT courier_pii.request('disclosure', 'a case', '{"class": "phone", "level": "clear", "beneficiary": "T62-A"}') AS for_ann \gset
SELECT courier_pii.request('policy', 'a case', '{"object": "regress_courier_pii_ann/phone/clear"}') AS widens_ann \gset
\c - regress_courier_pii_ann
SELECT courier_pii.approve(:for_ann);
SELECT courier_pii.approve(:widens_ann);
-- she sees what is for her
SELECT state FROM courier_pii.requests WHERE id = :for_ann;

-- deciding
SELECT courier_pii.approve(:own, 'seen');
SELECT courier_pii.approve(:own);
SELECT courier_pii.reject(:own);
SELECT state, decided_by, outcome, expires_at - decided_at AS time_to_use FROM courier_pii.requests WHERE id = :own;
SELECT courier_pii.reject(:second, 'not now');
SELECT courier_pii.approve(:second);
SELECT courier_pii.approve(NULL);
SELECT courier_pii.revoke_ticket(:second);
SELECT courier_pii.revoke_ticket(:own, 'no longer needed');
SELECT state, decided_by, outcome FROM courier_pii.requests WHERE id IN (:own, :second) ORDER BY id;
SELECT courier_pii.cancel(:mine);
SELECT courier_pii.approve(:mine);
SELECT approver, note FROM courier_pii.request_approvals WHERE request_id = :own;
SELECT event, person, note FROM courier_pii.request_notices WHERE request_id IN (:own, :second, :mine) ORDER BY id;

-- a rolled back revocation still makes the ticket void
\c - regress_courier_pii_bob
SELECT courier_pii.request('copy', 'test data') AS copy \gset
\c - regress_courier_pii_cat
SELECT courier_pii.approve(:copy);
BEGIN;
SELECT courier_pii.revoke_ticket(:copy);
ROLLBACK;
SELECT state FROM courier_pii.requests WHERE id = :copy;

-- two approvals, by two persons
\c - regress_courier_pii_bob
SELECT courier_pii.set_quorum('destroy', 2, 100);
\c - regress_courier_pii_ann
SELECT courier_pii.set_quorum('destroy', 0);
SELECT courier_pii.set_quorum('theft', 2);
SELECT courier_pii.set_quorum('destroy', 2, 100);
SELECT courier_pii.set_quorum('key_destroy', 2);
SELECT kind, above_rows, approvals FROM courier_pii.quorum_rules ORDER BY kind;
\c - regress_courier_pii_bob
SELECT courier_pii.request('destroy', 'old rows', '{"table": "regress_ticket.t"}') AS many \gset
SELECT courier_pii.request('key_destroy', 'old period', '{"object": "phone/1"}') AS key \gset
\c - regress_courier_pii_ann
SELECT value FROM courier_pii.request_review(:many) WHERE item = 'approvals needed';
SELECT courier_pii.approve(:many);
SELECT courier_pii.approve(:many);
SELECT state, decided_by FROM courier_pii.requests WHERE id = :many;
\c - regress_courier_pii_cat
SELECT courier_pii.approve(:many);
SELECT courier_pii.approve(:key);
SELECT id = :many AS many, state, decided_by FROM courier_pii.requests WHERE id IN (:many, :key) ORDER BY id;

-- each step is in the audit
\c - :superuser
CREATE ROLE regress_courier_pii_eve LOGIN;
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_eve');
\c - regress_courier_pii_eve
SELECT courier_pii.audit_flush();
SELECT command, outcome, staff_no, detail - 'request' - 'digest' AS detail, length(detail ->> 'digest') AS digest
FROM courier_pii.audit_log
WHERE action = 'REQUEST' AND (detail ->> 'request')::bigint IN (:own, :second, :mine, :many)
ORDER BY seq;
SELECT count(*) > 5 AS auditor_sees_all FROM courier_pii.requests;

\c - :superuser
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_ticket CASCADE;
SELECT courier_pii.set_quorum('destroy', 1, 100), courier_pii.set_quorum('key_destroy', 1);
SELECT courier_pii.depart('T62-A'), courier_pii.depart('T62-B');
REVOKE CREATE ON DATABASE contrib_regression FROM regress_courier_pii_bob;
DROP ROLE regress_courier_pii_ann, regress_courier_pii_bob, regress_courier_pii_cat, regress_courier_pii_dan, regress_courier_pii_eve;
