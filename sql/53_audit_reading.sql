-- Reading the audit trail: time line, who saw a value, sealed cases, extracts.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_clerk LOGIN;
CREATE ROLE regress_courier_pii_auditor LOGIN;
CREATE ROLE regress_courier_pii_reader LOGIN;
CREATE ROLE regress_courier_pii_security LOGIN;
CREATE SCHEMA regress_read;
CREATE SCHEMA regress_rview;
GRANT USAGE ON SCHEMA regress_rview TO PUBLIC;
CREATE TABLE regress_read.w (id int PRIMARY KEY, no text, name text, phone text, addr text);
INSERT INTO regress_read.w SELECT i, 'SF' || (1000000000000 + i), '王小明', '138' || lpad(i::text, 8, '0'), '北京市海淀区中关村大街' || i || '号' FROM generate_series(1, 200) i;
SELECT courier_pii.protect_column('regress_read.w', 'phone', 'phone'), courier_pii.protect_column('regress_read.w', 'name', 'person_name'), courier_pii.protect_column('regress_read.w', 'addr', 'address'), courier_pii.protect_column('regress_read.w', 'no', 'waybill_no');
SELECT courier_pii.create_masked_view('regress_read.w', 'regress_rview');
GRANT SELECT ON regress_rview.w TO regress_courier_pii_clerk;
SELECT courier_pii.grant_disclosure('regress_courier_pii_clerk', c, 'clear', true) FROM unnest('{phone,address,waybill_no}'::text[]) c;
SELECT courier_pii.appoint('pii_auditor', 'regress_courier_pii_auditor'), courier_pii.appoint('pii_auditor', 'regress_courier_pii_reader'), courier_pii.appoint('pii_security_admin', 'regress_courier_pii_security');
SELECT courier_pii.add_org('regress-r', '测试站', 'station', NULL);
SELECT courier_pii.hire('R-53', '测试', 'regress_courier_pii_clerk', 'regress-r', 'service', '{}');

\c - regress_courier_pii_clerk
SET courier_pii.purpose = 'complaint';
SELECT phone, addr FROM regress_rview.w WHERE id = 7;
SELECT id FROM regress_rview.w WHERE phone = '+86 138-0000-0009';
SELECT count(*) FROM (SELECT id FROM regress_rview.w WHERE phone IN ('13800000011', '13800000012')) s;
SELECT count(length(phone)) FROM regress_rview.w;
SELECT name FROM regress_rview.w WHERE id = 7;
SELECT courier_pii.who_saw('phone', '13800000007');
SELECT courier_pii.audit_timeline('R-53', '-infinity', 'infinity');
SELECT courier_pii.audit_extract('-infinity', 'infinity');
SELECT courier_pii.audit_visible(NULL, NULL);
SELECT count(*) FROM courier_pii.audit_log;
SET courier_pii.purpose = 'case 2026-17';
SELECT phone FROM regress_rview.w WHERE id = 20;

\c - regress_courier_pii_auditor
SELECT courier_pii.audit_flush();
-- the number as anybody writes it
SELECT how, staff_no, action, outcome, relations, disclosed, purpose FROM courier_pii.who_saw('phone', '138 0000 0007') WHERE staff_no = 'R-53';
SELECT how, staff_no, action, disclosed FROM courier_pii.who_saw('phone', '13800000009') WHERE staff_no = 'R-53';
SELECT how, staff_no, action, disclosed FROM courier_pii.who_saw('phone', '13800000012') WHERE staff_no = 'R-53';
SELECT how, staff_no, action, disclosed FROM courier_pii.who_saw('address', '北京市海淀区中关村大街7号') WHERE staff_no = 'R-53';
-- nobody
SELECT how, staff_no, action, disclosed FROM courier_pii.who_saw('person_name', '王小明') WHERE staff_no = 'R-53';
SELECT how FROM courier_pii.who_saw('phone', '13800000007', 'infinity');
SELECT courier_pii.who_saw('nothing', 'x');
SELECT courier_pii.who_saw('time', 'x');
SELECT action, outcome, disclosed, masked, probes, purpose FROM courier_pii.audit_timeline('R-53', now() - interval '1 hour', now() + interval '1 hour') WHERE action <> 'LOGIN';
SELECT count(*) FROM courier_pii.audit_timeline('R-53', now() + interval '1 hour', 'infinity');
-- no value, and no tag that a sealed value carries
SELECT count(*) AS with_clear_text FROM courier_pii.audit_log WHERE (query || coalesce(detail::text, '')) ~ '138-?0000-?00|中关村|小明';
-- reading was recorded
SELECT courier_pii.audit_flush();
SELECT command, relations, probes, count(*) FROM courier_pii.audit_log WHERE login_role = 'regress_courier_pii_auditor' AND action IN ('READ', 'SEARCH') GROUP BY 1, 2, 3 ORDER BY 2, 3;
SELECT count(*) > 0 AS denied FROM courier_pii.audit_denied WHERE login_role = 'regress_courier_pii_clerk';
-- sums once
SELECT disclosed, probes FROM courier_pii.audit_by_person WHERE staff_no = 'R-53';

