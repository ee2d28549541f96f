-- What the audit trail says about statements.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_audited LOGIN;
CREATE ROLE regress_courier_pii_auditor LOGIN;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_audit;
CREATE TABLE regress_audit.c (id int PRIMARY KEY, name text, phone text);
INSERT INTO regress_audit.c SELECT i, '王小明', '138' || lpad(i::text, 8, '0') FROM generate_series(1, 300) i;
SELECT courier_pii.protect_column('regress_audit.c', 'phone', 'phone'), courier_pii.protect_column('regress_audit.c', 'name', 'person_name');
\c - :superuser
CREATE SCHEMA regress_aview AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_aview TO PUBLIC;
SELECT courier_pii.create_masked_view('regress_audit.c', 'regress_aview');
GRANT SELECT, INSERT, UPDATE, DELETE ON regress_aview.c TO regress_courier_pii_audited;
SELECT courier_pii.grant_disclosure('regress_courier_pii_audited', 'phone', 'clear');
SELECT courier_pii.set_limit('regress_courier_pii_audited', 200, NULL, NULL);
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_auditor');
SELECT count(*) FROM courier_pii.audit_log;
DELETE FROM courier_pii.audit_record;

\c - regress_courier_pii_audited
SET courier_pii.purpose = 'ticket of a customer';
SELECT 1 AS nothing_of_ours;
SELECT id, name, phone FROM regress_aview.c WHERE id IN (1, 2) ORDER BY id;
SELECT name FROM regress_aview.c WHERE id = 1;
SELECT id FROM regress_aview.c WHERE phone = '13800000007';
SELECT id FROM regress_aview.c WHERE name = '李小明';
SELECT count(length(phone)) FROM regress_aview.c;
SELECT count(length(phone)) FROM regress_aview.c WHERE id <= 150;
BEGIN;
SELECT phone FROM regress_aview.c WHERE id = 3;
ROLLBACK;
INSERT INTO regress_aview.c VALUES (1000, '赵大', '13900001000');
UPDATE regress_aview.c SET phone = '13900001001' WHERE id = 1000;
DELETE FROM regress_aview.c WHERE id = 1000;
COPY (SELECT phone FROM regress_aview.c WHERE id = 4) TO stdout;
CREATE TEMP TABLE copied AS SELECT phone FROM regress_aview.c WHERE id <= 5;
SELECT * FROM regress_audit.c;
SELECT phone, 1 / (id - 5) FROM regress_aview.c WHERE id = 5;
BEGIN;
DECLARE k CURSOR FOR SELECT phone FROM regress_aview.c ORDER BY id;
FETCH 2 FROM k;
FETCH 3 FROM k;
COMMIT;
DO $$ BEGIN PERFORM phone FROM regress_aview.c WHERE id = 6; PERFORM length(phone) FROM regress_aview.c WHERE id = 6; END $$;
SELECT courier_pii.set_limit('regress_courier_pii_audited', NULL, NULL, NULL);
SELECT count(*) FROM courier_pii.audit_log;

\c - regress_courier_pii_auditor
SELECT courier_pii.audit_flush();
SELECT phase, action, outcome, sqlstate, command, relations, classes, rows_returned AS rows, disclosed, masked, probes, regexp_replace(query, '\s+', ' ', 'g') AS query
FROM courier_pii.audit_log WHERE login_role = 'regress_courier_pii_audited' AND action NOT LIKE 'LOGIN%' ORDER BY seq;
SELECT count(*) AS with_clear_text FROM courier_pii.audit_log WHERE (query || coalesce(detail::text, '')) ~ '13800000007|李小明|赵大|139000010';
SELECT DISTINCT purpose, actor_proof FROM courier_pii.audit_log WHERE login_role = 'regress_courier_pii_audited' AND action = 'READ';
SELECT action, command, detail - 'view' FROM courier_pii.audit_admin WHERE detail::text LIKE '%regress_courier_pii_audited%' OR command = 'create_masked_view' AND detail->>'view' = 'regress_aview.c' ORDER BY seq;
SELECT DISTINCT action, outcome FROM courier_pii.audit_denied WHERE login_role = 'regress_courier_pii_audited' ORDER BY 1, 2;
SELECT * FROM courier_pii.audit_verify();

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_audit, regress_aview CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_audited', 'phone');
REVOKE pii_auditor FROM regress_courier_pii_auditor;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_audited, regress_courier_pii_auditor;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_audited, regress_courier_pii_auditor;
