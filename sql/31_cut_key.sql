--
-- A key column that the masked view cuts does not find a row: several rows of
-- the table look alike in it.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS courier_pii CASCADE;
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_planner LOGIN;
CREATE TABLE cut_key (day date, courier text, phone text, km int, PRIMARY KEY (day, courier));
INSERT INTO cut_key VALUES ('2026-11-01', 'K1', '13800000001', 1), ('2026-11-15', 'K1', '13800000015', 2);
GRANT SELECT, UPDATE, DELETE ON cut_key TO regress_courier_pii_planner;
SELECT courier_pii.protect_column('cut_key', 'phone', 'phone');
SELECT courier_pii.create_masked_view('cut_key', 'cut_key_masked', '{"day": "month"}', true);
\c - regress_courier_pii_planner
SELECT * FROM cut_key_masked.cut_key ORDER BY km;
UPDATE cut_key_masked.cut_key SET km = 99 WHERE km = 2;
DELETE FROM cut_key_masked.cut_key WHERE km = 2;
\c - :superuser
SET client_min_messages = warning;
SELECT day, km FROM cut_key ORDER BY day;
-- a key that the view shows as it is does
ALTER TABLE cut_key ADD COLUMN id int UNIQUE GENERATED ALWAYS AS IDENTITY;
DROP VIEW cut_key_masked.cut_key;
SELECT courier_pii.create_masked_view('cut_key', 'cut_key_masked', '{"day": "month"}');
GRANT SELECT, UPDATE, DELETE ON cut_key_masked.cut_key TO regress_courier_pii_planner;
\c - regress_courier_pii_planner
UPDATE cut_key_masked.cut_key SET km = 99 WHERE km = 2;
DELETE FROM cut_key_masked.cut_key WHERE km = 1;
\c - :superuser
SET client_min_messages = warning;
SELECT day, km FROM cut_key ORDER BY day;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA cut_key_masked CASCADE;
DROP TABLE cut_key;
DROP ROLE regress_courier_pii_planner;
