-- Statements that touch nothing of ours are let through without an account:
-- only as long as that is true.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_reader LOGIN;
CREATE ROLE regress_courier_pii_auditor LOGIN;
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_auditor');
CREATE SCHEMA regress_pure;
GRANT USAGE ON SCHEMA regress_pure TO regress_courier_pii_reader;
CREATE TABLE regress_pure.plain (id int PRIMARY KEY, phone text);
CREATE TABLE regress_pure.parent (id int);
CREATE TABLE regress_pure.child (phone text) INHERITS (regress_pure.parent);
CREATE TABLE regress_pure.other (id int, phone text);
INSERT INTO regress_pure.plain VALUES (1, '13800000001'), (2, '13800000002');
INSERT INTO regress_pure.child VALUES (1, '13800000003');
INSERT INTO regress_pure.other VALUES (1, '13800000004');
SELECT courier_pii.protect_column('regress_pure.other', 'phone', 'phone');
SELECT courier_pii.create_masked_view('regress_pure.other', 'regress_pure_view');
GRANT USAGE ON SCHEMA regress_pure_view TO regress_courier_pii_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA regress_pure, regress_pure_view TO regress_courier_pii_reader;
SELECT courier_pii.grant_disclosure('regress_courier_pii_reader', 'phone', 'clear');
CREATE FUNCTION regress_pure.look(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT phone FROM regress_pure_view.other WHERE id = $1';
CREATE FUNCTION regress_pure.risky(int) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT phone FROM regress_pure_view.other WHERE id = $1';
SELECT courier_pii.trust_function('regress_pure.look(int)'), courier_pii.trust_function('regress_pure.risky(int)');

\c - regress_courier_pii_reader
SET plan_cache_mode = force_generic_plan;
PREPARE one(int) AS SELECT id FROM regress_pure.plain WHERE id = $1 AND phone IS NOT NULL ORDER BY id LIMIT 10;
PREPARE up(int) AS SELECT count(*), max(p.id) FROM regress_pure.parent p WHERE p.id = $1 OR p.id = ANY ('{7,8}');
EXECUTE one(1);
EXECUTE up(1);
-- a function in the statement reads by itself: the statement is accounted for
SELECT id, regress_pure.look(id) FROM regress_pure.plain WHERE id = 1;
SELECT id FROM regress_pure.plain WHERE regress_pure.risky(id) = '13800000004';
-- a built-in function that runs a query, or carries what it is given elsewhere
SELECT query_to_xml('SELECT regress_pure.look(1)', true, false, '') IS NOT NULL AS read FROM regress_pure.plain WHERE id = 1;
SELECT xpath('//look/text()', query_to_xml('SELECT regress_pure.look(1)', true, false, '')) AS masked FROM regress_pure.plain WHERE id = 1;
SELECT pg_notify('regress_pure', regress_pure.look(id)) FROM regress_pure.plain WHERE id = 1;

-- what becomes protected is looked at from then on, in prepared statements too
\c - :superuser
SET plan_cache_mode = force_generic_plan;
PREPARE one(int) AS SELECT id FROM regress_pure.plain WHERE id = $1;
PREPARE up(int) AS SELECT count(*) FROM regress_pure.parent p WHERE p.id = $1;
EXECUTE one(1);
EXECUTE up(1);
SELECT courier_pii.protect_column('regress_pure.plain', 'phone', 'phone'), courier_pii.protect_column('regress_pure.child', 'phone', 'phone');
EXECUTE one(1);
EXECUTE up(1);
\c - regress_courier_pii_auditor
SELECT courier_pii.audit_flush();
SELECT action, command, relations, disclosed, masked, rows_returned AS rows, left(query, 38) AS query FROM courier_pii.audit_log
WHERE relations::text LIKE '%regress_pure%' AND login_role = 'regress_courier_pii_reader' ORDER BY seq;
SELECT action, command, relations, rows_returned AS rows, left(query, 38) AS query FROM courier_pii.audit_log
WHERE relations::text LIKE '%regress_pure%' AND login_role <> 'regress_courier_pii_reader' AND action = 'READ' ORDER BY seq;

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_pure, regress_pure_view CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_reader', 'phone');
SELECT courier_pii.distrust_function('regress_pure.look(integer)'), courier_pii.distrust_function('regress_pure.risky(integer)');
REVOKE pii_auditor FROM regress_courier_pii_auditor;
DROP OWNED BY regress_courier_pii_reader, regress_courier_pii_auditor;
DROP ROLE regress_courier_pii_reader, regress_courier_pii_auditor;
