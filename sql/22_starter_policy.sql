-- The starter policy: posts, levels and rows of a courier company.
SELECT current_user AS superuser \gset
CREATE ROLE regress_courier_pii_owner LOGIN;
CREATE ROLE regress_courier_pii_li LOGIN;
CREATE ROLE regress_courier_pii_wang LOGIN;
CREATE ROLE regress_courier_pii_zhao LOGIN;
CREATE ROLE regress_courier_pii_qian LOGIN;
CREATE ROLE regress_courier_pii_tao LOGIN;
CREATE ROLE regress_courier_pii_wen LOGIN;
CREATE ROLE regress_courier_pii_sun LOGIN;
CREATE ROLE regress_courier_pii_wu LOGIN;
CREATE ROLE regress_courier_pii_print LOGIN;
SELECT pg_catalog.jsonb_object_agg(p, 'regress_courier_pii_p_' || p) AS roles
FROM pg_catalog.unnest('{courier,sorter,service,manager,franchise,entry,client,finance,analyst,dba,security_admin,auditor,regulator,liaison,label}'::text[]) AS p \gset
CREATE SCHEMA regress_post AUTHORIZATION regress_courier_pii_owner;
CREATE SCHEMA regress_pview AUTHORIZATION regress_courier_pii_owner;
SET ROLE regress_courier_pii_owner;
SET search_path = regress_post;
CREATE TABLE waybill (id bigint PRIMARY KEY, waybill_no text, client_id bigint, sender_name text, sender_phone text, recv_name text, recv_phone text, recv_addr text,
	goods courier_pii.item, remark text, origin_branch text, dest_branch text, created_at timestamptz);
CREATE TABLE delivery_task (id bigint PRIMARY KEY, waybill_id bigint, courier_no text, kind text, task_date date, status text, signer courier_pii.person_name);
CREATE TABLE complaint (id bigint PRIMARY KEY, waybill_id bigint, content courier_pii.note, assignee text, status text);
CREATE TABLE entry_batch (id bigint PRIMARY KEY, vendor_role name);
CREATE TABLE entry_row (id bigint PRIMARY KEY, batch_id bigint, name courier_pii.person_name);
CREATE TABLE settlement (id bigint PRIMARY KEY, waybill_id bigint, bank courier_pii.account_no);
CREATE TABLE odd (id bigint PRIMARY KEY, waybill_id date, name courier_pii.person_name);
INSERT INTO waybill SELECT i, 'SF10000000000' || i, i % 2, '张三' || i, '1390000000' || i, '李四五', '1380000000' || i, '广东省深圳市南山区科技路' || i || '号3栋502',
	'手机壳 送给小红', 'call 13700000000', 'R1', CASE WHEN i < 4 THEN 'R1-S1' ELSE 'R2' END, '2026-03-04 05:06+00' FROM generate_series(1, 6) AS i;
INSERT INTO delivery_task VALUES (1, 1, 'K1', 'deliver', current_date, 'open', '王六'), (2, 2, 'K1', 'pickup', current_date, 'open', '王六'),
	(3, 3, 'K1', 'deliver', current_date + 1, 'open', '王六'), (4, 4, 'K1', 'deliver', current_date, 'done', '王六'), (5, 5, 'K2', 'deliver', current_date, 'open', '王六');
INSERT INTO complaint VALUES (1, 1, 'lost', 'S1', 'open'), (2, 2, 'late', 'S1', 'closed'), (3, 3, 'wet', 'S2', 'open');
INSERT INTO entry_batch VALUES (1, 'regress_courier_pii_wen'), (2, 'somebody');
INSERT INTO entry_row VALUES (1, 1, '赵七'), (2, 2, '孙八');
INSERT INTO settlement VALUES (1, 1, '6222021234567890123'), (4, 4, '6222021234567890124');
RESET ROLE;
SELECT courier_pii.protect_column('waybill', c, k) FROM (VALUES ('waybill_no', 'waybill_no'), ('sender_name', 'person_name'), ('sender_phone', 'phone'), ('recv_name', 'person_name'),
	('recv_phone', 'phone'), ('recv_addr', 'address'), ('remark', 'note')) AS v (c, k);
