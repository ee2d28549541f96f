-- Row rules: which rows a role sees, and where "scoped" is clear.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_c1 LOGIN;
CREATE ROLE regress_courier_pii_c2 LOGIN;
CREATE ROLE regress_courier_pii_lead LOGIN;
CREATE ROLE regress_courier_pii_other LOGIN;
CREATE ROLE regress_courier_pii_couriers;
CREATE ROLE regress_courier_pii_desk;
GRANT regress_courier_pii_couriers TO regress_courier_pii_c1, regress_courier_pii_c2;
GRANT regress_courier_pii_desk TO regress_courier_pii_lead;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
SELECT courier_pii.add_org('RR0', 'all', 'hq', NULL), courier_pii.add_org('RR1', 'south', 'branch', 'RR0'), courier_pii.add_org('RR2', 'shenzhen', 'branch', 'RR1'), courier_pii.add_org('RR3', 'north', 'branch', 'RR0');
SELECT courier_pii.hire('RRC1', 'one', 'regress_courier_pii_c1', 'RR2', 'courier'), courier_pii.hire('RRC2', 'two', 'regress_courier_pii_c2', 'RR3', 'courier'), courier_pii.hire('RRL1', 'lead', 'regress_courier_pii_lead', 'RR1', 'lead');
\c - regress_courier_pii_owner
CREATE SCHEMA regress_rule;
SET search_path = regress_rule;
CREATE TABLE parcel (id int PRIMARY KEY, name text, phone text, org text, kind varchar(10), made date, owner name);
INSERT INTO parcel SELECT i, '王小明', '138' || lpad(i::text, 8, '0'), 'RR' || i % 4, CASE WHEN i % 5 = 0 THEN 'even' ELSE 'odd' END,
	current_date - i % 3, 'regress_courier_pii_c' || i % 2 + 1 FROM generate_series(1, 1000) i;
CREATE TABLE task (id int PRIMARY KEY, parcel int, staff text, day date, done boolean NOT NULL DEFAULT false);
INSERT INTO task SELECT i, i, 'RRC' || i % 2 + 1, CASE WHEN i <= 6 THEN current_date ELSE current_date - 1 END FROM generate_series(1, 12) i;
CREATE INDEX ON task (staff, day);
ANALYZE parcel; ANALYZE task;
SELECT courier_pii.protect_column('parcel', 'name', 'person_name'), courier_pii.protect_column('parcel', 'phone', 'phone');
\c - :superuser
SET client_min_messages = warning;
CREATE SCHEMA regress_rview AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_rview TO PUBLIC;
SELECT courier_pii.create_masked_view('regress_rule.parcel', 'regress_rview');
GRANT SELECT, UPDATE ON regress_rview.parcel TO regress_courier_pii_couriers, regress_courier_pii_desk, regress_courier_pii_other;
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_couriers', c, 'scoped')) FROM unnest('{person_name,phone}'::text[]) c;
SET search_path = regress_rule;

-- no rule: all rows
\c - regress_courier_pii_other
SELECT count(*) FROM regress_rview.parcel;

-- conditions that are refused
\c - :superuser
SET search_path = regress_rule;
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{id}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"id = 1 OR true"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"id = (SELECT 1)"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"nothing = today"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"kind = today"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"made within today"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"phone = ''13800000001''"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"kind = actor.shoe_size"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"id in nowhere.parcel where staff = actor.staff_no"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"id in task.nothing where staff = actor.staff_no"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"id in task.parcel"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"kind = ''it"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"made = ''no date''"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"phone in task.staff where day = today"}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{NULL}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{}', '{}', '{nothing}');
SELECT courier_pii.set_row_rule('parcel', NULL, 'bad');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'bad', '{"id in task.staff where day = today"}');
SELECT courier_pii.set_row_rule('task', 'regress_courier_pii_couriers', 'bad', '{"day = ''no date''"}');
SELECT courier_pii.drop_row_rule('parcel', 'regress_courier_pii_couriers', 'bad');
SELECT count(*) FROM courier_pii.row_rules;

