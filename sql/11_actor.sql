-- The person behind a pooled connection: named by a token, for one transaction.
\set VERBOSITY terse
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_courier; CREATE ROLE regress_courier_pii_service;
CREATE ROLE regress_courier_pii_li LOGIN IN ROLE regress_courier_pii_courier;
CREATE ROLE regress_courier_pii_wang LOGIN IN ROLE regress_courier_pii_service;
CREATE ROLE regress_courier_pii_pool LOGIN;
CREATE SCHEMA regress_actor;
CREATE TABLE regress_actor.parcel (id integer PRIMARY KEY, branch text, phone text);
INSERT INTO regress_actor.parcel SELECT i, 'A', '138' || lpad(i::text, 8, '0') FROM generate_series(1, 20) i;
CREATE TABLE regress_actor.task (parcel integer, staff text);
INSERT INTO regress_actor.task VALUES (5, 'ACT1');
SELECT courier_pii.protect_column('regress_actor.parcel', 'phone', 'phone');
SELECT courier_pii.create_masked_view('regress_actor.parcel', 'regress_actor_masked');
GRANT USAGE ON SCHEMA regress_actor_masked TO regress_courier_pii_pool, regress_courier_pii_li;
GRANT SELECT ON regress_actor_masked.parcel TO regress_courier_pii_pool, regress_courier_pii_li;
SELECT courier_pii.add_org('ACT', 'head office', 'hq');
SELECT courier_pii.hire('ACT1', 'Li', 'regress_courier_pii_li', 'ACT', 'courier'),
       courier_pii.hire('ACT2', 'Wang', 'regress_courier_pii_wang', 'ACT', 'service'),
       courier_pii.hire('ACT3', 'Zhao', NULL, 'ACT', 'clerk');
SELECT courier_pii.grant_disclosure('regress_courier_pii_service', 'phone', 'clear');
SELECT courier_pii.set_row_rule('regress_actor.parcel', 'regress_courier_pii_courier', 'own',
    visible => '{id in regress_actor.task.parcel where staff = actor.staff_no}');
SELECT courier_pii.set_row_rule('regress_actor.parcel', 'regress_courier_pii_service', 'all', visible => '{branch = ''A''}');
SELECT courier_pii.make_actor_token('ACT1') AS li1 \gset
SELECT courier_pii.make_actor_token('ACT1') AS li2 \gset
SELECT courier_pii.make_actor_token('ACT1') AS li3 \gset
SELECT courier_pii.make_actor_token('ACT2') AS wang1 \gset
SELECT courier_pii.make_actor_token('ACT2') AS wang2 \gset
SELECT courier_pii.make_actor_token('ACT2') AS wang3 \gset
SELECT courier_pii.make_actor_token('ACT2') AS wang4 \gset
SELECT courier_pii.make_actor_token('ACT2') AS wang5 \gset
SELECT courier_pii.make_actor_token('ACT3') AS zhao \gset
SELECT courier_pii.make_actor_token('ACT9') AS nobody \gset
SELECT courier_pii.make_actor_token('ACT1', 61);
SELECT courier_pii.make_actor_token('ACT1', 0);

\c - regress_courier_pii_pool
-- nobody acts: masks, and no rows where rules decide
PREPARE list AS SELECT id, phone FROM regress_actor_masked.parcel ORDER BY id LIMIT 2;
EXECUTE list;
SELECT staff_no, login_role, proof, org FROM courier_pii.actor;
-- each transaction its own person, with the same prepared statement
BEGIN;
SELECT courier_pii.set_actor(:'li1');
EXECUTE list;
SELECT staff_no, login_role, proof, org FROM courier_pii.actor;
SELECT class, level, reason FROM courier_pii.effective_disclosures WHERE class = 'phone';
COMMIT;
EXECUTE list;
BEGIN;
SELECT courier_pii.set_actor(:'wang1');
EXECUTE list;
SELECT class, level FROM courier_pii.effective_disclosures WHERE class = 'phone';
ROLLBACK;
EXECUTE list;
-- a nonce is good once, also when its transaction failed
BEGIN; SELECT courier_pii.set_actor(:'wang1'); ROLLBACK;
-- not two persons in one transaction; no cursor outlives its person
BEGIN;
SELECT courier_pii.set_actor(:'wang2');
DECLARE rows CURSOR FOR SELECT id, phone FROM regress_actor_masked.parcel ORDER BY id LIMIT 1;
SAVEPOINT s;
DECLARE held CURSOR WITH HOLD FOR SELECT id, phone FROM regress_actor_masked.parcel ORDER BY id LIMIT 1;
ROLLBACK TO s;
SELECT courier_pii.set_actor(:'li2');
ROLLBACK;
FETCH ALL FROM rows;
-- the person goes with a savepoint that is rolled back
BEGIN;
SAVEPOINT s;
SELECT courier_pii.set_actor(:'wang3');
EXECUTE list;
ROLLBACK TO s;
EXECUTE list;
SELECT proof FROM courier_pii.actor;
COMMIT;
-- and stays with one that is released
BEGIN;
SAVEPOINT s;
SELECT courier_pii.set_actor(:'wang4');
RELEASE s;
SELECT proof FROM courier_pii.actor;
EXECUTE list;
COMMIT;
-- a person without a role of their own holds nothing
BEGIN; SELECT courier_pii.set_actor(:'zhao'); EXECUTE list; SELECT staff_no, proof FROM courier_pii.actor; COMMIT;
-- somebody who is not in the register, no token at all, a changed token
BEGIN; SELECT courier_pii.set_actor(:'nobody'); ROLLBACK;
SELECT courier_pii.set_actor('');
SELECT courier_pii.set_actor('a.b.c');
SELECT courier_pii.set_actor(:'li3' || 'A');
SELECT courier_pii.set_actor(NULL);
-- tokens are not for everybody to make
SELECT courier_pii.make_actor_token('ACT2');
-- a personal login stays that person
\c - regress_courier_pii_li
BEGIN; SELECT courier_pii.set_actor(:'wang5'); ROLLBACK;
SELECT staff_no, proof FROM courier_pii.actor;

-- departed between making the token and using it, and after
\c - :superuser
SELECT courier_pii.make_actor_token('ACT2') AS wang6 \gset
SELECT courier_pii.depart('ACT2', reason => 'test');
\c - regress_courier_pii_pool
\set VERBOSITY sqlstate
BEGIN; SELECT courier_pii.set_actor(:'wang6'); ROLLBACK;
\set VERBOSITY terse
\c - :superuser
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_actor_masked, regress_actor CASCADE;
DROP OWNED BY regress_courier_pii_courier, regress_courier_pii_service, regress_courier_pii_li, regress_courier_pii_wang, regress_courier_pii_pool;
DROP ROLE regress_courier_pii_courier, regress_courier_pii_service, regress_courier_pii_li, regress_courier_pii_wang, regress_courier_pii_pool;
