// People behind one login, with node-postgres.  See README.md.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const { Pool } = require('pg');

const query = process.env.ACTOR_QUERY ||
	'SELECT id, recv_name, recv_phone FROM masked.waybill ORDER BY id LIMIT 3';
const key = crypto.createPrivateKey(fs.readFileSync(process.env.ACTOR_KEY_FILE));

// a token that is good for one transaction within a minute (EdDSA)
function makeToken(staffNo, audience) {
	const now = Math.floor(Date.now() / 1000);
	const header = { alg: 'EdDSA', typ: 'JWT', kid: process.env.ACTOR_KEY_ID };
	const claims = {
		sub: staffNo, aud: audience, iat: now, exp: now + 60,
		jti: crypto.randomBytes(16).toString('base64url'),
	};
	const signed = [header, claims]
		.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
	return `${signed}.${crypto.sign(null, Buffer.from(signed), key).toString('base64url')}`;
}

// run work(client) in a transaction of that person
async function asPerson(pool, staffNo, audience, work) {
	const client = await pool.connect();
	try {
		await client.query('BEGIN');
		await client.query('SELECT courier_pii.set_actor($1)', [makeToken(staffNo, audience)]);
		const result = await work(client);
		await client.query('COMMIT');
		return result;
	} catch (error) {
		await client.query('ROLLBACK');
		throw error;
	} finally {
		client.release();
	}
}

async function main() {
	const pool = new Pool({ max: 1 });
	const { rows } = await pool.query('SELECT courier_pii.actor_audience() AS audience');
	for (const staffNo of process.argv.slice(2)) {
		const result = await asPerson(pool, staffNo, rows[0].audience,
			(client) => client.query({ text: query, rowMode: 'array' }));
		for (const row of result.rows) console.log(staffNo, ...row);
	}
	await pool.end();
}

main().catch((error) => {
	console.error(error.message);
	process.exitCode = 1;
});
