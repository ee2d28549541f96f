/*
 * protect.sql: what a DBA does, once, to put a loaded database under
 * protection.  Nothing of the applications' SQL has to change.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
SET search_path = express;

CREATE EXTENSION courier_pii CASCADE;

-- columns, each with the class of what it holds
SELECT courier_pii.protect_column(tbl::regclass, col, class) FROM (VALUES
	('waybill',			'waybill_no',			'waybill_no'),
	('waybill',			'order_no',				'waybill_no'),
	('waybill',			'sender_name',			'person_name'),
	('waybill',			'sender_phone',			'phone'),
	('waybill',			'sender_unit',			'unit_name'),
	('waybill',			'sender_addr',			'address'),
	('waybill',			'sender_id_doc',		'id_number'),
	('waybill',			'recv_name',			'person_name'),
	('waybill',			'recv_phone',			'phone'),
	('waybill',			'recv_virtual_phone',	'phone'),
	('waybill',			'recv_unit',			'unit_name'),
	('waybill',			'recv_addr',			'address'),
	('waybill',			'recv_snap',			'note'),
	('waybill',			'remark',				'note'),
	('waybill',			'label_blob',			'note'),
	('customer',		'name',					'person_name'),
	('customer',		'mobile',				'phone'),
	('customer',		'id_doc_no',			'id_number'),
	('customer',		'email',				'email'),
	('customer',		'unit_name',			'unit_name'),
	('address_book',	'name',					'person_name'),
	('address_book',	'phone',				'phone'),
	('address_book',	'detail',				'address'),
	('address_book',	'unit_name',			'unit_name'),
	('parcel_item',		'name',					'item'),
	('parcel_item',		'note',					'note'),
	('scan_event',		'waybill_no',			'waybill_no'),
	('scan_event',		'message',				'note'),
	('scan_event',		'raw',					'note'),
	('delivery_task',	'signer',				'note'),
	('delivery_task',	'pickup_code',			'waybill_no'),
	('complaint',		'content',				'note'),
	('complaint',		'contact_phone',		'phone'),
	('cod_settlement',	'payee',				'person_name'),
	('cod_settlement',	'bank_account',			'account_no'),
	('notify_message',	'to_phone',				'phone'),
	('notify_message',	'body',					'note'),
	('entry_row',		'raw',					'note'),
	('"客户回访-记录"',	'联系电话',				'phone'),
	('"客户回访-记录"',	'回访-内容',			'note'))
	AS c (tbl, col, class);
