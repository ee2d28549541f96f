-- Who is shown what.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_ann LOGIN;
CREATE ROLE regress_courier_pii_bob LOGIN NOINHERIT;
CREATE ROLE regress_courier_pii_boss LOGIN SUPERUSER;
CREATE ROLE regress_courier_pii_desk;
CREATE ROLE regress_courier_pii_claims;
GRANT regress_courier_pii_desk TO regress_courier_pii_ann, regress_courier_pii_bob;
GRANT CREATE ON DATABASE contrib_regression TO regress_courier_pii_owner;
\c - regress_courier_pii_owner
CREATE SCHEMA regress_show;
CREATE TABLE regress_show.c (id int PRIMARY KEY, name courier_pii.person_name, phone courier_pii.phone, alt_phone courier_pii.phone, addr courier_pii.address, idno courier_pii.id_number);
INSERT INTO regress_show.c VALUES (1, '张三丰', '13812345678', '13987654321', '广东省深圳市南山区科技路8号3栋502', '110101199001010017');
INSERT INTO regress_show.c SELECT 2, name, phone, NULL, NULL, NULL FROM regress_show.c;
\c - :superuser
CREATE SCHEMA regress_sview AUTHORIZATION regress_courier_pii_owner;
SELECT courier_pii.create_masked_view('regress_show.c', 'regress_sview');
GRANT USAGE ON SCHEMA regress_sview, regress_show TO PUBLIC;
GRANT SELECT ON regress_sview.c TO PUBLIC;
CREATE VIEW shown AS SELECT * FROM regress_sview.c WHERE id = 1;
GRANT SELECT ON shown TO PUBLIC;

-- class defaults, also for superusers
\c - regress_courier_pii_ann
TABLE regress_sview.c;
SELECT class, level, searchable, reason FROM courier_pii.effective_disclosures WHERE class IN ('phone', 'id_number');
\c - regress_courier_pii_boss
TABLE regress_sview.c;
SELECT phone::text FROM regress_show.c WHERE id = 1;

-- bad calls
\c - :superuser
SELECT courier_pii.grant_disclosure('regress_courier_pii_boss', 'phone', 'clear');
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'shoe_size', 'clear');
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'all');
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', NULL, 'clear');
SELECT courier_pii.grant_disclosure('nobody_here', 'phone', 'clear');
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'clear', tbl => 'regress_show.c');
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'clear', tbl => 'regress_show.c', col => 'none');
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'clear', tbl => 'regress_show.c', col => 'name');
INSERT INTO courier_pii.disclosure (grantee, class, level, granted_by) VALUES ('regress_courier_pii_ann', 2, 'clear', 'me');
\c - regress_courier_pii_ann
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'clear');
SELECT * FROM courier_pii.disclosures;

-- the levels
\c - :superuser
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_desk', class, 'clear')) FROM unnest('{person_name,phone,address,id_number}'::text[]) class;
\c - regress_courier_pii_ann
SELECT name, phone, addr, idno FROM regress_sview.c WHERE id = 1;
\c - :superuser
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_desk', class, 'masked')) FROM unnest('{person_name,phone,address,id_number}'::text[]) class;
\c - regress_courier_pii_ann
SELECT name, phone, addr, idno FROM regress_sview.c WHERE id = 1;
\c - :superuser
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_desk', class, 'label')) FROM unnest('{person_name,phone,address,id_number}'::text[]) class;
\c - regress_courier_pii_ann
SELECT name, phone, addr, idno FROM regress_sview.c WHERE id = 1;
\c - :superuser
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_desk', class, 'token')) FROM unnest('{person_name,phone,address,id_number}'::text[]) class;
\c - regress_courier_pii_ann
SELECT phone ~ '^~[0-9a-z]{16}$' AS phone, addr ~ '^~[0-9a-z]{16}$' AS addr, phone <> alt_phone AS differs FROM regress_sview.c WHERE id = 1;
SELECT count(DISTINCT phone) AS stable FROM regress_sview.c;
\c - :superuser
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_desk', class, 'hidden')) FROM unnest('{person_name,phone,address,id_number}'::text[]) class;
\c - regress_courier_pii_ann
SELECT name, phone, addr, idno FROM regress_sview.c WHERE id = 1;
\c - :superuser
SELECT count(courier_pii.grant_disclosure('regress_courier_pii_desk', class, 'scoped')) FROM unnest('{person_name,phone,address,id_number}'::text[]) class;
\c - regress_courier_pii_ann
SELECT name, phone, addr, idno FROM regress_sview.c WHERE id = 1;
SELECT courier_pii.show_column(phone, 'regress_show.c', 3::int2, true) FROM regress_show.c;

-- widest wins, hidden wins over all, search is separate
\c - :superuser
SELECT count(courier_pii.revoke_disclosure('regress_courier_pii_desk', class)) FROM unnest('{person_name,phone,address,id_number}'::text[]) class;
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'label', true), courier_pii.grant_disclosure('regress_courier_pii_desk', 'phone', 'clear');
\c - regress_courier_pii_ann
SELECT phone FROM shown;
\c - :superuser
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'hidden', true);
\c - regress_courier_pii_ann
SELECT phone FROM shown;
SELECT class, level, searchable, reason FROM courier_pii.effective_disclosures WHERE class = 'phone';
\c - :superuser
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'masked', true), courier_pii.revoke_disclosure('regress_courier_pii_desk', 'phone');
\c - regress_courier_pii_ann
SELECT phone FROM shown;
SELECT id, phone FROM regress_sview.c WHERE phone = '13812345678' ORDER BY id;
\c - :superuser
SELECT courier_pii.revoke_disclosure('regress_courier_pii_ann', 'phone');
SELECT courier_pii.revoke_disclosure('regress_courier_pii_ann', 'phone');

