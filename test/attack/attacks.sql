-- Attacks of test/t/060_attack.pl, each run by every role, in every protocol, in
-- sessions of its own.  A role may see what its work shows it (see may() in
-- test/lib/CourierPiiAttack.pm) and nothing else; after "nothing" not even that.
--
-- attack: NAME [#N ... nothing oracle]
--   #N       numbers of the list in test/attack/README.md
--   nothing  whatever comes back, or is left behind, must hold no clear text at all
--   oracle   runs twice, with the true telephone number of a parcel as {guess} and with
--            one that differs in a digit that no mask shows: both must look alike
-- "-- as: ROLE" goes on as another role, whose own answers are not searched;
-- "-- as: attacker" goes back.  "-- data: TEXT" is what a COPY is given.
-- {self} is the attacker, {near} and {guess} telephone numbers,
-- {phone_envelope} and the like stolen sealed values.

-- attack: plain reading [#38]
SELECT * FROM app.shipment;
SELECT * FROM masked.shipment;
TABLE app.shipment_1;
SELECT * FROM app.shipment_2;
-- attack: cast to text
SELECT recv_phone::text, recv_name::text, recv_addr::text, recv_id::text, remark::text, waybill_no::text FROM app.shipment;
-- attack: cast to varchar and back
SELECT recv_phone::varchar, CAST(recv_name AS varchar(40)), recv_id::char(30) FROM app.shipment;
-- attack: the door itself
SELECT courier_pii.show(recv_phone), courier_pii.show(remark) FROM app.shipment;
-- attack: the door with a scope of one's own
SELECT courier_pii.show_column(recv_phone, 'app.shipment', 4::int2, true), courier_pii.show_column(recv_id, 'app.shipment', 6::int2, true), courier_pii.show_column(remark, NULL, NULL, true) FROM app.shipment;
-- attack: pattern [#3]
SELECT id FROM masked.shipment WHERE recv_phone LIKE '1394%';
SELECT id, recv_phone FROM app.shipment WHERE recv_phone::text LIKE '1394%';
-- attack: regular expression [#3]
SELECT regexp_matches(recv_phone, '^(.*)$'), regexp_replace(recv_name, '(.)', '\1\1', 'g') FROM masked.shipment;
-- attack: range [#2]
SELECT id FROM app.shipment WHERE recv_phone < '1395';
SELECT id FROM app.shipment WHERE recv_phone BETWEEN '1394' AND '1395';
SELECT id, recv_phone FROM masked.shipment WHERE recv_phone > '139' ORDER BY recv_phone;
-- attack: order [#2]
SELECT id, recv_phone FROM app.shipment ORDER BY recv_phone;
SELECT id FROM app.shipment ORDER BY recv_phone USING OPERATOR(courier_pii.<);
-- attack: group by part [#5]
SELECT substr(recv_phone, 7, 1), array_agg(id) FROM masked.shipment GROUP BY 1;
SELECT substr(recv_phone::text, 4, 4), array_agg(id) FROM app.shipment GROUP BY 1;
-- attack: minimum and maximum [#6]
SELECT min(recv_phone), max(recv_phone) FROM masked.shipment;
SELECT min(recv_phone), max(recv_phone) FROM app.shipment;
SELECT min(recv_phone::text), mode() WITHIN GROUP (ORDER BY recv_name::text) FROM app.shipment;
-- attack: aggregates of text
SELECT string_agg(recv_phone, ','), string_agg(remark, ',') FROM masked.shipment;
SELECT string_agg(recv_phone::text, ','), array_agg(recv_name::text) FROM app.shipment;
-- attack: aggregates of values
SELECT array_agg(recv_phone), array_agg(recv_addr) FROM app.shipment;
-- attack: own aggregate [#6]
CREATE FUNCTION pg_temp.add(text, text) RETURNS text LANGUAGE sql AS 'SELECT coalesce($1, '''') || $2';
CREATE AGGREGATE pg_temp.gather(text) (SFUNC = pg_temp.add, STYPE = text);
SELECT pg_temp.gather(recv_phone::text) FROM masked.shipment;
SELECT pg_temp.gather(recv_phone::text) FROM app.shipment;
-- attack: digests [#8]
SELECT md5(recv_phone), sha256(convert_to(recv_name, 'UTF8')), hashtext(recv_id) FROM masked.shipment;
SELECT md5(recv_phone::text), encode(digest(recv_phone::text, 'sha256'), 'hex') FROM app.shipment;
-- attack: codings
SELECT encode(convert_to(recv_phone, 'UTF8'), 'base64'), encode(convert_to(recv_name, 'UTF8'), 'hex'), reverse(recv_phone), translate(recv_phone, '0123456789', 'abcdefghij') FROM masked.shipment;
SELECT encode(convert_to(recv_phone::text, 'UTF8'), 'hex'), reverse(remark::text), quote_literal(recv_id::text) FROM app.shipment;
-- attack: one character a column
SELECT array_to_string(ARRAY(SELECT substr(recv_phone, i, 1) FROM generate_series(1, 11) i), '') FROM masked.shipment;
-- attack: image equality [#9]
SELECT id FROM app.shipment WHERE record_image_eq(ROW(recv_phone), ROW('{near}'::courier_pii.phone));
SELECT a.id, b.id, a.recv_phone FROM app.shipment a JOIN app.shipment b ON ROW(a.recv_phone) *= ROW(b.recv_phone);
-- attack: sizes [#11]
SELECT pg_column_size(recv_phone), octet_length(recv_phone::text), length(recv_name::text) FROM app.shipment;
-- attack: number cast [#12]
SELECT recv_phone::bigint FROM masked.shipment;
SELECT recv_phone::text::int FROM app.shipment;
SELECT recv_id::text::numeric FROM app.shipment;
-- attack: other casts [#12]
SELECT recv_phone::text::date FROM app.shipment;
SELECT recv_phone::text::inet FROM app.shipment;
SELECT recv_name::text::regclass FROM app.shipment;
SELECT remark::text::jsonb FROM app.shipment;
SELECT remark::text::uuid FROM app.shipment;
SELECT recv_phone::bytea FROM app.shipment;
SELECT recv_phone::text::xml FROM app.shipment;
-- attack: binary casts [#57]
SELECT recv_phone::courier_pii.sealed::text FROM app.shipment;
SELECT recv_phone::courier_pii.person_name::text, recv_name::courier_pii.note::text FROM app.shipment;
CREATE CAST (courier_pii.sealed AS bytea) WITHOUT FUNCTION;
CREATE CAST (courier_pii.phone AS text) WITHOUT FUNCTION;
-- attack: send functions [#21]
SELECT record_send(s), array_send(ARRAY[recv_phone]) FROM app.shipment s;
SELECT courier_pii.sealed_send(recv_phone) FROM app.shipment;
SELECT encode(courier_pii.sealed_send(recv_phone::courier_pii.sealed), 'hex') FROM app.shipment;
-- attack: input of an envelope as another class [#57]
SELECT (recv_phone::courier_pii.sealed::text)::courier_pii.note::text FROM app.shipment;
DO $$ DECLARE e text; BEGIN SELECT format('%s', recv_id) INTO e FROM app.shipment LIMIT 1; RAISE NOTICE '%', e::courier_pii.phone::text; END $$;
-- attack: a value under another table's disclosure
CREATE TEMP TABLE mine (id bigint, recv_phone courier_pii.phone, remark courier_pii.note);
INSERT INTO mine SELECT id, recv_phone, remark FROM app.shipment;
SELECT id, recv_phone::text, remark::text FROM mine;
SELECT courier_pii.create_masked_view('mine');
-- attack: check constraint echo [#14]
UPDATE masked.shipment SET weight = -1;
UPDATE app.shipment SET weight = -1;
-- attack: not null echo
UPDATE masked.shipment SET station = NULL;
INSERT INTO app.shipment (id, recv_phone, station) SELECT id, recv_phone, NULL FROM app.shipment;
-- attack: unique echo [#15]
CREATE UNIQUE INDEX ON app.shipment (recv_phone, created_on);
INSERT INTO app.shipment SELECT * FROM app.shipment;
INSERT INTO masked.shipment SELECT * FROM masked.shipment;
-- attack: unique echo of a copy [#15]
CREATE TEMP TABLE u (p text UNIQUE);
INSERT INTO u SELECT recv_phone FROM masked.shipment;
INSERT INTO u SELECT recv_phone FROM masked.shipment;
-- attack: foreign key echo [#17]
CREATE TEMP TABLE f (p courier_pii.phone PRIMARY KEY);
CREATE TEMP TABLE g (p courier_pii.phone REFERENCES f);
INSERT INTO g SELECT recv_phone FROM app.shipment;
-- attack: exclusion and routing echo [#18]
INSERT INTO masked.shipment (waybill_no, recv_phone, station, created_on) SELECT waybill_no, recv_phone, station, '2030-01-01' FROM masked.shipment;
INSERT INTO app.shipment (waybill_no, recv_phone, station, created_on) SELECT waybill_no, recv_phone, station, '2030-01-01' FROM app.shipment;
-- attack: domain check echo
CREATE DOMAIN pg_temp.short AS text CHECK (length(VALUE) < 2);
SELECT recv_phone::pg_temp.short FROM masked.shipment;
-- attack: update returning
BEGIN; UPDATE masked.shipment SET weight = 2 RETURNING *; ROLLBACK;
BEGIN; UPDATE app.shipment SET weight = 2 RETURNING recv_phone::text, recv_name::text; ROLLBACK;
-- attack: delete returning
BEGIN; DELETE FROM masked.shipment RETURNING *; ROLLBACK;
BEGIN; DELETE FROM app.shipment RETURNING recv_phone::text, recv_id::text; ROLLBACK;
-- attack: writing the clear text into another column [nothing]
BEGIN; UPDATE masked.shipment SET station = recv_phone || remark; SELECT station FROM masked.shipment; ROLLBACK;
BEGIN; UPDATE app.shipment SET station = recv_phone::text || remark::text; SELECT station FROM app.shipment; ROLLBACK;
-- attack: merge [nothing]
BEGIN; MERGE INTO app.shipment t USING app.shipment s ON t.id = s.id WHEN MATCHED THEN UPDATE SET station = s.recv_phone::text; SELECT station FROM app.shipment; ROLLBACK;
-- attack: view of the owner [#24]
SELECT * FROM app.owners_view;
SELECT * FROM app.owners_text;
SELECT recv_phone::text, remark::text FROM app.owners_view;
-- attack: view of a clerk [#24]
SELECT * FROM public.clerks_view;
-- attack: function of a clerk
SELECT * FROM public.clerks_function();
-- attack: copy of a clerk [#27 nothing]
SELECT * FROM public.clerks_copy;
SELECT * FROM pg_stats WHERE tablename = 'clerks_copy';
-- attack: own materialized view [#27 nothing]
CREATE MATERIALIZED VIEW public.stolen AS SELECT recv_phone::text, remark::text FROM app.shipment;
SELECT * FROM public.stolen;
DROP MATERIALIZED VIEW public.stolen;
-- attack: own copy [#27 nothing]
CREATE TEMP TABLE stolen AS SELECT * FROM masked.shipment;
TABLE stolen;
CREATE TEMP TABLE stolen2 AS SELECT recv_phone::text, remark::text FROM app.shipment;
TABLE stolen2;
-- attack: type change [#41 nothing]
ALTER TABLE app.shipment ALTER recv_phone TYPE text USING recv_phone::text;
ALTER TABLE app.shipment_1 ALTER recv_phone TYPE text USING recv_phone::text;
SELECT recv_phone FROM app.shipment;
-- attack: generated column [#42 nothing]
BEGIN; ALTER TABLE app.shipment ADD leak text GENERATED ALWAYS AS (recv_phone::text) STORED; SELECT leak FROM app.shipment; ROLLBACK;
-- attack: expression index [#42 nothing]
BEGIN; CREATE INDEX leak ON app.shipment ((recv_phone::text)); ANALYZE app.shipment; SELECT * FROM pg_stats WHERE tablename LIKE '%leak%'; ROLLBACK;
-- attack: statistics object [#42 nothing]
BEGIN; CREATE STATISTICS public.leak ON (recv_phone::text), station FROM app.shipment_1; ANALYZE app.shipment_1; SELECT * FROM pg_stats_ext_exprs; SELECT * FROM pg_stats_ext; ROLLBACK;
-- attack: check constraint as a leak [#42]
BEGIN; ALTER TABLE app.shipment ADD CHECK (recv_phone::text::int > 0); ROLLBACK;
-- attack: trigger
BEGIN;
CREATE FUNCTION pg_temp.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% %', NEW.recv_phone::text, NEW; RETURN NEW; END $$;
CREATE TRIGGER spy BEFORE UPDATE ON app.shipment_1 FOR EACH ROW EXECUTE FUNCTION pg_temp.spy();
UPDATE app.shipment SET weight = 3;
ROLLBACK;
-- attack: rule
BEGIN; CREATE RULE spy AS ON UPDATE TO app.shipment_1 DO ALSO SELECT OLD.recv_phone::text; UPDATE app.shipment_1 SET weight = 3; ROLLBACK;
-- attack: row security as a leak
BEGIN;
CREATE FUNCTION pg_temp.peep(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;
CREATE POLICY peep ON app.shipment USING (pg_temp.peep(recv_phone::text));
ALTER TABLE app.shipment ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.shipment FORCE ROW LEVEL SECURITY;
SELECT id FROM app.shipment;
ROLLBACK;
-- attack: held cursor across roles [#29]
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT recv_phone, remark FROM masked.shipment; COMMIT; SET ROLE clerk; FETCH ALL FROM c;
-- attack: role games [#32]
SET ROLE clerk; SELECT * FROM masked.shipment;
RESET ROLE; SET SESSION AUTHORIZATION clerk; SELECT * FROM masked.shipment;
-- attack: prepared across roles [#30]
PREPARE p AS SELECT recv_phone, remark FROM masked.shipment; EXECUTE p; SET ROLE clerk; EXECUTE p; RESET ROLE; EXECUTE p;
-- attack: leaky cheap function [#33]
CREATE FUNCTION pg_temp.leak(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '% %', $1, $2; RETURN true; END $$;
SELECT id FROM masked.shipment WHERE pg_temp.leak(recv_phone::text, remark::text) AND station = 'SZ01';
SELECT id FROM app.shipment WHERE pg_temp.leak(recv_phone::text, station);
-- attack: leaky operator [#33]
CREATE FUNCTION pg_temp.leak_op(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;
CREATE OPERATOR pg_temp.=== (LEFTARG = text, RIGHTARG = text, PROCEDURE = pg_temp.leak_op);
SELECT id FROM masked.shipment WHERE recv_phone::text OPERATOR(pg_temp.===) 'x'::text;
-- attack: own functions before the built-in ones [#54]
CREATE FUNCTION public.show(courier_pii.sealed) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
SET search_path = public, courier_pii, pg_catalog;
SELECT show(recv_phone) FROM app.shipment;
DROP FUNCTION public.show(courier_pii.sealed);
-- attack: explain [#35 nothing]
EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) SELECT * FROM masked.shipment WHERE recv_phone = '{near}';
EXPLAIN (ANALYZE, VERBOSE) SELECT recv_phone::text FROM app.shipment WHERE recv_phone = '{near}';
-- attack: constant folding
EXPLAIN (VERBOSE) SELECT courier_pii.show('13800138000'::courier_pii.phone), recv_phone::text FROM app.shipment;
-- attack: auto_explain [#35]
LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on; SET client_min_messages = log;
SELECT * FROM masked.shipment;
SELECT recv_phone::text FROM app.shipment;
-- attack: debug output [#44]
SET client_min_messages = debug5; SET debug_print_plan = on; SET debug_print_parse = on; SET debug_print_rewritten = on;
SELECT recv_phone, remark FROM masked.shipment LIMIT 3;
-- attack: statistics [#36 nothing]
SELECT * FROM pg_stats WHERE schemaname IN ('app', 'masked', 'public');
SELECT * FROM pg_statistic;
SELECT * FROM pg_stats_ext_exprs;
SELECT * FROM pg_statistic_ext_data;
-- attack: planner estimates [#35 nothing]
EXPLAIN SELECT * FROM app.shipment WHERE recv_phone::text = '{near}';
-- attack: system columns and whole rows [#39]
SELECT ctid, tableoid, xmin, s FROM app.shipment s;
SELECT ctid, s FROM app.shipment_1 s;
SELECT v FROM masked.shipment v;
SELECT s::text, v::text FROM app.shipment s, masked.shipment v WHERE s.id = v.id;
-- attack: sampling and locking [#39]
SELECT * FROM app.shipment TABLESAMPLE SYSTEM (100);
BEGIN; SELECT * FROM app.shipment FOR UPDATE; ROLLBACK;
BEGIN; SELECT * FROM masked.shipment FOR UPDATE; ROLLBACK;
-- attack: xml [#47]
SELECT query_to_xml('SELECT * FROM masked.shipment', true, false, '');
SELECT table_to_xml('app.shipment', true, false, '');
SELECT schema_to_xml('app', true, false, '');
SELECT xmlforest(recv_phone, remark) FROM masked.shipment;
-- attack: json
SELECT row_to_json(s) FROM app.shipment s;
SELECT to_jsonb(v) FROM masked.shipment v;
SELECT json_build_object('a', recv_phone, 'b', remark) FROM app.shipment;
SELECT jsonb_populate_record(NULL::app.shipment, to_jsonb(s)) FROM app.shipment s;
-- attack: formatting
SELECT format('%s %L %I', recv_phone, remark, recv_name) FROM app.shipment;
SELECT concat(recv_phone, recv_name), concat_ws('-', remark, recv_id) FROM app.shipment;
SELECT recv_phone || '' FROM app.shipment;
-- attack: notices
DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM app.shipment LOOP RAISE NOTICE '%', r; END LOOP; END $$;
DO $$ DECLARE r record; BEGIN FOR r IN SELECT recv_phone::text, remark::text FROM app.shipment LOOP RAISE NOTICE '%', r; END LOOP; END $$;
-- attack: errors as a channel
DO $$ BEGIN RAISE EXCEPTION '%', (SELECT string_agg(recv_phone, ',') FROM masked.shipment); END $$;
DO $$ BEGIN RAISE EXCEPTION '%', (SELECT string_agg(recv_phone::text, ',') FROM app.shipment); END $$;
-- attack: notification as a channel
LISTEN leak; SELECT pg_notify('leak', recv_phone || remark) FROM masked.shipment; SELECT 1;
-- attack: setting as a channel
SELECT set_config('leak.x', string_agg(recv_phone, ','), false) FROM masked.shipment; SHOW leak.x;
-- attack: large object as a channel
SELECT lo_get(lo_from_bytea(0, convert_to(string_agg(recv_phone, ','), 'UTF8'))) FROM masked.shipment;
-- attack: advisory locks as a channel
SELECT pg_advisory_lock(recv_phone::bigint) FROM masked.shipment; SELECT objid FROM pg_locks WHERE locktype = 'advisory';
-- attack: catalog
SELECT * FROM pg_attrdef; SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef;
SELECT pg_get_viewdef('masked.shipment'::regclass); SELECT * FROM pg_rewrite WHERE ev_class = 'masked.shipment'::regclass;
SELECT * FROM information_schema.columns WHERE table_schema IN ('app', 'masked');
-- attack: activity of others [#45 nothing]
SELECT * FROM pg_stat_activity; SELECT * FROM pg_stat_statements;
SELECT * FROM pg_prepared_statements; SELECT * FROM pg_cursors;
-- attack: registers
SELECT * FROM courier_pii.disclosure; SELECT * FROM courier_pii.row_rule; SELECT * FROM courier_pii.audit_record; SELECT * FROM courier_pii.audit_log;
-- attack: policy without right
SELECT courier_pii.grant_disclosure(session_user::text::regrole, 'phone', 'clear', true) WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user);
INSERT INTO courier_pii.disclosure (grantee, class, level, granted_by) VALUES (session_user::text::regrole, 1, 'clear', 'x');
SELECT * FROM masked.shipment;
-- attack: a superuser grants himself
SELECT courier_pii.grant_disclosure(session_user::text::regrole, 'phone', 'clear', true) FROM pg_roles WHERE rolname = session_user AND rolsuper;
SELECT * FROM masked.shipment; SELECT recv_phone::text FROM app.shipment;
-- attack: views replaced
CREATE OR REPLACE VIEW masked.shipment AS SELECT * FROM app.shipment;
BEGIN; ALTER VIEW masked.shipment SET (security_barrier = false); SELECT * FROM masked.shipment; ROLLBACK;
BEGIN; ALTER VIEW masked.shipment SET (security_invoker = true); SELECT * FROM masked.shipment; ROLLBACK;
-- attack: row rules avoided
SELECT recv_phone, recv_name, recv_addr FROM masked.shipment v WHERE EXISTS (SELECT 1 FROM masked.shipment w WHERE w.id <> v.id);
SELECT v.recv_phone, t.* FROM app.task t LEFT JOIN masked.shipment v ON v.id = t.shipment_id;
SELECT v.recv_phone FROM masked.shipment v FULL JOIN app.task t ON v.id = t.shipment_id WHERE t.staff_no = 'K2';
-- attack: row rules with a table of the same name
CREATE TEMP TABLE task (shipment_id bigint, staff_no text); INSERT INTO task SELECT i, 'K1' FROM generate_series(1, 100) i;
SET search_path = pg_temp, app; SELECT * FROM masked.shipment;
-- attack: equality with own values
SELECT a.id, b.id FROM app.shipment a, masked.shipment b WHERE a.recv_phone = b.recv_phone;
SELECT id FROM app.shipment WHERE recv_phone IN (SELECT '139' || lpad(i::text, 8, '0') FROM generate_series(41000000, 41000100) i);
-- attack: equality, many guesses
SELECT recv_phone FROM masked.shipment WHERE recv_phone = ANY (ARRAY(SELECT '139' || (41010000 + i)::text FROM generate_series(0, 9999) i));
-- attack: hash functions of the type
SELECT courier_pii.sealed_hash(recv_phone), hash_record(ROW(recv_phone)) FROM app.shipment;
-- attack: files [#20 nothing]
COPY app.shipment TO PROGRAM 'cat';
COPY (SELECT recv_phone::text FROM app.shipment) TO '/dev/stdout';
-- attack: copy [#20]
COPY app.shipment TO STDOUT;
COPY masked.shipment TO STDOUT;
COPY (SELECT recv_phone::text, remark::text FROM app.shipment) TO STDOUT;
COPY app.shipment_1 TO STDOUT (FORMAT csv);
-- attack: parallel plans [#59]
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET force_parallel_mode = on;
SELECT recv_phone, remark FROM masked.shipment;
SELECT recv_phone::text FROM app.shipment;
-- attack: just-in-time compilation
SET jit_above_cost = 0; SELECT recv_phone, remark FROM masked.shipment;
-- attack: logical decoding [#23 nothing]
SELECT pg_create_logical_replication_slot('leak', 'test_decoding');
SELECT pg_drop_replication_slot('leak');
-- attack: window functions and sets
SELECT first_value(recv_phone) OVER (ORDER BY id), nth_value(remark, 2) OVER () FROM masked.shipment;
SELECT recv_phone FROM masked.shipment UNION SELECT remark FROM masked.shipment EXCEPT SELECT 'x';
SELECT DISTINCT ON (recv_phone) recv_phone, recv_name FROM masked.shipment;
SELECT GROUPING(recv_phone), recv_phone FROM masked.shipment GROUP BY ROLLUP (recv_phone);
-- attack: similar names and sounds
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch SCHEMA public; SELECT public.levenshtein(recv_phone::text, '13941010000') FROM masked.shipment;
-- attack: full text
SELECT to_tsvector('simple', recv_addr), to_tsvector('simple', remark) FROM masked.shipment;
SELECT ts_headline('simple', remark::text, to_tsquery('simple', 'secret')) FROM app.shipment;
-- attack: range bisection [#2 oracle]
SELECT id FROM masked.shipment WHERE recv_phone::text < '{guess}' AND id = 1;
SELECT id FROM masked.shipment WHERE recv_phone > '{guess}' AND id = 1;
SELECT id FROM masked.shipment WHERE recv_phone BETWEEN '{guess}' AND '{guess}z' AND id = 1;
SELECT id FROM app.shipment WHERE recv_phone::text <= '{guess}' AND id = 1;
SELECT id FROM app.shipment WHERE recv_phone < '{guess}';
SELECT greatest(recv_phone::text, '{guess}') = '{guess}' FROM app.shipment WHERE id = 1;
-- attack: order among own values [#2 oracle]
SELECT id FROM (SELECT id, recv_phone::text AS p FROM masked.shipment WHERE id = 1 UNION ALL SELECT 0, '{guess}') v ORDER BY p;
SELECT rank('{guess}') WITHIN GROUP (ORDER BY recv_phone::text) FROM masked.shipment;
SELECT width_bucket('{guess}'::text, ARRAY(SELECT recv_phone::text FROM masked.shipment WHERE id = 1));
-- attack: pattern of what is shown [#3 oracle]
SELECT id FROM masked.shipment WHERE recv_phone LIKE substr('{guess}', 1, 8) || '%';
SELECT id FROM masked.shipment WHERE recv_phone ~ ('^' || '{guess}') OR starts_with(recv_phone, '{guess}') OR strpos(recv_phone, '{guess}') > 0;
SELECT id FROM masked.shipment WHERE recv_phone SIMILAR TO '{guess}' OR recv_phone ILIKE '{guess}';
-- attack: equality in disguise [oracle]
SELECT id FROM masked.shipment WHERE recv_phone::text || '' = '{guess}';
SELECT id FROM masked.shipment WHERE nullif(recv_phone::text, '{guess}') IS NULL;
SELECT CASE recv_phone::text || '' WHEN '{guess}' THEN 1 ELSE 2 END FROM masked.shipment WHERE id = 1;
SELECT count(*) FROM (SELECT recv_phone::text FROM masked.shipment INTERSECT SELECT '{guess}') v;
SELECT id FROM masked.shipment JOIN (VALUES ('{guess}'::text)) g (p) ON g.p = recv_phone::text || '';
SELECT id FROM masked.shipment WHERE '{guess}' IN (SELECT w.recv_phone::text FROM masked.shipment w);
SELECT count(DISTINCT p) FROM (SELECT recv_phone::text AS p FROM masked.shipment UNION ALL SELECT '{guess}') v;
-- attack: equality through the view [oracle]
SELECT id FROM masked.shipment WHERE recv_phone = '{guess}';
SELECT id FROM masked.shipment WHERE recv_phone IN ('{guess}', '1');
SELECT id FROM masked.shipment WHERE recv_phone = ANY ('{{guess}}'::text[]);
SELECT count(*) FILTER (WHERE recv_phone = '{guess}') FROM masked.shipment;
DO $$ BEGIN PERFORM 1 / (SELECT count(*) FROM masked.shipment WHERE recv_phone = '{guess}'); END $$;
UPDATE masked.shipment SET weight = weight WHERE recv_phone = '{guess}' RETURNING id;
DELETE FROM masked.shipment WHERE recv_phone = '{guess}' AND weight < 0;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT id FROM masked.shipment WHERE recv_phone = '{guess}';
-- attack: estimates as an oracle [#35 oracle]
EXPLAIN SELECT id FROM masked.shipment WHERE recv_phone::text = '{guess}';
EXPLAIN SELECT id FROM masked.shipment WHERE recv_phone LIKE '{guess}%';
-- attack: unique probing on the view [#15 oracle]
BEGIN;
INSERT INTO masked.shipment (id, recv_phone, station, created_on) VALUES (1, '{guess}', 'SZ01', '2026-02-01') ON CONFLICT DO NOTHING;
INSERT INTO masked.shipment (id, recv_phone, station, created_on) VALUES (1, '{guess}', 'SZ01', '2026-02-01') ON CONFLICT (id, created_on) DO UPDATE SET weight = 9 WHERE masked.shipment.recv_phone = excluded.recv_phone RETURNING *;
ROLLBACK;
-- attack: conflict as a mirror [#15]
BEGIN; INSERT INTO app.shipment (id, station, created_on) VALUES (1, 'x', '2026-02-01') ON CONFLICT (id, created_on) DO UPDATE SET station = app.shipment.recv_phone::text || app.shipment.recv_id::text RETURNING station, recv_phone::text, recv_id::text; ROLLBACK;
BEGIN; INSERT INTO app.shipment SELECT * FROM app.shipment ON CONFLICT (id, created_on) DO UPDATE SET recv_phone = excluded.recv_phone RETURNING *; ROLLBACK;
-- attack: foreign key to a stolen list [#17]
BEGIN; CREATE TABLE public.guesses (p text PRIMARY KEY); INSERT INTO public.guesses VALUES ('{near}'); ALTER TABLE app.contact ADD FOREIGN KEY (c_phone) REFERENCES public.guesses (p); ROLLBACK;
BEGIN; CREATE TABLE public.guesses (p courier_pii.phone PRIMARY KEY); INSERT INTO public.guesses VALUES ('{near}'); ALTER TABLE app.contact ADD FOREIGN KEY (c_phone) REFERENCES public.guesses (p); ROLLBACK;
BEGIN; CREATE TEMP TABLE q (p text REFERENCES masked.contact (c_phone)); ROLLBACK;
-- attack: exclusion constraint echo [#18]
BEGIN; ALTER TABLE app.contact ADD EXCLUDE USING btree (c_phone WITH =); INSERT INTO app.contact SELECT id + 100, station, c_account_no, c_address, c_email, c_id_number, c_item, c_note, c_person_name, c_phone FROM app.contact; ROLLBACK;
CREATE TEMP TABLE xs (p text, EXCLUDE USING btree (p WITH =)); INSERT INTO xs SELECT c_phone FROM masked.contact UNION ALL SELECT c_phone FROM masked.contact;
-- attack: every class through every door
SELECT * FROM masked.contact;
SELECT * FROM app.contact;
SELECT c_account_no::text, c_address::text, c_email::text, c_id_number::text, c_item::text, c_note::text, c_person_name::text, c_phone::text, c_plate::text, c_unit_name::text, c_waybill_no::text FROM app.contact;
SELECT row_to_json(c), to_jsonb(v), c::text, v::text FROM app.contact c JOIN masked.contact v USING (id);
SELECT md5(c_email), sha512(c_unit_name::text::bytea), encode(c_item::text::bytea, 'escape'), encode(convert_to(c_note, 'UTF8'), 'base64') FROM masked.contact;
COPY masked.contact TO STDOUT (FORMAT binary);
COPY app.contact TO STDOUT (FORMAT binary);
-- attack: tail digits
SELECT courier_pii.tail4(recv_phone), courier_pii.tail4(recv_id), courier_pii.tail4_of('phone', '8000') FROM app.shipment;
-- attack: forged scope [#57]
SELECT courier_pii.show_column(recv_phone, 'masked.shipment', 4::int2, true), courier_pii.show_column(recv_name, 'app.task', 3::int2, true), courier_pii.show_column(recv_addr, 'app.shipment_1', 5::int2, true), courier_pii.show_column(recv_id, 'app.contact', 7::int2, true) FROM app.shipment;
SELECT courier_pii.show_column('{phone_envelope}'::courier_pii.sealed, 'app.shipment', 4::int2, true);
CREATE TEMP TABLE shipment (LIKE app.shipment); SELECT courier_pii.show_column('{phone_envelope}'::courier_pii.phone, 'pg_temp.shipment', 4::int2, true);
-- attack: stolen envelopes [#57]
SELECT '{phone_envelope}'::courier_pii.phone::text, '{id_envelope}'::courier_pii.id_number::text, '{note_envelope}'::courier_pii.note::text, '{name_envelope}'::courier_pii.person_name::text;
SELECT courier_pii.show('{phone_envelope}'::courier_pii.phone), '{phone_envelope}'::courier_pii.sealed::text;
SELECT '{id_envelope}'::courier_pii.note::text;
SELECT '{note_envelope}'::courier_pii.phone::text;
SELECT '{name_envelope}'::courier_pii.item::text;
-- attack: envelopes pasted into columns one may read [#57 nothing]
BEGIN;
UPDATE masked.shipment SET remark = '{id_envelope}', recv_id = '{note_envelope}', recv_name = '{phone_envelope}' WHERE id = 3;
ROLLBACK;
BEGIN;
UPDATE masked.shipment SET recv_addr = '{name_envelope}' WHERE id = 3;
SELECT remark, recv_id FROM masked.shipment WHERE id = 3;
ROLLBACK;
BEGIN;
INSERT INTO masked.contact (id, c_person_name, c_note) VALUES (77, '{id_envelope}', '{phone_envelope}');
ROLLBACK;
-- attack: envelopes pasted by COPY [#57 #20]
BEGIN;
COPY masked.contact (id, c_note) FROM STDIN;
-- data: 78\t{id_envelope}
SELECT c_note FROM masked.contact WHERE id = 78;
ROLLBACK;
BEGIN;
COPY app.contact (id, c_phone) FROM STDIN;
-- data: 79\t{id_envelope}
SELECT c_phone::text FROM app.contact WHERE id = 79;
ROLLBACK;
-- attack: a parcel of one's own with a stolen envelope [#57]
BEGIN;
INSERT INTO masked.shipment (id, recv_name, station, created_on) VALUES (3, '{name_envelope}', 'SZ01', '2026-02-02');
SELECT recv_name FROM masked.shipment WHERE id = 3;
ROLLBACK;
-- attack: a stolen envelope in a row that shows it [#57]
BEGIN;
UPDATE masked.shipment SET recv_name = '{name_envelope}', recv_phone = '{phone_envelope}' WHERE id = 3;
SELECT recv_name, recv_phone FROM masked.shipment WHERE id = 3;
ROLLBACK;
BEGIN;
UPDATE masked.shipment SET recv_phone = ' {phone_envelope}' WHERE id = 3;
SELECT recv_phone FROM masked.shipment WHERE id = 3;
ROLLBACK;
BEGIN;
COPY masked.shipment (id, recv_phone, recv_name, station, created_on) FROM STDIN;
-- data: 3\t{phone_envelope}\t{name_envelope}\tSZ01\t2026-02-03
SELECT recv_phone, recv_name FROM masked.shipment WHERE id = 3;
ROLLBACK;
-- attack: a stolen envelope by upsert [#57]
BEGIN;
SELECT courier_pii.upsert('masked.shipment', '{"id": 3, "created_on": "2026-02-01", "station": "SZ01", "recv_phone": "{phone_envelope}", "recv_name": "{name_envelope}"}', '{id,created_on}');
SELECT recv_phone, recv_name FROM masked.shipment WHERE id = 3;
ROLLBACK;
BEGIN;
SELECT courier_pii.upsert('masked.shipment', '{"id": 3, "created_on": "2026-02-09", "station": "SZ01", "recv_phone": "{phone_envelope}"}', '{id,created_on}');
SELECT recv_phone FROM masked.shipment WHERE id = 3;
ROLLBACK;
-- attack: prepared body [#26]
BEGIN;
CREATE FUNCTION pg_temp.body() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT recv_phone::text FROM app.shipment; SELECT recv_id::text FROM app.shipment; END;
SELECT pg_temp.body();
ROLLBACK;
BEGIN;
CREATE FUNCTION pg_temp.body() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT recv_id::text FROM masked.shipment; END;
SELECT pg_temp.body();
ROLLBACK;
-- attack: trojan view for a clerk [#27 nothing]
CREATE TABLE public.loot_{self_name} (t text);
GRANT INSERT ON public.loot_{self_name} TO PUBLIC;
CREATE FUNCTION public.trap_{self_name}(text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO public.loot_{self_name} VALUES ($1); RETURN $1; END $$;
CREATE VIEW public.lure_{self_name} AS SELECT public.trap_{self_name}(t) AS t FROM (VALUES ('x')) v (t);
GRANT SELECT ON public.lure_{self_name} TO PUBLIC;
-- as: clerk
SELECT public.trap_{self_name}(recv_phone::text || recv_name::text) FROM masked.shipment;
SELECT public.trap_{self_name}(recv_phone::text) FROM masked.shipment WHERE id = 1;
SELECT v.t, s.recv_phone FROM public.lure_{self_name} v, masked.shipment s;
INSERT INTO public.loot_{self_name} SELECT recv_phone FROM masked.shipment;
-- as: attacker
SELECT * FROM public.loot_{self_name};
DROP VIEW public.lure_{self_name};
DROP FUNCTION public.trap_{self_name};
DROP TABLE public.loot_{self_name};
-- attack: trojan operator, cast, aggregate, domain [#54 nothing]
CREATE TABLE public.loot_{self_name} (t text);
GRANT INSERT ON public.loot_{self_name} TO PUBLIC;
CREATE FUNCTION public.eq_{self_name}(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN INSERT INTO public.loot_{self_name} VALUES ($1 || $2); RETURN true; END $$;
CREATE OPERATOR public.=~= (LEFTARG = text, RIGHTARG = text, PROCEDURE = public.eq_{self_name});
CREATE DOMAIN public.dom_{self_name} AS text CHECK (public.eq_{self_name}(VALUE, 'domain'));
CREATE FUNCTION public.add_{self_name}(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.loot_{self_name} VALUES ($2); RETURN $2; END $$;
CREATE AGGREGATE public.agg_{self_name}(text) (SFUNC = public.add_{self_name}, STYPE = text);
CREATE TYPE public.pair_{self_name} AS (t text);
CREATE FUNCTION public.cast_{self_name}(text) RETURNS public.pair_{self_name} LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.loot_{self_name} VALUES ($1); RETURN ROW($1); END $$;
CREATE CAST (text AS public.pair_{self_name}) WITH FUNCTION public.cast_{self_name}(text);
-- as: clerk
SELECT recv_phone FROM masked.shipment WHERE recv_phone::text OPERATOR(public.=~=) recv_name::text;
SELECT recv_phone::text::public.dom_{self_name} FROM masked.shipment;
SELECT public.agg_{self_name}(recv_phone::text) FROM masked.shipment;
SELECT recv_phone::text::public.pair_{self_name} FROM masked.shipment;
-- as: attacker
SELECT * FROM public.loot_{self_name};
DROP CAST (text AS public.pair_{self_name});
DROP TABLE public.loot_{self_name};
DROP AGGREGATE public.agg_{self_name}(text);
DROP DOMAIN public.dom_{self_name};
DROP OPERATOR public.=~= (text, text);
DROP TYPE public.pair_{self_name} CASCADE;
DROP FUNCTION public.add_{self_name}(text, text), public.eq_{self_name}(text, text);
-- attack: trojan trigger, rule, default [nothing]
CREATE TABLE public.loot_{self_name} (t text);
CREATE TABLE public.form_{self_name} (p text, q text DEFAULT 'x');
CREATE FUNCTION public.note_{self_name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.loot_{self_name} VALUES (NEW.p); RETURN NEW; END $$;
CREATE TRIGGER note BEFORE INSERT ON public.form_{self_name} FOR EACH ROW EXECUTE FUNCTION public.note_{self_name}();
CREATE RULE copy AS ON INSERT TO public.form_{self_name} DO ALSO INSERT INTO public.loot_{self_name} VALUES (NEW.p);
GRANT ALL ON public.form_{self_name} TO PUBLIC;
-- as: clerk
INSERT INTO public.form_{self_name} SELECT recv_phone FROM masked.shipment;
INSERT INTO public.form_{self_name} VALUES ((SELECT recv_name FROM masked.shipment WHERE id = 1));
-- as: attacker
SELECT * FROM public.loot_{self_name}; SELECT * FROM public.form_{self_name};
DROP TABLE public.form_{self_name};
DROP TABLE public.loot_{self_name};
DROP FUNCTION public.note_{self_name}();
-- attack: event trigger
BEGIN;
CREATE FUNCTION public.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', (SELECT string_agg(recv_phone::text, ',') FROM app.shipment); END $$;
CREATE EVENT TRIGGER leak ON ddl_command_start EXECUTE FUNCTION public.on_ddl();
CREATE TABLE public.nothing (i int);
ROLLBACK;
-- attack: functions that pretend to be built in [#54]
CREATE FUNCTION public.substr(text, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN $1; END $$;
CREATE FUNCTION public.length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN 1; END $$;
SET search_path = public, pg_catalog, courier_pii, masked;
SELECT length(recv_phone), substr(recv_id, 1) FROM masked.shipment;
DROP FUNCTION public.substr(text, int); DROP FUNCTION public.length(text);
CREATE SCHEMA pg_temp_fake;
-- attack: held cursor after the roles changed back [#29]
BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT recv_phone::text, recv_id::text FROM app.shipment; COMMIT; FETCH ALL FROM c; SET ROLE clerk; FETCH ABSOLUTE 1 FROM c; FETCH BACKWARD ALL FROM c; RESET ROLE; FETCH ALL FROM c;
SELECT cursor_to_xml('c', 100, false, false, '');
-- attack: cached plans across roles [#30]
SET plan_cache_mode = force_generic_plan;
PREPARE a (int) AS SELECT recv_phone, recv_id FROM masked.shipment WHERE id = $1; PREPARE b AS SELECT recv_phone::text FROM app.shipment;
EXECUTE a (1); EXECUTE b; SET ROLE clerk; EXECUTE a (1); EXECUTE b; SET SESSION AUTHORIZATION clerk; EXECUTE a (2); RESET SESSION AUTHORIZATION; EXECUTE a (4); EXECUTE b;
-- attack: plans of functions across roles [#30]
CREATE FUNCTION pg_temp.mine() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT string_agg(recv_phone, ',') FROM masked.shipment); END $$;
SELECT pg_temp.mine(); SET ROLE clerk; SELECT pg_temp.mine(); RESET ROLE; SELECT pg_temp.mine();
-- attack: spilled to files [#48]
SET work_mem = '64kB'; SET log_temp_files = 0; SET enable_hashagg = off;
SELECT recv_phone, recv_id, g FROM masked.shipment, generate_series(1, 500) g ORDER BY recv_id, g LIMIT 3;
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT recv_phone::text, g FROM app.shipment, generate_series(1, 2000) g; COMMIT; SELECT pg_ls_tmpdir();
-- attack: linking by tokens and masks [#50]
SELECT a.id, b.id, a.recv_phone FROM masked.shipment a JOIN masked.contact b ON a.recv_phone::text = b.c_phone::text;
SET courier_pii.purpose = 'one'; SELECT recv_phone, recv_name FROM masked.shipment; SET courier_pii.purpose = 'two'; SELECT recv_phone, recv_name FROM masked.shipment;
-- attack: singling out [#51]
SELECT station, count(*), min(recv_phone::text), min(recv_id::text) FROM masked.shipment GROUP BY station, created_on, id HAVING count(*) = 1;
SELECT recv_phone, recv_name, recv_addr, remark FROM masked.shipment WHERE remark LIKE '%remark%' LIMIT 1;
-- attack: policy injection [#53]
SELECT courier_pii.create_masked_view('app.contact', 'x"; GRANT ALL ON app.contact TO PUBLIC; --');
SELECT courier_pii.create_masked_view('app.contact', masks => '{"c_phone": "show(c_phone)"}');
SELECT courier_pii.create_masked_view('app.contact', masks => '{"c_phone\" FROM x; --": "hidden"}');
SELECT courier_pii.set_row_rule('app.contact', '{self}'::regrole, 'x', '{station = ''a'' OR true --''}');
SELECT courier_pii.create_class('x''; DROP TABLE app.contact; --', 'clear');
CREATE TABLE public."t""; SELECT 1; --" ("p""||recv_phone||""" text); SELECT courier_pii.protect_column('public."t""; SELECT 1; --"', 'p"||recv_phone||"', 'phone'); SELECT courier_pii.create_masked_view('public."t""; SELECT 1; --"');
DROP TABLE public."t""; SELECT 1; --" CASCADE;
SELECT * FROM masked.contact;
-- attack: masks written back [#56]
BEGIN; UPDATE masked.shipment SET recv_phone = recv_phone, recv_name = recv_name, recv_id = recv_id RETURNING *; ROLLBACK;
BEGIN; UPDATE masked.shipment SET recv_phone = '138******78' WHERE id = 3 RETURNING recv_phone; ROLLBACK;
BEGIN; UPDATE masked.shipment SET recv_name = recv_phone, remark = recv_addr RETURNING *; ROLLBACK;
-- attack: unicode tricks [#62]
SELECT id FROM masked.shipment WHERE recv_phone LIKE '%１%' OR normalize(recv_phone::text, NFKC) <> recv_phone::text;
SELECT recv_name COLLATE "C", upper(recv_name), normalize(recv_name::text, NFD), convert_to(recv_name, 'GB18030'), convert_from(convert_to(recv_addr, 'GB18030'), 'GB18030') FROM masked.shipment;
SELECT convert(recv_phone::text::bytea, 'UTF8', 'UTF8'), to_ascii(convert_to(recv_phone, 'LATIN1'), 'LATIN1') FROM masked.shipment;
SET client_encoding = 'GB18030'; SELECT recv_name, recv_addr FROM masked.shipment; SET client_encoding = 'UTF8';
-- attack: loopback connection [#47]
SELECT public.dblink_connect('host=' || split_part(current_setting('unix_socket_directories'), ',', 1) || ' port=' || current_setting('port') || ' dbname=express user={self_name}');
SELECT * FROM public.dblink('SELECT string_agg(recv_phone::text, '','') FROM app.shipment') AS t (p text);
SELECT * FROM public.dblink('SELECT * FROM masked.shipment') AS t (a text, b text, c text, d text, e text, f text, g text, h text, i text, j text);
SELECT public.dblink_exec('SELECT ' || quote_literal(recv_phone)) FROM masked.shipment;
-- attack: foreign table to oneself [#47]
BEGIN;
DO $$ BEGIN EXECUTE format('CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname ''express'')', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')); END $$;
CREATE USER MAPPING FOR CURRENT_USER SERVER loop OPTIONS (user '{self_name}', password_required 'false');
CREATE FOREIGN TABLE pg_temp.f (id bigint, recv_phone text, recv_id text, recv_name text) SERVER loop OPTIONS (schema_name 'app', table_name 'shipment');
SELECT * FROM pg_temp.f;
ROLLBACK;
-- attack: foreign table over files [#48 nothing]
BEGIN;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE pg_temp.ff (t text) SERVER files OPTIONS (program 'cat base/*/* pg_wal/0* | base64 -w0');
SELECT t FROM pg_temp.ff;
ROLLBACK;
-- attack: pages and files of the table [#48 nothing]
SELECT encode(pg_read_binary_file(pg_relation_filepath('app.shipment_1')), 'hex'), encode(pg_read_binary_file(pg_relation_filepath('app.contact')), 'escape');
SELECT lp, t_data, t_attrs FROM public.heap_page_item_attrs(public.get_raw_page('app.shipment_1', 0), 'app.shipment_1');
SELECT public.get_raw_page('app.contact', 0);
SELECT * FROM public.bt_page_items('shipment_1_recv_phone_idx', 1);
SELECT * FROM public.pgrowlocks('app.shipment_1');
SELECT lo_import('/etc/hostname');
SELECT pg_read_file('postgresql.conf');
-- attack: log records of changes [#48 #23 nothing]
BEGIN; UPDATE app.shipment SET weight = 5; ROLLBACK;
SELECT * FROM public.pg_get_wal_records_info('0/1700000', pg_current_wal_lsn()) WHERE resource_manager = 'Heap' ORDER BY start_lsn DESC LIMIT 200;
SELECT pg_walfile_name(pg_current_wal_lsn());
-- attack: logical decoding of changes [#23 nothing]
SELECT 1 FROM pg_create_logical_replication_slot('leak_{self_name}', 'test_decoding');
UPDATE app.shipment SET weight = 6 WHERE id = 1; UPDATE masked.shipment SET weight = 7 WHERE id = 2;
ALTER TABLE app.contact REPLICA IDENTITY FULL;
UPDATE app.contact SET station = station;
SELECT * FROM pg_logical_slot_peek_changes('leak_{self_name}', NULL, NULL);
SELECT * FROM pg_logical_slot_get_changes('leak_{self_name}', NULL, NULL);
SELECT pg_drop_replication_slot('leak_{self_name}');
-- attack: publication [#23 nothing]
BEGIN; CREATE PUBLICATION leak FOR TABLE app.shipment WHERE (recv_phone::text > '1'); ROLLBACK;
BEGIN; CREATE PUBLICATION leak FOR ALL TABLES; ROLLBACK;
-- attack: locks and sequences as a channel
CREATE SEQUENCE pg_temp.leak; SELECT setval('pg_temp.leak', (SELECT recv_phone::text::bigint FROM masked.shipment LIMIT 1)); SELECT * FROM pg_temp.leak;
SELECT pg_advisory_lock(hashtext(recv_phone::text)) FROM masked.shipment; SELECT locktype, classid, objid FROM pg_locks;
-- attack: temporary tables and types
CREATE TEMP TABLE t (LIKE app.shipment INCLUDING ALL); INSERT INTO t SELECT * FROM app.shipment; SELECT recv_phone::text, recv_id::text, t FROM t;
CREATE TYPE pg_temp.c AS (p courier_pii.phone, n courier_pii.note); SELECT ROW(recv_phone, remark)::pg_temp.c::text, (ROW(recv_phone, remark)::pg_temp.c).n::text FROM app.shipment;
CREATE DOMAIN pg_temp.d AS courier_pii.phone CHECK (VALUE::text ~ '^139'); SELECT recv_phone::pg_temp.d::text FROM app.shipment;
-- attack: domain over our type with a telling check [nothing]
CREATE DOMAIN pg_temp.d AS courier_pii.sealed(3) CHECK (pg_catalog.length(courier_pii.show(VALUE)) < 3);
SELECT recv_phone::pg_temp.d FROM app.shipment;
-- attack: ranges, multiranges, arrays, composite images
SELECT record_image_cmp(ROW(a.recv_phone), ROW(b.recv_phone)) FROM app.shipment a, app.shipment b WHERE a.id = 1 AND b.id < 3;
SELECT array_position(array_agg(recv_phone), NULL), array_to_string(array_agg(recv_phone), ','), array_to_json(array_agg(recv_phone::text)) FROM app.shipment;
SELECT unnest(ARRAY[recv_phone, recv_id]) FROM app.shipment;
-- attack: purpose, ticket and actor stated without proof
SET courier_pii.purpose = 'audit'; SET courier_pii.ticket = '1'; SELECT * FROM masked.shipment;
SET courier_pii.enforcement = 'warn'; SET courier_pii.mask_cache = 0; SET session_preload_libraries = ''; SET courier_pii.database = 'x'; SELECT * FROM masked.shipment;
BEGIN; SELECT courier_pii.set_actor('eyJhbGciOiJub25lIn0.eyJzdWIiOiJDMSJ9.'); SELECT * FROM masked.shipment; ROLLBACK;
BEGIN; SET LOCAL courier_pii.actor = 'C1'; SELECT * FROM masked.shipment; ROLLBACK;
SET row_security = off; SELECT * FROM masked.shipment;
SET session_replication_role = replica; SET transform_null_equals = on; SET allow_system_table_mods = on; SELECT * FROM masked.shipment;
-- attack: registers and certificates read whole [nothing]
SELECT * FROM courier_pii.requests; SELECT * FROM courier_pii.audit_bulk; SELECT * FROM courier_pii.audit_by_person; SELECT * FROM courier_pii.audit_denied; SELECT * FROM courier_pii.audit_admin; SELECT * FROM courier_pii.audit_exports;
SELECT * FROM courier_pii.audit_log; SELECT * FROM courier_pii.stat_session; SELECT * FROM courier_pii.stat_person; SELECT * FROM courier_pii.budgets; SELECT * FROM courier_pii.key_status;
SELECT * FROM courier_pii.suspects; SELECT * FROM courier_pii.exposure; SELECT * FROM courier_pii.trusted_functions;
-- attack: server's own catalogs changed
BEGIN; UPDATE pg_catalog.pg_proc SET prosrc = 'textout' WHERE proname = 'show'; SELECT recv_phone::text FROM app.shipment; ROLLBACK;
BEGIN; UPDATE pg_catalog.pg_attribute SET atttypid = 'bytea'::regtype WHERE attrelid = 'app.contact'::regclass AND attname = 'c_phone'; SELECT c_phone FROM app.contact; ROLLBACK;
BEGIN; UPDATE pg_catalog.pg_class SET relowner = '{self}'::regrole WHERE relname = 'clerks_function'; ROLLBACK;
-- attack: internal functions by hand
CREATE FUNCTION pg_temp.door(courier_pii.sealed) RETURNS text LANGUAGE c AS '$libdir/courier_pii', 'cpii_show_value'; SELECT pg_temp.door(recv_phone) FROM app.shipment;
CREATE FUNCTION pg_temp.out(courier_pii.sealed) RETURNS cstring LANGUAGE internal AS 'byteaout'; SELECT pg_temp.out(recv_phone) FROM app.shipment;
CREATE FUNCTION pg_temp.raw(courier_pii.sealed) RETURNS bytea LANGUAGE internal AS 'byteasend'; SELECT pg_temp.raw(recv_phone) FROM app.shipment;
