-- The emergency brake: masks from the next value on.
SELECT current_user AS superuser \gset
SET client_min_messages = warning;
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_fay LOGIN;
CREATE ROLE regress_courier_pii_gus LOGIN;
CREATE ROLE regress_courier_pii_sec LOGIN;
GRANT pii_security_admin TO regress_courier_pii_sec;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_freeze;
CREATE TABLE regress_freeze.c (id int PRIMARY KEY, phone text, name text);
INSERT INTO regress_freeze.c VALUES (1, '13800000001', '王小明'), (2, '13800000002', '李大山');
SELECT courier_pii.protect_column('regress_freeze.c', 'phone', 'phone'), courier_pii.protect_column('regress_freeze.c', 'name', 'person_name');
\c - :superuser
SET client_min_messages = warning;
CREATE SCHEMA regress_fview AUTHORIZATION regress_courier_pii_owner;
GRANT USAGE ON SCHEMA regress_fview TO PUBLIC;
SELECT courier_pii.create_masked_view('regress_freeze.c', 'regress_fview');
GRANT SELECT ON regress_fview.c TO PUBLIC;
SELECT courier_pii.grant_disclosure(r::regrole, c, 'clear', true)
	FROM unnest('{regress_courier_pii_fay,regress_courier_pii_gus}'::text[]) r, unnest('{phone,person_name}'::text[]) c;
SELECT courier_pii.add_org('FZ', 'freeze', 'hq', NULL);
SELECT courier_pii.hire('FZ1', 'Fay', 'regress_courier_pii_fay', 'FZ', 'clerk');
\set VERBOSITY terse
\set read 'SELECT session_user, id, phone, name FROM regress_fview.c ORDER BY id'

-- only the duty
\c - regress_courier_pii_fay
SELECT courier_pii.freeze('all');
SELECT courier_pii.unfreeze('all');
SELECT * FROM courier_pii.freezes;

-- a person, by staff number
\c - regress_courier_pii_sec
SELECT courier_pii.freeze('nobody of that name');
SELECT courier_pii.freeze('class:nothing');
SELECT courier_pii.freeze(NULL);
SELECT courier_pii.freeze('FZ1', 'asked for by the audit');
SELECT courier_pii.freeze('person:FZ1');
SELECT what, reason, frozen_by FROM courier_pii.freezes;
\c - regress_courier_pii_fay
:read;
SELECT id FROM regress_fview.c WHERE phone = '13800000001';
SELECT level, searchable, reason FROM courier_pii.effective_disclosures WHERE class = 'phone';
\c - regress_courier_pii_gus
:read;

-- a class, a login role
\c - regress_courier_pii_sec
SELECT courier_pii.unfreeze('FZ1'), courier_pii.unfreeze('FZ1'), courier_pii.freeze('phone'), courier_pii.freeze('regress_courier_pii_gus');
\c - regress_courier_pii_fay
:read;
\c - regress_courier_pii_gus
:read;

-- a failed transaction withdraws it, in part as well
\c - regress_courier_pii_sec
SELECT courier_pii.unfreeze('class:phone'), courier_pii.unfreeze('person:regress_courier_pii_gus');
BEGIN;
SELECT courier_pii.freeze('all');
SAVEPOINT s;
SELECT courier_pii.freeze('person_name');
ROLLBACK TO s;
ROLLBACK;
BEGIN;
SELECT courier_pii.freeze('person_name');
SAVEPOINT s;
SELECT courier_pii.unfreeze('person_name');
ROLLBACK TO s;
COMMIT;
SELECT what FROM courier_pii.freezes;
\c - regress_courier_pii_fay
:read;
\c - regress_courier_pii_sec
SELECT courier_pii.unfreeze('person_name');
\c - regress_courier_pii_fay
:read;

\c - :superuser
SET client_min_messages = error;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_freeze, regress_fview CASCADE;
SELECT courier_pii.depart('FZ1');
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_fay, regress_courier_pii_gus, regress_courier_pii_sec;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_gus, regress_courier_pii_sec;
