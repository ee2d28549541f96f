-- The last four characters, through a masked view.
\set VERBOSITY terse
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_desk LOGIN; CREATE ROLE regress_courier_pii_other LOGIN;
CREATE SCHEMA regress_tail;
CREATE TABLE regress_tail.parcel (id integer PRIMARY KEY, phone text);
INSERT INTO regress_tail.parcel SELECT i, '138' || lpad((i * 7919 % 100000000)::text, 8, '0') FROM generate_series(1, 20000) i;
-- a popular number
INSERT INTO regress_tail.parcel SELECT 20000 + i, '139' || lpad(i::text, 4, '0') || '8888' FROM generate_series(1, 4000) i;
SELECT courier_pii.protect_column('regress_tail.parcel', 'phone', 'phone');
CREATE INDEX ON regress_tail.parcel (courier_pii.tail4(phone));
SELECT courier_pii.create_masked_view('regress_tail.parcel', 'regress_tail_masked');
GRANT USAGE ON SCHEMA regress_tail_masked TO PUBLIC;
GRANT SELECT ON regress_tail_masked.parcel TO PUBLIC;
SELECT courier_pii.grant_disclosure('regress_courier_pii_desk', 'phone', 'masked', true);
ANALYZE regress_tail.parcel;
\c - regress_courier_pii_desk
-- how the tags lie in the table depends on the key
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id, phone FROM regress_tail_masked.parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '7919');
SELECT id, phone FROM regress_tail_masked.parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '7919') ORDER BY id;
PREPARE tail (text) AS SELECT id FROM regress_tail_masked.parcel p
    WHERE courier_pii.tail4_of('phone', $1) = courier_pii.tail4(p.phone) AND id < 5;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE tail('7919');
EXECUTE tail('7919');
EXECUTE tail('0000');
RESET plan_cache_mode;
-- planned once for all values, whatever the statistics say of popular ones
PREPARE tail_2 (text) AS SELECT id FROM regress_tail_masked.parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', $1) ORDER BY id;
EXECUTE tail_2('7919');
DO $$ BEGIN FOR i IN 1 .. 8 LOOP EXECUTE format('EXECUTE tail_2(%L)', 1000 + i); END LOOP; END $$;
SELECT generic_plans > 0 AS generic, custom_plans FROM pg_prepared_statements WHERE name = 'tail_2';
CREATE FUNCTION pg_temp.by_tail(wanted text, below int) RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT p.id FROM regress_tail_masked.parcel p WHERE courier_pii.tail4(p.phone) = courier_pii.tail4_of('phone', wanted) AND p.id < below ORDER BY p.id;
END $$;
SELECT t, count(*), min(id) FROM unnest('{7919,5838,7919,1111,7919,7919,3757,7919,8888}'::text[]) WITH ORDINALITY AS w (t, no),
	LATERAL pg_temp.by_tail(t, 20000 + no::int) f (id) GROUP BY no, t ORDER BY no;
-- the tag itself is not for looking at, and means nothing for other text
SELECT courier_pii.tail4(phone) FROM regress_tail_masked.parcel LIMIT 1;
SELECT courier_pii.tail4('13800007919');
SELECT id FROM regress_tail_masked.parcel WHERE courier_pii.tail4(phone || '') = courier_pii.tail4_of('phone', '7919');
-- without permission to search
\c - regress_courier_pii_other
SELECT id FROM regress_tail_masked.parcel WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', '7919');
\c - :superuser
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_tail_masked, regress_tail CASCADE;
DROP OWNED BY regress_courier_pii_desk, regress_courier_pii_other;
DROP ROLE regress_courier_pii_desk, regress_courier_pii_other;
