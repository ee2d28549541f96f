-- Plans over masked views: as good as over the table, and no row rule undone.
SELECT current_user AS superuser \gset
\getenv abs_srcdir PG_ABS_SRCDIR
\set plan :abs_srcdir '/' test/lib/plan.psql
\i :plan
CREATE ROLE regress_courier_pii_free LOGIN;
CREATE ROLE regress_courier_pii_bound LOGIN;
CREATE SCHEMA regress_plan;
SET search_path = regress_plan;
CREATE TABLE waybill (id bigint, day date, phone text, name text, branch text, state int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE waybill_1 PARTITION OF waybill FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE waybill_2 PARTITION OF waybill FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE INDEX ON waybill (phone);
INSERT INTO waybill SELECT i, date '2026-01-01' + i % 59, (13800000000 + i)::text, '王小' || chr(20000 + i), CASE WHEN i % 50 = 0 THEN 'SZ' ELSE 'HZ' END, i % 3 FROM generate_series(1, 1000) i;
CREATE TABLE task (waybill_id bigint PRIMARY KEY, note text);
INSERT INTO task SELECT i, 'x' FROM generate_series(1, 1000, 10) i;
CREATE TABLE branch (code text PRIMARY KEY, kind text);
INSERT INTO branch VALUES ('SZ', 'own'), ('HZ', 'other');
SELECT courier_pii.protect_column('waybill', 'phone', 'phone'), courier_pii.protect_column('waybill', 'name', 'person_name');
SELECT courier_pii.create_masked_view('waybill', 'regress_planview');
SELECT courier_pii.set_row_rule('waybill', 'regress_courier_pii_free', 'all');
SELECT courier_pii.set_row_rule('waybill', 'regress_courier_pii_bound', 'own', visible => '{branch in branch.code where kind = ''own''}');
SELECT courier_pii.grant_disclosure(r::regrole, c, 'clear') FROM unnest('{regress_courier_pii_free,regress_courier_pii_bound}'::text[]) r, unnest('{phone,person_name}'::text[]) c;
GRANT USAGE ON SCHEMA regress_plan, regress_planview TO PUBLIC;
GRANT SELECT ON regress_planview.waybill, task TO regress_courier_pii_free, regress_courier_pii_bound;
GRANT CREATE ON SCHEMA regress_plan TO regress_courier_pii_bound;
VACUUM ANALYZE waybill; VACUUM ANALYZE task; VACUUM ANALYZE branch;

-- all rows: the view is as open as the table
\c - regress_courier_pii_free
SET search_path = regress_planview, regress_plan, public;
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off;
SELECT * FROM plan_of($$SELECT phone FROM waybill WHERE id = 7 AND day = '2026-01-08'$$);
SELECT * FROM plan_of($$SELECT id FROM waybill WHERE phone = '13800000007' AND day >= '2026-02-01'$$);
SELECT * FROM plan_of($$SELECT t.note, w.phone FROM task t JOIN waybill w ON w.id = t.waybill_id WHERE t.waybill_id = 11$$);
-- PostgreSQL 15 keeps a join condition that is true already
SELECT * FROM plan_of($$SELECT t.note, w.phone FROM task t LEFT JOIN waybill w ON w.id = t.waybill_id AND w.day = '2026-01-12' WHERE t.waybill_id = 11$$) WHERE "QUERY PLAN" !~ 'Join Filter: .*waybill_id';
SELECT * FROM plan_of($$SELECT id, phone FROM waybill ORDER BY id, day LIMIT 3$$);
SELECT * FROM plan_of($$SELECT id FROM waybill WHERE id = 7 AND name LIKE '王%'$$);
SELECT * FROM plan_of($$SELECT count(*) FROM waybill WHERE day = '2026-02-03'$$);
SELECT t.note, w.phone FROM task t JOIN waybill w ON w.id = t.waybill_id WHERE t.waybill_id = 11;
SELECT t.waybill_id, w.phone, w IS NULL AS missing FROM task t LEFT JOIN waybill w ON w.id = t.waybill_id AND w.id = 11 WHERE t.waybill_id IN (11, 21) ORDER BY 1;

-- a WITH query that is used twice, asked for or not
SELECT * FROM plan_of($$WITH c AS (SELECT * FROM waybill WHERE day = '2026-01-08') SELECT (SELECT count(*) FROM c WHERE id = 7), (SELECT phone FROM c WHERE phone = '13800000007')$$);
WITH c AS (SELECT * FROM waybill WHERE day = '2026-01-08') SELECT (SELECT count(*) FROM c WHERE id = 7), (SELECT phone FROM c WHERE phone = '13800000007');
WITH c AS NOT MATERIALIZED (SELECT id, phone FROM waybill ORDER BY id LIMIT 9) SELECT a.phone FROM c a JOIN c b ON b.id = a.id + 1 WHERE a.phone = '13800000007';
WITH c AS MATERIALIZED (SELECT id, phone FROM waybill WHERE id < 9) SELECT a.phone FROM c a JOIN c b ON b.id = a.id + 1 WHERE a.phone = '13800000007';
WITH c AS (SELECT id, phone FROM waybill WHERE id < 9), d AS (SELECT a.id, b.phone FROM c a JOIN c b ON b.id = a.id + 1) SELECT x.phone FROM d x JOIN d y ON y.id = x.id WHERE x.phone = '13800000008';

-- an inner query sorted by a column that it does not put out
SELECT * FROM (SELECT name, lower(phone) AS p FROM waybill WHERE id < 9 ORDER BY state, id OFFSET 1) s;
SELECT t, t.p || '!' FROM (SELECT name, p FROM (SELECT name, phone AS p, state, id FROM waybill WHERE id < 9 ORDER BY day DESC LIMIT 4) s ORDER BY state, id LIMIT 2) t;

-- some rows: the rule is a join, and conditions that tell nothing go along with it
\c - regress_courier_pii_bound
SET search_path = regress_planview, regress_plan, public;
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off; SET enable_bitmapscan = off; SET enable_seqscan = off;
SELECT * FROM plan_of($$SELECT phone FROM waybill WHERE id = 50 AND day = '2026-02-20'$$);
SELECT * FROM plan_of($$SELECT w.phone FROM task t JOIN waybill w ON w.id = t.waybill_id AND w.day = '2026-01-01' WHERE t.waybill_id = 11$$);
SELECT count(*), min(id) FROM waybill;
SELECT id FROM waybill WHERE phone IN ('13800000050', '13800000051');
SELECT count(*) FROM waybill w WHERE w.id IN (SELECT waybill_id - 1 FROM task) AND EXISTS (SELECT FROM task WHERE waybill_id = w.id + 1);
-- functions that tell what they see are called for visible rows only
CREATE FUNCTION regress_plan.spy(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN IF $1 <> 'SZ' THEN RAISE EXCEPTION 'saw %', $1; END IF; RETURN true; END $$;
CREATE FUNCTION regress_plan.spies(text) RETURNS SETOF boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RETURN NEXT regress_plan.spy($1); END $$;
CREATE FUNCTION regress_plan.spy_eq(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RETURN regress_plan.spy($1); END $$;
CREATE OPERATOR regress_plan.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_plan.spy_eq);
SELECT spy('HZ');
SELECT count(*) FROM waybill WHERE spy(branch);
SELECT count(*) FROM waybill WHERE branch === 'x';
SELECT count(*) FROM waybill WHERE NOT spy(branch) OR id > 0;
SELECT count(*) FROM (SELECT * FROM waybill) s WHERE spy(s.branch);
SELECT count(*) FROM (SELECT spy(branch) AS saw FROM waybill) s WHERE saw;
SELECT count(*) FROM (SELECT spy(branch) AS saw FROM waybill UNION ALL SELECT true) s WHERE saw;
SELECT branch FROM waybill GROUP BY branch HAVING spy(branch);
SELECT count(*) FROM task t JOIN waybill w ON spy(w.branch) AND t.waybill_id + 9 = w.id;
SELECT count(*) FROM task t LEFT JOIN waybill w ON spy(w.branch);
SELECT count(*) FROM waybill w, LATERAL spies(w.branch);
SELECT count(*) FROM waybill w, LATERAL (SELECT 1 WHERE spy(w.branch)) l;
SELECT count(*) FROM waybill w WHERE EXISTS (SELECT 1 WHERE spy(w.branch));
SELECT count(*) FROM waybill w WHERE true IN (SELECT spy(w.branch));
SELECT count(*) FROM waybill w WHERE (SELECT spy(w.branch));
SELECT count(*) FROM waybill w WHERE EXISTS (SELECT 1 FROM task t WHERE EXISTS (SELECT 1 WHERE spy(w.branch)));
WITH c AS (SELECT * FROM waybill) SELECT count(*) FROM c WHERE spy(branch);
WITH c AS (SELECT spy(branch) AS saw FROM waybill) SELECT count(*) FROM c WHERE saw;
SELECT count(*) FROM waybill WHERE CASE WHEN spy(branch) THEN id > 0 END;
SELECT bool_and(spy(branch)) FROM waybill;
CREATE TEMP VIEW mine AS SELECT id, spy(branch) AS saw FROM waybill;
SELECT count(*) FROM mine WHERE saw;
SELECT count(*) FROM mine a JOIN mine b USING (saw);
SELECT count(*) FROM waybill WHERE 1 / (CASE branch WHEN 'SZ' THEN 1 ELSE 0 END) > 0;
PREPARE p(text) AS SELECT count(*) FROM waybill WHERE spy(branch) AND phone = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE p('13800000050');
EXECUTE p('13800000051');

\c - :superuser
SET client_min_messages = error;
DROP OWNED BY regress_courier_pii_bound CASCADE;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP FUNCTION public.plan_of(text);
DROP SCHEMA regress_plan, regress_planview CASCADE;
SELECT courier_pii.revoke_disclosure(r::regrole, c) FROM unnest('{regress_courier_pii_free,regress_courier_pii_bound}'::text[]) r, unnest('{phone,person_name}'::text[]) c;
DROP OWNED BY regress_courier_pii_free, regress_courier_pii_bound;
DROP ROLE regress_courier_pii_free, regress_courier_pii_bound;