-- a sealed case
SELECT courier_pii.seal_case('case 2026-17', '{regress_courier_pii_auditor}');
\c - regress_courier_pii_security
SELECT courier_pii.seal_case('case 2026-17', '{}');
SELECT courier_pii.seal_case('case 2026-17', '{regress_courier_pii_clerk}');
SELECT courier_pii.seal_case('', '{regress_courier_pii_reader}');
SELECT courier_pii.seal_case('case 2026-17', '{regress_courier_pii_reader}') AS sealed \gset
SELECT * FROM courier_pii.audit_case;
\c - regress_courier_pii_auditor
SELECT courier_pii.audit_flush();
SELECT count(*) FROM courier_pii.audit_log WHERE purpose = 'case 2026-17';
SELECT count(*) FROM courier_pii.who_saw('phone', '13800000020') WHERE staff_no = 'R-53' AND how = 'shown';
SELECT count(*) FROM courier_pii.audit_timeline('R-53', '-infinity', 'infinity') WHERE purpose LIKE 'case%';
-- a function that is cheap, and tells what it sees
CREATE FUNCTION pg_temp.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$BEGIN IF $1 LIKE 'case%' THEN RAISE NOTICE '%', $1; END IF; RETURN true; END$$;
SELECT count(*) > 0 FROM courier_pii.audit_log WHERE pg_temp.tell(purpose);
SELECT case_no, readers, sealed_by FROM courier_pii.audit_cases WHERE lifted_at IS NULL;
SELECT count(*) FROM courier_pii.audit_extract('-infinity', 'infinity', 'json') l WHERE l LIKE '%case 2026-17%';
SELECT l ~ '"withheld": [1-9]' AS withheld FROM courier_pii.audit_extract('-infinity', 'infinity', 'json', 'R-53') l WHERE l LIKE '{"extract"%';
SELECT count(*) FROM courier_pii.audit_log WHERE query LIKE '%2026-17%' OR detail::text LIKE '%2026-17%';
SELECT * FROM courier_pii.audit_verify();
\c - regress_courier_pii_reader
SELECT count(*) > 0 AS seen FROM courier_pii.audit_log WHERE purpose = 'case 2026-17';
SELECT count(*) FROM courier_pii.who_saw('phone', '13800000020') WHERE staff_no = 'R-53' AND how = 'shown';
SELECT case_no, readers FROM courier_pii.audit_cases WHERE lifted_at IS NULL;
\c - regress_courier_pii_security
SELECT courier_pii.unseal_case(:sealed);
SELECT courier_pii.unseal_case(0);
\c - regress_courier_pii_auditor
SELECT count(*) > 0 AS seen FROM courier_pii.audit_log WHERE purpose = 'case 2026-17';

-- extracts
SELECT string_agg(l, E'\n' ORDER BY n) AS csv FROM courier_pii.audit_extract(now() - interval '1 hour', now(), 'csv', 'R-53') WITH ORDINALITY AS x (l, n) \gset
SELECT string_agg(l, E'\n' ORDER BY n) AS json FROM courier_pii.audit_extract(now() - interval '1 hour', now(), 'json') WITH ORDINALITY AS x (l, n) \gset
SELECT courier_pii.audit_extract_check(:'csv'), courier_pii.audit_extract_check(:'json' || E'\n');
SELECT courier_pii.audit_extract_check(replace(:'csv', 'complaint', 'nothing')), courier_pii.audit_extract_check(replace(:'csv', '"staff_no": "R-53"', '"staff_no": null'));
SELECT courier_pii.audit_extract_check('x'), courier_pii.audit_extract_check(regexp_replace(:'json', '\n[^\n]*$', ''));
SELECT left(:'csv', 28), (split_part(:'json', E'\n', 1)::jsonb ->> 'hash') ~ '^\\x[0-9a-f]{64}$' AS hash;
SELECT courier_pii.audit_extract(now(), now(), 'xml');
SELECT courier_pii.audit_extract(NULL, now());
SELECT courier_pii.audit_flush();
SELECT count(*) > 0 AS recorded FROM courier_pii.audit_exports WHERE command = 'audit_extract' AND login_role = 'regress_courier_pii_auditor';

\c - :superuser
SET client_min_messages = error;
SELECT count(*) FROM courier_pii.audit_cases;
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_read, regress_rview CASCADE;
SELECT courier_pii.revoke_disclosure('regress_courier_pii_clerk', c) FROM unnest('{phone,address,waybill_no}'::text[]) c;
REVOKE pii_auditor FROM regress_courier_pii_auditor, regress_courier_pii_reader;
REVOKE pii_security_admin FROM regress_courier_pii_security;
SELECT courier_pii.depart('R-53', now(), 'test');
DROP OWNED BY regress_courier_pii_clerk, regress_courier_pii_auditor, regress_courier_pii_reader, regress_courier_pii_security;
DROP ROLE regress_courier_pii_clerk, regress_courier_pii_auditor, regress_courier_pii_reader, regress_courier_pii_security;
