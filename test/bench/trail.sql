-- A long audit trail, made without the library: :rows rows of :months months
-- and 20 000 persons, written past spool and chain.  The index of subject tags
-- is left out; the queries that are measured do not use it.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET maintenance_work_mem = '512MB';
DROP INDEX courier_pii.audit_record_subject_idx;
SELECT format($f$
	CREATE TABLE courier_pii.%1$I (LIKE courier_pii.audit_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
	INSERT INTO courier_pii.%1$I
		SELECT 'bench', %4$s::bigint * %5$s + i, %2$L::timestamptz + i * (%3$L::timestamptz - %2$L::timestamptz) / (%5$s + 1),
			'SINGLE', 'READ', 'ok', NULL, 'courier_' || p, 'courier_' || p, 'courier_' || p, 'K' || p, 'login',
			'10.2.3.4', 40000 + i %% 20000, 'app', 4711, %2$L, 'delivery', NULL, 'SELECT',
			'{masked.shipment,app.shipment}', '{phone,person_name}', 1, 1, 2, 0, 0, 123456789,
			'SELECT recv_name, recv_phone FROM masked.shipment WHERE id = ?', '250 us',
			'{"shown": ["0123456789abcdef", "fedcba9876543210"]}', '\x00', '\x00', 1, 1
		FROM (SELECT i, i::bigint * 7919 %% 20000 AS p FROM generate_series(1, %5$s) AS i OFFSET 0) AS s;
	ALTER TABLE courier_pii.%1$I ADD PRIMARY KEY (node, seq, at);
	CREATE INDEX ON courier_pii.%1$I (staff_no, at);
	CREATE INDEX ON courier_pii.%1$I USING brin (at);
	ALTER TABLE courier_pii.%1$I ADD CHECK (at >= %2$L AND at < %3$L);
	ALTER TABLE courier_pii.audit_record ATTACH PARTITION courier_pii.%1$I FOR VALUES FROM (%2$L) TO (%3$L);
	ANALYZE courier_pii.%1$I;
	$f$, 'bench_trail_' || m, b, b + interval '1 month', m, :rows / :months)
FROM generate_series(1, :months) AS m,
	LATERAL (SELECT date_trunc('month', now(), 'UTC') - m * interval '1 month' AS b) AS l
\gexec
VACUUM courier_pii.audit_record;
