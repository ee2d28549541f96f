-- Attacks of test/t/060_attack.pl, each run by every role in a session of its
-- own.  None of them may bring a canary to light.

-- attack: plain reading
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
-- attack: pattern
SELECT id FROM masked.shipment WHERE recv_phone LIKE '1394101%';
SELECT id, recv_phone FROM app.shipment WHERE recv_phone::text LIKE '1394%';
-- attack: regular expression
SELECT regexp_matches(recv_phone, '^(.*)$'), regexp_replace(recv_name, '(.)', '\1\1', 'g') FROM masked.shipment;
-- attack: range
SELECT id FROM app.shipment WHERE recv_phone < '1395';
SELECT id FROM app.shipment WHERE recv_phone BETWEEN '1394' AND '1395';
SELECT id, recv_phone FROM masked.shipment WHERE recv_phone > '139' ORDER BY recv_phone;
-- attack: order
SELECT id, recv_phone FROM app.shipment ORDER BY recv_phone;
SELECT id FROM app.shipment ORDER BY recv_phone USING OPERATOR(courier_pii.<);
-- attack: group by part
SELECT substr(recv_phone, 7, 1), array_agg(id) FROM masked.shipment GROUP BY 1;
SELECT substr(recv_phone::text, 4, 4), array_agg(id) FROM app.shipment GROUP BY 1;
-- attack: minimum and maximum
SELECT min(recv_phone), max(recv_phone) FROM masked.shipment;
SELECT min(recv_phone), max(recv_phone) FROM app.shipment;
SELECT min(recv_phone::text), mode() WITHIN GROUP (ORDER BY recv_name::text) FROM app.shipment;
-- attack: aggregates of text
SELECT string_agg(recv_phone, ','), string_agg(remark, ',') FROM masked.shipment;
SELECT string_agg(recv_phone::text, ','), array_agg(recv_name::text) FROM app.shipment;
-- attack: aggregates of values
SELECT array_agg(recv_phone), array_agg(recv_addr) FROM app.shipment;
-- attack: own aggregate
CREATE FUNCTION pg_temp.add(text, text) RETURNS text LANGUAGE sql AS 'SELECT coalesce($1, '''') || $2';
CREATE AGGREGATE pg_temp.gather(text) (SFUNC = pg_temp.add, STYPE = text);
SELECT pg_temp.gather(recv_phone::text) FROM masked.shipment;
SELECT pg_temp.gather(recv_phone::text) FROM app.shipment;
-- attack: digests
SELECT md5(recv_phone), sha256(convert_to(recv_name, 'UTF8')), hashtext(recv_id) FROM masked.shipment;
SELECT md5(recv_phone::text), encode(digest(recv_phone::text, 'sha256'), 'hex') FROM app.shipment;
-- attack: codings
SELECT encode(convert_to(recv_phone, 'UTF8'), 'base64'), encode(convert_to(recv_name, 'UTF8'), 'hex'), reverse(recv_phone), translate(recv_phone, '0123456789', 'abcdefghij') FROM masked.shipment;
SELECT encode(convert_to(recv_phone::text, 'UTF8'), 'hex'), reverse(remark::text), quote_literal(recv_id::text) FROM app.shipment;
-- attack: one character a column
SELECT array_to_string(ARRAY(SELECT substr(recv_phone, i, 1) FROM generate_series(1, 11) i), '') FROM masked.shipment;
-- attack: image equality
SELECT id FROM app.shipment WHERE record_image_eq(ROW(recv_phone), ROW('1394101'::courier_pii.phone));
SELECT a.id, b.id, a.recv_phone FROM app.shipment a JOIN app.shipment b ON ROW(a.recv_phone) *= ROW(b.recv_phone);
-- attack: sizes
SELECT pg_column_size(recv_phone), octet_length(recv_phone::text), length(recv_name::text) FROM app.shipment;
-- attack: number cast
SELECT recv_phone::bigint FROM masked.shipment;
SELECT recv_phone::text::int FROM app.shipment;
SELECT recv_id::text::numeric FROM app.shipment;
-- attack: other casts
SELECT recv_phone::text::date FROM app.shipment;
SELECT recv_phone::text::inet FROM app.shipment;
SELECT recv_name::text::regclass FROM app.shipment;
SELECT remark::text::jsonb FROM app.shipment;
SELECT remark::text::uuid FROM app.shipment;
SELECT recv_phone::bytea FROM app.shipment;
SELECT recv_phone::text::xml FROM app.shipment;
-- attack: binary casts
SELECT recv_phone::courier_pii.sealed::text FROM app.shipment;
SELECT recv_phone::courier_pii.person_name::text, recv_name::courier_pii.note::text FROM app.shipment;
CREATE CAST (courier_pii.sealed AS bytea) WITHOUT FUNCTION;
CREATE CAST (courier_pii.phone AS text) WITHOUT FUNCTION;
-- attack: send functions
SELECT record_send(s), array_send(ARRAY[recv_phone]) FROM app.shipment s;
SELECT courier_pii.sealed_send(recv_phone) FROM app.shipment;
SELECT encode(courier_pii.sealed_send(recv_phone::courier_pii.sealed), 'hex') FROM app.shipment;
-- attack: input of an envelope as another class
SELECT (recv_phone::courier_pii.sealed::text)::courier_pii.note::text FROM app.shipment;
DO $$ DECLARE e text; BEGIN SELECT format('%s', recv_id) INTO e FROM app.shipment LIMIT 1; RAISE NOTICE '%', e::courier_pii.phone::text; END $$;
-- attack: a value under another table's disclosure
CREATE TEMP TABLE mine (id bigint, recv_phone courier_pii.phone, remark courier_pii.note);
INSERT INTO mine SELECT id, recv_phone, remark FROM app.shipment;
SELECT id, recv_phone::text, remark::text FROM mine;
SELECT courier_pii.create_masked_view('mine');
-- attack: check constraint echo
UPDATE masked.shipment SET weight = -1;
UPDATE app.shipment SET weight = -1;
-- attack: not null echo
UPDATE masked.shipment SET station = NULL;
INSERT INTO app.shipment (id, recv_phone, station) SELECT id, recv_phone, NULL FROM app.shipment;
-- attack: unique echo
CREATE UNIQUE INDEX ON app.shipment (recv_phone, created_on);
INSERT INTO app.shipment SELECT * FROM app.shipment;
INSERT INTO masked.shipment SELECT * FROM masked.shipment;
-- attack: unique echo of a copy
CREATE TEMP TABLE u (p text UNIQUE);
INSERT INTO u SELECT recv_phone FROM masked.shipment;
INSERT INTO u SELECT recv_phone FROM masked.shipment;
-- attack: foreign key echo
CREATE TEMP TABLE f (p courier_pii.phone PRIMARY KEY);
CREATE TEMP TABLE g (p courier_pii.phone REFERENCES f);
INSERT INTO g SELECT recv_phone FROM app.shipment;
-- attack: exclusion and routing echo
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
-- attack: writing the clear text into another column
BEGIN; UPDATE masked.shipment SET station = recv_phone || remark; SELECT station FROM masked.shipment; ROLLBACK;
BEGIN; UPDATE app.shipment SET station = recv_phone::text || remark::text; SELECT station FROM app.shipment; ROLLBACK;
-- attack: merge
BEGIN; MERGE INTO app.shipment t USING app.shipment s ON t.id = s.id WHEN MATCHED THEN UPDATE SET station = s.recv_phone::text; SELECT station FROM app.shipment; ROLLBACK;
-- attack: view of the owner
SELECT * FROM app.owners_view;
SELECT * FROM app.owners_text;
SELECT recv_phone::text, remark::text FROM app.owners_view;
-- attack: view of a clerk
SELECT * FROM public.clerks_view;
-- attack: function of a clerk
SELECT * FROM public.clerks_function();
-- attack: copy of a clerk
SELECT * FROM public.clerks_copy;
SELECT * FROM pg_stats WHERE tablename = 'clerks_copy';
-- attack: own materialized view
CREATE MATERIALIZED VIEW public.stolen AS SELECT recv_phone::text, remark::text FROM app.shipment;
SELECT * FROM public.stolen;
DROP MATERIALIZED VIEW public.stolen;
-- attack: own copy
CREATE TEMP TABLE stolen AS SELECT * FROM masked.shipment;
TABLE stolen;
CREATE TEMP TABLE stolen2 AS SELECT recv_phone::text, remark::text FROM app.shipment;
TABLE stolen2;
-- attack: type change
ALTER TABLE app.shipment ALTER recv_phone TYPE text USING recv_phone::text;
ALTER TABLE app.shipment_1 ALTER recv_phone TYPE text USING recv_phone::text;
SELECT recv_phone FROM app.shipment;
-- attack: generated column
BEGIN; ALTER TABLE app.shipment ADD leak text GENERATED ALWAYS AS (recv_phone::text) STORED; SELECT leak FROM app.shipment; ROLLBACK;
-- attack: expression index
BEGIN; CREATE INDEX leak ON app.shipment ((recv_phone::text)); ANALYZE app.shipment; SELECT * FROM pg_stats WHERE tablename LIKE '%leak%'; ROLLBACK;
-- attack: statistics object
BEGIN; CREATE STATISTICS public.leak ON (recv_phone::text), station FROM app.shipment_1; ANALYZE app.shipment_1; SELECT * FROM pg_stats_ext_exprs; SELECT * FROM pg_stats_ext; ROLLBACK;
-- attack: check constraint as a leak
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
-- attack: held cursor across roles
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT recv_phone, remark FROM masked.shipment; COMMIT; SET ROLE clerk; FETCH ALL FROM c;
-- attack: role games
SET ROLE clerk; SELECT * FROM masked.shipment;
RESET ROLE; SET SESSION AUTHORIZATION clerk; SELECT * FROM masked.shipment;
-- attack: prepared across roles
PREPARE p AS SELECT recv_phone, remark FROM masked.shipment; EXECUTE p; SET ROLE clerk; EXECUTE p; RESET ROLE; EXECUTE p;
-- attack: leaky cheap function
CREATE FUNCTION pg_temp.leak(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '% %', $1, $2; RETURN true; END $$;
SELECT id FROM masked.shipment WHERE pg_temp.leak(recv_phone::text, remark::text) AND station = 'SZ01';
SELECT id FROM app.shipment WHERE pg_temp.leak(recv_phone::text, station);
-- attack: leaky operator
CREATE FUNCTION pg_temp.leak_op(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;
CREATE OPERATOR pg_temp.=== (LEFTARG = text, RIGHTARG = text, PROCEDURE = pg_temp.leak_op);
SELECT id FROM masked.shipment WHERE recv_phone::text OPERATOR(pg_temp.===) 'x'::text;
-- attack: own functions before the built-in ones
CREATE FUNCTION public.show(courier_pii.sealed) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
SET search_path = public, courier_pii, pg_catalog;
SELECT show(recv_phone) FROM app.shipment;
DROP FUNCTION public.show(courier_pii.sealed);
-- attack: explain
EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) SELECT * FROM masked.shipment WHERE recv_phone = '13900000000';
EXPLAIN (ANALYZE, VERBOSE) SELECT recv_phone::text FROM app.shipment WHERE recv_phone = '13900000000';
-- attack: constant folding
EXPLAIN (VERBOSE) SELECT courier_pii.show('13800138000'::courier_pii.phone), recv_phone::text FROM app.shipment;
-- attack: auto_explain
LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on; SET client_min_messages = log;
SELECT * FROM masked.shipment;
SELECT recv_phone::text FROM app.shipment;
-- attack: debug output
SET client_min_messages = debug5; SET debug_print_plan = on; SET debug_print_parse = on; SET debug_print_rewritten = on;
SELECT recv_phone, remark FROM masked.shipment LIMIT 3;
-- attack: statistics
SELECT * FROM pg_stats WHERE schemaname IN ('app', 'masked', 'public');
SELECT * FROM pg_statistic;
SELECT * FROM pg_stats_ext_exprs;
SELECT * FROM pg_statistic_ext_data;
-- attack: planner estimates
EXPLAIN SELECT * FROM app.shipment WHERE recv_phone::text = '13900000000';
-- attack: system columns and whole rows
SELECT ctid, tableoid, xmin, s FROM app.shipment s;
SELECT ctid, s FROM app.shipment_1 s;
SELECT v FROM masked.shipment v;
SELECT s::text, v::text FROM app.shipment s, masked.shipment v WHERE s.id = v.id;
-- attack: sampling and locking
SELECT * FROM app.shipment TABLESAMPLE SYSTEM (100);
BEGIN; SELECT * FROM app.shipment FOR UPDATE; ROLLBACK;
BEGIN; SELECT * FROM masked.shipment FOR UPDATE; ROLLBACK;
-- attack: xml
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
-- attack: activity of others
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
-- attack: files
COPY app.shipment TO PROGRAM 'cat';
COPY (SELECT recv_phone::text FROM app.shipment) TO '/dev/stdout';
-- attack: copy
COPY app.shipment TO STDOUT;
COPY masked.shipment TO STDOUT;
COPY (SELECT recv_phone::text, remark::text FROM app.shipment) TO STDOUT;
COPY app.shipment_1 TO STDOUT (FORMAT csv);
-- attack: parallel plans
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET force_parallel_mode = on;
SELECT recv_phone, remark FROM masked.shipment;
SELECT recv_phone::text FROM app.shipment;
-- attack: just-in-time compilation
SET jit_above_cost = 0; SELECT recv_phone, remark FROM masked.shipment;
-- attack: logical decoding
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
