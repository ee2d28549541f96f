-- Budgets beside clear values, one person over many sessions, gates, live views.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_mia LOGIN;
CREATE ROLE regress_courier_pii_mia2 LOGIN;
CREATE ROLE regress_courier_pii_ned LOGIN;
CREATE ROLE regress_courier_pii_sec LOGIN;
GRANT pii_security_admin TO regress_courier_pii_sec;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_meter;
CREATE TABLE regress_meter.c (id int PRIMARY KEY, phone text);
INSERT INTO regress_meter.c SELECT i, '138' || lpad(i::text, 8, '0') FROM generate_series(1, 2000) i;
SELECT courier_pii.protect_column('regress_meter.c', 'phone', 'phone');
VACUUM ANALYZE regress_meter.c;
\c - :superuser
SET client_min_messages = warning;
CREATE SCHEMA regress_mview AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_mview TO PUBLIC;
SELECT courier_pii.create_masked_view('regress_meter.c', 'regress_mview');
GRANT SELECT ON regress_mview.c TO PUBLIC;
SELECT courier_pii.grant_disclosure(r::regrole, 'phone', 'clear', true)
	FROM unnest('{regress_courier_pii_mia,regress_courier_pii_mia2}'::text[]) r;
SELECT courier_pii.add_org('MT', 'meter', 'hq', NULL);
SELECT courier_pii.hire('MT1', 'Mia', 'regress_courier_pii_mia', 'MT', 'clerk');

-- arguments
\set VERBOSITY terse
SELECT courier_pii.set_budget('regress_courier_pii_mia', 'clear', 1, 1, 1);
SELECT courier_pii.set_budget('regress_courier_pii_mia', 'probes', -1, 1, 1);
SELECT courier_pii.set_budget('regress_courier_pii_mia', NULL, 1, 1, 1);
SELECT courier_pii.set_budget(:'superuser', 'probes', 1, 1, 1);
\c - regress_courier_pii_ned
SELECT courier_pii.set_budget('regress_courier_pii_ned', 'probes', NULL, NULL, NULL);
SELECT courier_pii.end_session(1);
SELECT count(*) FROM courier_pii.stat_session;

-- searches: an hour's budget holds over statements and sessions
\c - regress_courier_pii_sec
SELECT courier_pii.set_budget('regress_courier_pii_mia', 'probes', 5, 8, NULL);
SELECT courier_pii.set_budget('regress_courier_pii_ned', 'masked', 100, 150, NULL);
SELECT courier_pii.set_limit('regress_courier_pii_mia', 100, 250, NULL);
SELECT grantee, kind, per_statement, per_hour, per_day, set_by FROM courier_pii.budgets
	WHERE grantee::text ~ '^regress_courier_pii_(mia|mia2|ned)$' ORDER BY grantee::text, kind;
\c - regress_courier_pii_mia
SELECT count(*) FROM regress_mview.c WHERE phone IN ('13800000001', '13800000002', '13800000003');
SELECT count(*) FROM regress_mview.c WHERE phone IN ('1', '2', '3', '4', '5', '6');
\c - regress_courier_pii_mia
SELECT count(*) FROM regress_mview.c WHERE phone = '13800000001';

-- masked values
\c - regress_courier_pii_ned
SELECT count(length(phone)) FROM regress_mview.c WHERE id <= 100;
SELECT count(length(phone)) FROM regress_mview.c WHERE id <= 101;
\c - regress_courier_pii_ned
SELECT count(length(phone)) FROM regress_mview.c WHERE id <= 51;

-- clear values: what is left of the hour, to the last one
\c - regress_courier_pii_mia
SELECT count(length(phone)) FROM regress_mview.c WHERE id <= 100;
SELECT count(length(phone)) FROM regress_mview.c WHERE id <= 100;
SELECT count(length(phone)) FROM regress_mview.c WHERE id <= 51;
SELECT count(length(phone)) FROM regress_mview.c WHERE id <= 1;

-- the gate: far more rows than allowed are expected, and nothing filters them
\set VERBOSITY default
\c - regress_courier_pii_sec
SELECT courier_pii.set_limit('regress_courier_pii_mia2', 100, NULL, NULL);
\c - regress_courier_pii_mia2
SELECT phone FROM regress_mview.c;
SELECT id, phone FROM regress_mview.c ORDER BY id DESC;
COPY regress_mview.c TO stdout;
\set VERBOSITY terse
-- these do not expect that much, or may be wrong about it
SELECT id, phone FROM regress_mview.c LIMIT 1;
SELECT id, phone FROM regress_mview.c WHERE id::text LIKE '%' AND length(id::text) = 4 AND id = 1999;
SELECT id, phone FROM regress_mview.c WHERE id % 1 = 1;
SELECT id FROM regress_mview.c WHERE false;
SELECT count(*) FROM regress_mview.c;
PREPARE p(bigint) AS SELECT id, phone FROM regress_mview.c LIMIT $1;
EXECUTE p(2);
BEGIN;
DECLARE k CURSOR FOR SELECT id, phone FROM regress_mview.c;
FETCH 2 FROM k;
ROLLBACK;
\set FETCH_COUNT 50
SELECT id FROM regress_mview.c WHERE id <= 2;
\set FETCH_COUNT 0

-- rows with sealed values that leave
\c - :superuser
CREATE ROLE regress_courier_pii_rae LOGIN;
GRANT USAGE ON SCHEMA regress_meter TO regress_courier_pii_rae;
GRANT SELECT ON regress_meter.c TO regress_courier_pii_rae;
SELECT courier_pii.set_budget('regress_courier_pii_rae', 'sealed', 5, 17, NULL);
\c - regress_courier_pii_rae
\o /dev/null
SELECT * FROM regress_meter.c WHERE id <= 5;
SELECT * FROM regress_meter.c WHERE id <= 6;
\o
SELECT id FROM regress_meter.c WHERE id <= 1000 AND id % 500 = 0;
\copy regress_meter.c to /dev/null
COPY (SELECT phone FROM regress_meter.c WHERE id > 2000) TO stdout;
BEGIN;
DECLARE k CURSOR FOR SELECT phone FROM regress_meter.c;
MOVE 3 FROM k;
ROLLBACK;
\o /dev/null
SELECT * FROM regress_meter.c WHERE id <= 2;
SELECT * FROM regress_meter.c WHERE id <= 1;
\o
\c - regress_courier_pii_sec
SELECT p.login_role, p.hour_sealed_rows, p.day_sealed_rows FROM courier_pii.stat_person p WHERE p.login_role::text = 'regress_courier_pii_rae';

-- who takes how much
\c - regress_courier_pii_sec
SELECT p.staff_no, p.display_name, p.login_role, p.hour_disclosed, p.day_disclosed, p.hour_probes, p.hour_masked
	FROM courier_pii.stat_person p WHERE p.login_role::text ~ '^regress_courier_pii_(mia|mia2|ned)$' ORDER BY p.login_role::text;
SELECT s.login_role, s.staff_no, s.disclosed, s.statement_disclosed FROM courier_pii.stat_session s WHERE s.pid = pg_backend_pid();
SELECT courier_pii.end_session(1);

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_meter, regress_mview CASCADE;
SELECT courier_pii.depart('MT1');
SELECT courier_pii.revoke_disclosure(r::regrole, 'phone')
	FROM unnest('{regress_courier_pii_mia,regress_courier_pii_mia2}'::text[]) r;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_mia, regress_courier_pii_mia2, regress_courier_pii_ned, regress_courier_pii_sec, regress_courier_pii_rae;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_mia2, regress_courier_pii_ned, regress_courier_pii_sec, regress_courier_pii_rae;