-- until
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'clear', false, '2020-01-01');
\c - regress_courier_pii_ann
SELECT phone FROM shown;
\c - :superuser
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'clear', false, clock_timestamp() + '2 s');
\c - regress_courier_pii_ann
SELECT phone FROM shown;
SELECT pg_sleep(2.1);
SELECT phone FROM shown;

-- one column
\c - :superuser
SELECT courier_pii.revoke_disclosure('regress_courier_pii_ann', 'phone');
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'clear', tbl => 'regress_show.c', col => 'alt_phone');
SELECT grantee, class, level, searchable, valid_until, tbl, col FROM courier_pii.disclosures;
\c - regress_courier_pii_ann
SELECT phone, alt_phone FROM shown;
\c - :superuser
SELECT courier_pii.grant_disclosure('regress_courier_pii_ann', 'phone', 'hidden');
\c - regress_courier_pii_ann
SELECT phone, alt_phone FROM shown;
\c - :superuser
SELECT courier_pii.revoke_disclosure('regress_courier_pii_ann', 'phone');
SELECT count(*) FROM courier_pii.disclosures;

-- SET ROLE narrows and never widens; superusers acting as others see masks
SELECT courier_pii.grant_disclosure('regress_courier_pii_claims', 'phone', 'clear'), courier_pii.grant_disclosure('regress_courier_pii_ann', 'person_name', 'clear');
SET ROLE regress_courier_pii_claims;
SELECT phone FROM shown;
RESET ROLE;
SET SESSION AUTHORIZATION regress_courier_pii_ann;
SELECT name FROM shown; -- the login is what counts
RESET SESSION AUTHORIZATION;
GRANT regress_courier_pii_claims TO regress_courier_pii_ann;
\c - regress_courier_pii_ann
PREPARE see AS SELECT name, phone FROM shown;
EXECUTE see;
SET ROLE regress_courier_pii_claims;
EXECUTE see;
SET ROLE regress_courier_pii_desk;
EXECUTE see;
RESET ROLE;
EXECUTE see;

-- NOINHERIT: only after SET ROLE
\c - :superuser
GRANT regress_courier_pii_claims TO regress_courier_pii_bob;
\c - regress_courier_pii_bob
SELECT phone FROM shown;
SET ROLE regress_courier_pii_claims;
SELECT phone FROM shown;

-- SECURITY DEFINER does not widen, and what it calls is masked for others
\c - regress_courier_pii_ann
CREATE FUNCTION pg_temp.definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT phone FROM regress_sview.c WHERE id = 1';
SELECT pg_temp.definer();
\c - :superuser
CREATE FUNCTION regress_definer() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN (SELECT phone FROM regress_sview.c WHERE id = 1); END $$;
ALTER FUNCTION regress_definer() OWNER TO regress_courier_pii_claims;
\c - regress_courier_pii_owner
SELECT regress_definer();

-- never clear inside a write
\c - :superuser
GRANT TEMP ON DATABASE contrib_regression TO regress_courier_pii_ann;
\c - regress_courier_pii_ann
CREATE TEMP TABLE ctas AS SELECT phone FROM shown;
SELECT phone INTO TEMP into_t FROM shown;
CREATE TEMP TABLE ins (p text);
INSERT INTO ins SELECT phone FROM shown;
INSERT INTO ins SELECT phone FROM shown RETURNING p, (SELECT phone FROM shown);
UPDATE ins SET p = (SELECT phone FROM shown);
MERGE INTO ins USING shown ON false WHEN NOT MATCHED THEN INSERT VALUES (phone);
WITH w AS (INSERT INTO ins SELECT phone FROM shown RETURNING p) SELECT p FROM w;
DO $$ DECLARE v text; BEGIN SELECT phone INTO v FROM shown; INSERT INTO ins VALUES (left(v, 3) || '...'); END $$;
SELECT * FROM ctas UNION ALL SELECT * FROM into_t UNION ALL SELECT * FROM ins ORDER BY 1;

-- grants and memberships of this very session take effect at once
\c - :superuser
CREATE ROLE regress_courier_pii_admin LOGIN CREATEROLE;
GRANT regress_courier_pii_claims TO regress_courier_pii_admin WITH ADMIN OPTION;
CREATE FUNCTION regress_sview.leave() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN REVOKE regress_courier_pii_claims FROM regress_courier_pii_admin; END';

\c - regress_courier_pii_admin
PREPARE see AS SELECT phone FROM shown;
EXECUTE see;
SELECT regress_sview.leave();
EXECUTE see;
SELECT phone FROM shown;

\c - :superuser
SET client_min_messages = error;
DROP FUNCTION regress_definer();
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_show, regress_sview CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_claims', 'phone'), courier_pii.revoke_disclosure('regress_courier_pii_ann', 'person_name');
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_bob;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_ann, regress_courier_pii_bob, regress_courier_pii_boss, regress_courier_pii_desk, regress_courier_pii_claims, regress_courier_pii_admin;