SELECT courier_pii.create_masked_view(t::regclass, 'regress_pview', CASE t WHEN 'waybill' THEN '{"created_at": "day"}' ELSE '{}' END::jsonb)
FROM unnest('{waybill,delivery_task,complaint,entry_row,settlement,odd}'::text[]) AS t;
SELECT courier_pii.add_org('R1', 'region one', 'region'), courier_pii.add_org('R1-S1', 'station', 'station', 'R1'), courier_pii.add_org('R2', 'region two', 'region');

-- refused
SELECT courier_pii.load_starter_policy('{"pilot": "x"}');
SELECT courier_pii.load_starter_policy('{"courier": 7}');
SELECT courier_pii.load_starter_policy('[]');
SELECT courier_pii.load_starter_policy('{"courier": "pii_sorter"}');
SELECT courier_pii.load_starter_policy(NULL);
\set VERBOSITY sqlstate
SELECT courier_pii.load_starter_policy(pg_catalog.jsonb_build_object('courier', :'superuser'));
\set VERBOSITY default
SELECT courier_pii.load_starter_policy(tables => '{regress_pview.waybill}');
SET ROLE regress_courier_pii_owner;
SELECT courier_pii.load_starter_policy();
RESET ROLE;

-- a table of somebody else that looks like the couriers' tasks, and comes first by name, is none
CREATE TABLE regress_post.a_task (id bigint PRIMARY KEY, waybill_id bigint, courier_no text, kind text, task_date date, status text);
ALTER TABLE regress_post.a_task OWNER TO regress_courier_pii_wu;
GRANT SELECT ON regress_post.a_task TO PUBLIC;

-- a dry run says what would be done, and does nothing
SELECT action, count(*) > 0 AS some FROM courier_pii.load_starter_policy(:'roles', dry_run => true) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname LIKE 'regress\_courier\_pii\_p\_%';
SELECT count(*) FROM courier_pii.row_rules WHERE tbl = 'waybill'::regclass;

-- what the company decided itself stays
CREATE ROLE regress_courier_pii_p_manager;
SELECT courier_pii.grant_disclosure('regress_courier_pii_p_manager', 'phone', 'hidden');
SELECT action, object, detail FROM courier_pii.load_starter_policy(:'roles') WHERE object = 'phone' AND grantee = 'regress_courier_pii_p_manager' OR action = 'skipped';
SELECT action, count(*) > 0 AS some FROM courier_pii.load_starter_policy(:'roles') GROUP BY 1 ORDER BY 1;
SELECT courier_pii.grant_disclosure('regress_courier_pii_p_manager', 'phone', 'masked');

-- the matrix
SELECT pg_catalog.substr(d.grantee::text, 23) AS post, d.class, d.level || CASE WHEN d.searchable THEN '+' ELSE '' END AS level
FROM courier_pii.disclosures d WHERE d.grantee::text LIKE 'regress\_courier\_pii\_p\_%' ORDER BY d.grantee::text COLLATE "C", d.class COLLATE "C"
\crosstabview post class level
SELECT pg_catalog.substr(grantee::text, 23) AS post, rule, visible, scope, scope_columns FROM courier_pii.row_rules WHERE tbl = 'waybill'::regclass ORDER BY grantee::text COLLATE "C", rule;

-- people in their posts
GRANT regress_courier_pii_p_courier TO regress_courier_pii_li, regress_courier_pii_wang;
GRANT regress_courier_pii_p_service TO regress_courier_pii_zhao;
GRANT regress_courier_pii_p_manager TO regress_courier_pii_qian;
GRANT regress_courier_pii_p_client TO regress_courier_pii_tao;
GRANT regress_courier_pii_p_entry TO regress_courier_pii_wen;
GRANT regress_courier_pii_p_analyst TO regress_courier_pii_sun;
GRANT regress_courier_pii_p_dba TO regress_courier_pii_wu;
GRANT regress_courier_pii_p_label TO regress_courier_pii_print;
SELECT courier_pii.hire('K1', 'Li', 'regress_courier_pii_li', 'R1-S1', 'courier'), courier_pii.hire('K2', 'Wang', 'regress_courier_pii_wang', 'R2', 'courier'),
	courier_pii.hire('S1', 'Zhao', 'regress_courier_pii_zhao', 'R1', 'service'), courier_pii.hire('M1', 'Qian', 'regress_courier_pii_qian', 'R1', 'manager'),
	courier_pii.hire('T1', 'Tao', 'regress_courier_pii_tao', 'R2', 'client', '{"client": "1"}');
