-- Roads out of the database, one section each, run by test/t/021_exfil.pl as an
-- insider who may see clear text, with a limit of 100 values:
--
--   --> NAME | EXPECTED
--
-- EXPECTED: "door" (stopped by the door after 100 values at most), "gate"
-- (refused before the first row), "masks" (nothing clear), "sealed" (ciphertext
-- only), "refused" (another error, nothing out).  Every try must be recorded
-- with the right counts.  :from is the masked view with a filter that the gate
-- cannot judge, :rows the number of rows, :file a file, :conninfo a new login.

--> table | gate
TABLE masked.shipment;
--> sorted | gate
SELECT id, recv_phone FROM masked.shipment ORDER BY recv_name;
--> copy of the view | gate
COPY masked.shipment TO STDOUT;
--> fetch all | gate
BEGIN;
DECLARE c CURSOR FOR SELECT recv_phone, recv_name FROM masked.shipment;
FETCH ALL FROM c;
--> select | door
SELECT recv_phone :from;
--> copy of a query | door
COPY (SELECT recv_phone FROM masked.shipment WHERE id > 0) TO STDOUT;
--> copy to a file | door
COPY (SELECT recv_phone FROM masked.shipment WHERE id > 0) TO :'file';
--> copy to a program | door
\set program 'cat > ' :file
COPY (SELECT recv_phone FROM masked.shipment WHERE id > 0) TO PROGRAM :'program';
--> cursor in slices | door
BEGIN;
DECLARE c CURSOR FOR SELECT recv_phone :from;
FETCH 40 FROM c;
FETCH 40 FROM c;
FETCH 40 FROM c;
--> cursor that is held | door
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT recv_phone :from;
COMMIT;
FETCH ALL FROM c;
--> move and fetch | door
BEGIN;
DECLARE c CURSOR FOR SELECT recv_phone :from;
FETCH 90 FROM c;
MOVE 100 FROM c;
FETCH 90 FROM c;
--> one row at a time in a block | door
DO $$
DECLARE p text;
BEGIN
	FOR i IN 1 .. 400 LOOP
		SELECT recv_phone INTO p FROM masked.shipment WHERE id = i;
		RAISE NOTICE '%', p;
	END LOOP;
END $$;
--> aggregate | door
SELECT string_agg(recv_phone, ',') :from;
--> aggregates of parts | door
SELECT id % 7, string_agg(recv_phone, ',') :from GROUP BY 1;
--> array of rows | door
SELECT array_agg(s) FROM masked.shipment s WHERE id > 0;
--> query_to_xml | masks
SELECT query_to_xml('SELECT recv_phone FROM masked.shipment WHERE id > 0', true, false, '');
--> cursor_to_xml | masks
BEGIN;
DECLARE c CURSOR FOR SELECT recv_phone :from;
SELECT cursor_to_xml('c', 100000, true, false, '');
--> many queries of query_to_xml | masks
SELECT query_to_xml('SELECT recv_phone FROM masked.shipment WHERE id = ' || i, true, false, '') FROM generate_series(1, :rows) i;
--> ts_stat | masks
SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', recv_phone) FROM masked.shipment WHERE id > 0');
--> database_to_xml | masks
SELECT schema_to_xml('masked', true, false, '');
--> large object | masks
SELECT lo_from_bytea(0, convert_to(string_agg(recv_phone, ','), 'UTF8')) :from;
--> notify | masks
SELECT count(pg_notify('c', recv_phone)) :from;
--> setting as a carrier | masks
SELECT set_config('x.y', string_agg(recv_phone, ','), false) :from;
--> lateral | door
SELECT l.p :from_alias, LATERAL (SELECT s.recv_phone AS p OFFSET 0) l;
--> sequence as an oracle | door
SELECT id FROM masked.shipment WHERE id > 0 AND substr(recv_phone, 11, 1) = '7';
--> explain analyze | door
EXPLAIN (ANALYZE) SELECT recv_phone :from;
--> prepared, executed by another name | door
PREPARE p AS SELECT recv_phone :from;
EXECUTE p;
--> dblink | door
SELECT dblink_connect_u('far', :'conninfo');
SELECT * FROM dblink('far', 'SELECT recv_phone FROM masked.shipment WHERE id > 0') AS t(p text);
--> foreign table | door
SELECT recv_phone FROM far.shipment WHERE id > 0;
--> create table as | masks
CREATE TABLE taken.t1 AS SELECT id, recv_phone :from;
TABLE taken.t1;
--> select into | masks
SELECT id, recv_phone INTO TEMP t2 :from;
TABLE t2;
--> temporary table | masks
CREATE TEMP TABLE t3 (p text);
INSERT INTO t3 SELECT recv_phone :from;
TABLE t3;
--> materialized view | masks
CREATE MATERIALIZED VIEW taken.m1 AS SELECT recv_phone :from;
REFRESH MATERIALIZED VIEW taken.m1;
TABLE taken.m1;
--> create table as execute | masks
PREPARE q AS SELECT recv_phone :from;
CREATE TEMP TABLE t4 AS EXECUTE q;
TABLE t4;
--> update returning | masks
CREATE TEMP TABLE t5 AS SELECT generate_series(1, 300) AS id, '' AS p;
UPDATE t5 SET p = s.recv_phone FROM masked.shipment s WHERE s.id = t5.id RETURNING p;
--> alter type using | masks
CREATE TEMP TABLE t6 AS SELECT id, id AS p FROM masked.shipment WHERE id <= 300;
CREATE FUNCTION taken.phone_of(bigint) RETURNS text LANGUAGE sql AS 'SELECT recv_phone FROM masked.shipment WHERE id = $1';
ALTER TABLE t6 ALTER COLUMN p TYPE text USING taken.phone_of(id);
TABLE t6;
--> table without the view | refused
SELECT recv_phone FROM app.shipment;
--> copy of the table | refused
COPY app.shipment TO STDOUT;
--> slot | refused
SELECT pg_create_logical_replication_slot('taken', 'test_decoding');
--> publication | refused
CREATE PUBLICATION taken FOR ALL TABLES;