-- the three forms
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'own',
	'{id in task.parcel where staff = actor.staff_no and day = today}', '{id in task.parcel where staff = actor.staff_no and day = today}', '{phone}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_desk', 'tree', '{org within actor.org, "kind = ''even''"}');
SELECT tbl, grantee, rule, visible, scope, scope_columns FROM courier_pii.row_rules ORDER BY rule;
\c - regress_courier_pii_c1
SELECT id, name, phone FROM regress_rview.parcel ORDER BY id;
SET enable_seqscan = off; SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM regress_rview.parcel;
RESET enable_seqscan; RESET enable_bitmapscan;
UPDATE regress_rview.parcel SET kind = 'x' WHERE id IN (1, 2) RETURNING id;
\c - regress_courier_pii_c2
SELECT id, name, phone FROM regress_rview.parcel ORDER BY id;
\c - regress_courier_pii_lead
SELECT DISTINCT org, kind FROM regress_rview.parcel ORDER BY org;
SELECT name, phone FROM regress_rview.parcel ORDER BY id LIMIT 1;
\c - regress_courier_pii_other
SELECT count(*) FROM regress_rview.parcel;
EXPLAIN (COSTS OFF) SELECT id FROM regress_rview.parcel;
\c - :superuser
SELECT count(*) FROM regress_rview.parcel;

-- several rules of a role, several roles, constants, login, dates
SET search_path = regress_rule;
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'first', '{"id = ''999''"}', '{}');
SELECT courier_pii.set_row_rule('parcel', 'regress_courier_pii_couriers', 'mine', '{owner = actor.login, made = today, "kind = ''odd''", "org = ''RR1''"}', '{"id = ''999''"}');
GRANT regress_courier_pii_desk TO regress_courier_pii_c2;
\c - regress_courier_pii_c1
SELECT count(*) FILTER (WHERE id < 7) AS tasks, count(*) FILTER (WHERE id = 999) AS first FROM regress_rview.parcel ;
SELECT name, phone FROM regress_rview.parcel WHERE id = 999;
\c - regress_courier_pii_c2
SELECT count(*) > 30 AS desk_too FROM regress_rview.parcel;

-- prepared plans follow SET ROLE, rules and memberships
SET plan_cache_mode = force_generic_plan;
SELECT org, count(*) FROM regress_rview.parcel WHERE kind = 'even' AND id > 6 GROUP BY org ORDER BY org;
PREPARE by_org AS SELECT org, count(*) FROM regress_rview.parcel WHERE kind = 'even' AND id > 6 GROUP BY org ORDER BY org;
EXECUTE by_org;
SET ROLE regress_courier_pii_couriers;
EXECUTE by_org;
SET ROLE regress_courier_pii_desk;
EXECUTE by_org;
RESET ROLE;
EXECUTE by_org;
BEGIN;
SET LOCAL ROLE regress_courier_pii_couriers;
EXECUTE by_org;
ROLLBACK;
EXECUTE by_org;

\c - :superuser
SET search_path = regress_rule;
SELECT courier_pii.drop_row_rule('parcel', r.grantee, r.rule) FROM courier_pii.row_rules r;
SELECT pg_get_viewdef('regress_rview.parcel'::regclass) LIKE '%WHERE%' AS still_filtered;
SELECT count(*) FROM regress_rview.parcel;
SET client_min_messages = error;
SELECT courier_pii.depart(s, reason => 'test') FROM unnest('{RRC1,RRC2,RRL1}'::text[]) s;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_rule, regress_rview CASCADE;
SELECT count(courier_pii.revoke_disclosure('regress_courier_pii_couriers', c)) FROM unnest('{person_name,phone}'::text[]) c;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_c1, regress_courier_pii_c2, regress_courier_pii_lead, regress_courier_pii_other, regress_courier_pii_couriers, regress_courier_pii_desk;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_c1, regress_courier_pii_c2, regress_courier_pii_lead, regress_courier_pii_other, regress_courier_pii_couriers, regress_courier_pii_desk;
