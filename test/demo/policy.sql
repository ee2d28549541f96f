/*
 * policy.sql: who sees what, as the security administrator writes it down.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

-- 快递员: recipients of today's own open tasks, nothing else
SELECT courier_pii.grant_disclosure('express_courier', class, 'scoped', false)
FROM unnest('{person_name,phone,address,waybill_no,note}'::text[]) AS class;
SELECT courier_pii.set_row_rule('express.waybill', 'express_courier', 'own_delivery',
	visible => '{id in delivery_task.waybill_id where courier_no = actor.staff_no and task_date = today}',
	scope => '{id in delivery_task.waybill_id where courier_no = actor.staff_no and task_date = today}',
	scope_columns => '{waybill_no,recv_name,recv_phone,recv_addr,remark}');

-- 客服: masked, but finds a parcel by phone or waybill number
SELECT courier_pii.grant_disclosure('express_service', 'phone', 'masked', true);
SELECT courier_pii.grant_disclosure('express_service', 'waybill_no', 'clear', true);
SELECT courier_pii.set_row_rule('express.waybill', 'express_service', 'all');

-- 网点经理: the parcels of the own branch and what is below it
SELECT courier_pii.set_row_rule('express.waybill', 'express_manager', 'own_branch',
	visible => '{dest_branch within actor.org}');

-- 分析: pseudonyms that can be counted and joined
SELECT courier_pii.grant_disclosure('express_analyst', class, 'token')
FROM unnest('{person_name,phone,address,unit_name,waybill_no}'::text[]) AS class;
SELECT courier_pii.set_row_rule('express.waybill', 'express_analyst', 'all');

-- 财务: bank accounts
SELECT courier_pii.grant_disclosure('express_finance', 'account_no', 'clear');