GRANT SELECT ON regress_pview.waybill TO regress_courier_pii_wu;
GRANT USAGE ON SCHEMA regress_pview TO regress_courier_pii_wu;

-- a courier: today's open tasks; the recipient of a delivery, the sender of a pick-up
\c - regress_courier_pii_li
SELECT id, sender_name, sender_phone, recv_name, recv_phone, recv_addr, goods FROM regress_pview.waybill ORDER BY id;
SELECT id, signer FROM regress_pview.delivery_task ORDER BY id;
\c - :superuser
UPDATE regress_post.delivery_task SET task_date = task_date + 1 WHERE id = 1;
UPDATE regress_post.delivery_task SET courier_no = 'K2' WHERE id = 2;
\c - regress_courier_pii_li
SELECT id, recv_name FROM regress_pview.waybill ORDER BY id;
\c - regress_courier_pii_wang
SELECT id, sender_name, recv_name FROM regress_pview.waybill ORDER BY id;
-- service: masked, clear for an open complaint of one's own; finds by phone
\c - regress_courier_pii_zhao
SELECT id, sender_name, recv_name, recv_phone, remark FROM regress_pview.waybill ORDER BY id;
SELECT id FROM regress_pview.waybill WHERE recv_phone = '13800000005';
SELECT id FROM regress_pview.waybill WHERE recv_name = '李四五';
-- manager: the own branch and below, masked
\c - regress_courier_pii_qian
SELECT id, waybill_no, recv_name, recv_phone, goods, created_at FROM regress_pview.waybill WHERE dest_branch LIKE 'R1%' ORDER BY id LIMIT 1;
SELECT count(*) FROM regress_pview.settlement;
-- client, data entry, analyst, database administrator, label printer
\c - regress_courier_pii_tao
SELECT pg_catalog.array_agg(id ORDER BY id) FROM regress_pview.waybill;
\c - regress_courier_pii_wen
SELECT * FROM regress_pview.entry_row;
\c - regress_courier_pii_sun
SELECT count(*), count(DISTINCT recv_name) AS names, bool_and(recv_name ~ '^~') AS tokens FROM regress_pview.waybill;
\c - regress_courier_pii_wu
SELECT count(*) FROM regress_pview.waybill;
\c - regress_courier_pii_print
SELECT waybill_no, recv_name, recv_phone, recv_addr FROM regress_pview.waybill WHERE id = 1;

\c - :superuser
SET client_min_messages = warning;
SELECT count(courier_pii.depart(s)) FROM unnest('{K1,K2,S1,M1,T1}'::text[]) AS s;
SELECT count(courier_pii.revoke_disclosure(grantee, class)) > 0 AS revoked FROM courier_pii.disclosures WHERE grantee::text LIKE 'regress\_courier\_pii\_p\_%';
SELECT count(courier_pii.drop_row_rule(tbl, grantee, rule)) > 0 AS dropped FROM courier_pii.row_rules WHERE grantee::text LIKE 'regress\_courier\_pii\_p\_%';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/' test/lib/empty.psql
\i :empty
DROP SCHEMA regress_post, regress_pview CASCADE;
SELECT pg_catalog.format('DROP OWNED BY %1$I; DROP ROLE %1$I', rolname) FROM pg_catalog.pg_roles WHERE rolname LIKE 'regress\_courier\_pii\_p\_%' ORDER BY rolname \gexec
DROP OWNED BY regress_courier_pii_owner, regress_courier_pii_wu;
DROP ROLE regress_courier_pii_owner, regress_courier_pii_wen, regress_courier_pii_sun, regress_courier_pii_wu, regress_courier_pii_print;
