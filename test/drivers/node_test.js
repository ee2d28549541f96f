// node-postgres on masked views.  Prints TAP; see README.md.
'use strict';

const { Client, Pool } = require('pg');

let count = 0;
let failed = 0;

function ok(good, name) {
	count++;
	if (!good) failed++;
	console.log(`${good ? 'ok' : 'not ok'} ${count} - node-postgres: ${name}`);
}

async function state(client, text, values) {
	try {
		await client.query(text, values);
	} catch (error) {
		return error.code;
	}
	return null;
}

async function main() {
	const db = new Client({ user: 'app' });
	await db.connect();
	let r;

	r = await db.query('SELECT id, phone, address FROM customer WHERE id = $1', [7]);
	ok(r.rows[0].phone === '13800000007' && r.rows[0].address.endsWith('****'), 'read by key');
	ok(r.fields[1].dataTypeID === 25, 'columns are text to the driver');
	r = await db.query('SELECT id FROM customer WHERE phone = $1', ['138-0000-0007']);
	ok(r.rowCount === 1 && r.rows[0].id === '7', 'find by phone');
	r = await db.query('SELECT count(*)::int AS n FROM customer WHERE phone = ANY($1)', [['13800000001', '13800000002']]);
	ok(r.rows[0].n === 2, 'find by a list');
	let good = true;
	for (let i = 1; i <= 12; i++) {
		r = await db.query({ name: 'by-phone', text: 'SELECT id, phone FROM customer WHERE phone = $1', values: [String(13800000000 + i)] });
		good = good && r.rows[0].id === String(i) && r.rows[0].phone === String(13800000000 + i);
	}
	ok(good, 'a named prepared statement, twelve times');
	r = await db.query({ text: 'SELECT id, grade, phone FROM customer WHERE id = $1', values: [7], binary: true });
	ok(r.rows[0].grade === 1 && String(r.rows[0].phone) === '13800000007', 'binary results');
	r = await db.query({ text: 'SELECT p.waybill_no, c.phone FROM parcel p JOIN customer c ON c.id = p.customer_id ORDER BY p.id LIMIT $1', values: [2], rowMode: 'array' });
	ok(r.rows[1][0] === 'SF1000000000002' && r.rows[1][1] === '13800000002', 'join, order, limit, rows as arrays');

	r = await db.query('INSERT INTO customer (name, phone) VALUES ($1, $2) RETURNING *', ['李雷', '13600000001']);
	const id = r.rows[0].id;
	ok(Number(id) > 1000 && r.rows[0].grade === 1 && r.rows[0].created instanceof Date, 'insert returning the row');
	r = await db.query('UPDATE customer SET grade = grade + $1, name = $2 WHERE id = $3 RETURNING grade', [2, '李大雷', id]);
	ok(r.rowCount === 1 && r.rows[0].grade === 3, 'update');
	const back = (await db.query('SELECT * FROM customer WHERE id = $1', [id])).rows[0];
	await db.query('UPDATE customer SET name = $1, phone = $2, address = $3, grade = 4 WHERE id = $4', [back.name, back.phone, back.address, id]);
	r = await db.query('SELECT name, phone, grade FROM customer WHERE id = $1', [id]);
	ok(r.rows[0].name === '李大雷' && r.rows[0].phone === '13600000001' && r.rows[0].grade === 4, 'everything written back');
	ok(await state(db, 'UPDATE customer SET phone = $1 WHERE id = $2', ['136****0001', id]) === 'PI007', 'a mask is refused');
	ok(await state(db, 'INSERT INTO customer (name, phone) VALUES ($1, $2)', ['x', '13600000001']) === '23505', 'unique stays unique');

	await db.query('INSERT INTO customer (name, phone) SELECT * FROM unnest($1::text[], $2::text[])', [['甲', '乙', '丙'], ['13610000001', '13610000002', '13610000003']]);
	r = await db.query('SELECT count(*)::int AS n FROM customer WHERE phone = ANY($1::varchar[])', [['13610000001', '13610000002', '13610000003']]);
	ok(r.rows[0].n === 3, 'many rows from arrays');

	await db.query('BEGIN');
	await db.query('DECLARE c CURSOR FOR SELECT id, phone FROM customer WHERE id <= 30 ORDER BY id');
	const seen = [];
	for (;;) {
		r = await db.query('FETCH 10 FROM c');
		if (r.rowCount === 0) break;
		seen.push(...r.rows.map((row) => row.phone));
	}
	await db.query('ROLLBACK');
	ok(seen.length === 30 && seen[29] === '13800000030', 'cursor in slices');

	r = await db.query("SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'masked' AND table_name = 'customer' ORDER BY ordinal_position");
	ok(r.rows[2].column_name === 'phone' && r.rows[2].data_type === 'text', 'information_schema');
	r = await db.query('DELETE FROM customer WHERE phone = $1', ['13600000001']);
	ok(r.rowCount === 1, 'delete by phone');
	await db.end();

	const pool = new Pool({ user: 'visitor', max: 4 });
	const phones = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((i) => pool.query('SELECT phone FROM customer WHERE id = $1', [i])));
	ok(phones.every((p) => p.rows[0].phone.includes('*')), 'others read masks, through a pool');
	ok(await state(pool, 'SELECT id FROM customer WHERE phone = $1', ['13800000007']) === '42501', 'others may not search');
	await pool.end();
	console.log(`1..${count}`);
	process.exit(failed ? 1 : 0);
}

main().catch((error) => {
	console.log(`not ok ${count + 1} - node-postgres: ${error.message}`);
	process.exit(1);
});
