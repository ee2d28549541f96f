-- A company's own data classes.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_ann LOGIN;
CREATE ROLE regress_courier_pii_bob LOGIN;
SELECT courier_pii.create_class('plate', 'first_last(2,1)', true) AS plate,
	courier_pii.create_class('badge') AS badge,
	courier_pii.create_class('wechat', 'phone', search => false) AS wechat,
	courier_pii.create_class('locker', 'last(3)', true) AS locker;
SELECT number, class, mask, search FROM courier_pii.custom_classes ORDER BY 1;

-- bad calls
SELECT courier_pii.create_class('plate', 'hidden');
SELECT courier_pii.create_class('phone', 'hidden');
SELECT courier_pii.create_class('sealed', 'hidden');
SELECT courier_pii.create_class('No"Name', 'hidden');
SELECT courier_pii.create_class('', 'hidden');
SELECT courier_pii.create_class('c1', 'first(0)');
SELECT courier_pii.create_class('c1', 'first(9)');
SELECT courier_pii.create_class('c1', 'first_last(2, 1)');
SELECT courier_pii.create_class('c1', 'note');
SELECT courier_pii.create_class('c1', 'length(value)');
SELECT courier_pii.create_class('c1', NULL);
SELECT NULL::courier_pii.sealed(time);
SELECT NULL::courier_pii.sealed(11);
SELECT NULL::courier_pii.sealed(999);
\c - regress_courier_pii_ann
SELECT courier_pii.create_class('c1', 'hidden');
\c - :superuser

-- columns: made with the domain, and protected
CREATE SCHEMA regress_class AUTHORIZATION regress_courier_pii_owner;
CREATE SCHEMA regress_cview AUTHORIZATION regress_courier_pii_owner;
GRANT CREATE ON SCHEMA regress_class TO regress_courier_pii_owner;
SET ROLE regress_courier_pii_owner;
CREATE TABLE regress_class.car (id int PRIMARY KEY, plate text UNIQUE, badge courier_pii.badge, wechat text, locker courier_pii.locker);
INSERT INTO regress_class.car VALUES (1, '粤B12345', 'badge-17', '13812345678', 'L-00123'), (2, '粤C7', 'x', 'zhang_san', '9');
CREATE TABLE regress_class.fine (id int PRIMARY KEY, plate courier_pii.plate);
RESET ROLE;
SELECT courier_pii.protect_column('regress_class.car', 'plate', 'plate');
SELECT courier_pii.protect_column('regress_class.car', 'wechat', 'wechat');
\d regress_class.car
SELECT col, class FROM courier_pii.protected_columns WHERE tbl = 'regress_class.car'::regclass ORDER BY 1;
SELECT courier_pii.create_masked_view('regress_class.car', 'regress_cview');
GRANT USAGE ON SCHEMA regress_cview TO PUBLIC;
GRANT SELECT, INSERT, UPDATE ON regress_cview.car TO regress_courier_pii_ann, regress_courier_pii_bob;
-- the column's class is kept, and values do not change class
INSERT INTO regress_class.fine SELECT id, plate FROM regress_class.car WHERE id = 1;
INSERT INTO regress_class.fine SELECT 3, locker FROM regress_class.car WHERE id = 1;
SELECT c.id FROM regress_class.car c JOIN regress_class.fine f ON f.plate = c.plate;
\set VERBOSITY terse
INSERT INTO regress_class.car (id, plate) VALUES (3, '粤 B12345');
\set VERBOSITY default
SELECT count(*) FROM regress_class.car WHERE badge = 'badge-17';

-- disclosure
SELECT courier_pii.grant_disclosure('regress_courier_pii_bob', 'plate', 'clear');
SELECT courier_pii.grant_disclosure('regress_courier_pii_bob', 'badge', 'clear', tbl => 'regress_class.car', col => 'badge');
SELECT courier_pii.grant_disclosure('regress_courier_pii_bob', 'locker', 'masked', true);
SELECT grantee, class, level, searchable, col FROM courier_pii.disclosures WHERE grantee = 'regress_courier_pii_bob'::regrole ORDER BY class;
\c - regress_courier_pii_ann
TABLE regress_cview.car;
SELECT id FROM regress_cview.car WHERE plate = '粤B12345';
INSERT INTO regress_cview.car (id, plate) VALUES (4, '粤B****5');
INSERT INTO regress_cview.car (id, wechat) VALUES (4, '1******5678');
INSERT INTO regress_cview.car (id, locker) VALUES (4, '****123');
UPDATE regress_cview.car SET plate = '粤B****5', badge = '***' WHERE id = 1;
INSERT INTO regress_cview.car (id, plate, wechat) VALUES (4, '沪A99999', '010-82345678') RETURNING id, plate, wechat;
SELECT class, level, searchable FROM courier_pii.effective_disclosures WHERE class IN ('plate', 'badge', 'locker') ORDER BY 1;
\c - regress_courier_pii_bob
TABLE regress_cview.car;
SELECT id FROM regress_cview.car WHERE plate = '粤b１２３４５';
SELECT id FROM regress_cview.car WHERE locker IN ('L-00123', 'no');
SELECT class, level, searchable FROM courier_pii.effective_disclosures WHERE class IN ('plate', 'badge', 'locker') ORDER BY 1;

-- an explicit hidden wins over the column's grant; revoking brings the default back
\c - :superuser
SELECT courier_pii.grant_disclosure('regress_courier_pii_bob', 'badge', 'hidden');
SELECT courier_pii.grant_disclosure('regress_courier_pii_bob', 'plate', 'token');
\c - regress_courier_pii_bob
SELECT badge, plate ~ '^~[0-9a-z]{16}$' AS token FROM regress_cview.car WHERE id = 1;
\c - :superuser
SELECT courier_pii.revoke_disclosure('regress_courier_pii_bob', 'plate');
\c - regress_courier_pii_bob
SELECT plate FROM regress_cview.car WHERE id = 1;

-- the register changes through the function only
\c - :superuser
UPDATE courier_pii.custom_class SET mask = 'first(8)';

-- tokens: the same for one purpose, others for another, never stored
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'plate', 'token');
\c - regress_courier_pii_ann
SELECT plate AS plain FROM regress_cview.car WHERE id = 1 \gset
SET courier_pii.purpose = 'report 7';
SELECT plate AS report FROM regress_cview.car WHERE id = 1 \gset
SELECT :'plain' <> :'report' AS differs, plate = :'report' AS shown_again FROM (SELECT plate || '' AS plate FROM regress_cview.car WHERE id = 1) s;
INSERT INTO regress_cview.car (id, plate) VALUES (5, :'report');
\c - :superuser
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_class CASCADE;
DROP SCHEMA regress_cview CASCADE;
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_bob;
SELECT courier_pii.revoke_disclosure(r, c) FROM (VALUES ('regress_courier_pii_bob'::regrole, 'badge'), ('regress_courier_pii_bob', 'locker'), ('regress_courier_pii_ann', 'plate')) v(r, c);
DROP ROLE regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_bob;
