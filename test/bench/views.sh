# views.sh: what masked views cost applications.  Read by run.sh, which has made
# the servers, the tables and the functions; all lines begin with "views".
# Quotes inside here-documents and lists of options are meant:
# shellcheck shell=sh disable=SC2016,SC2086,SC2154

case $only in
	'*' | *views*)
		# tasks of couriers, a table to write, and a view whose rule is a join
		sql 6001 <<SQL >/dev/null
SET client_min_messages = warning;
CREATE TABLE plain.task AS SELECT i AS parcel_id, 'K' || i % 2000 AS courier FROM generate_series(1, 200000) AS i;
ALTER TABLE plain.task ADD PRIMARY KEY (parcel_id);
CREATE INDEX ON plain.task (courier);
CREATE TABLE plain.work AS SELECT id, phone, 0 AS state FROM plain.parcel WHERE id <= 20000;
ALTER TABLE plain.work ADD PRIMARY KEY (id);
CREATE TABLE kept.work AS TABLE plain.work;
ALTER TABLE kept.work ADD PRIMARY KEY (id);
SELECT courier_pii.protect_column('kept.work', 'phone', 'phone');
CREATE TABLE kept.ruled AS SELECT id, phone FROM plain.parcel;
ALTER TABLE kept.ruled ADD PRIMARY KEY (id);
SELECT courier_pii.protect_column('kept.ruled', 'phone', 'phone');
SELECT courier_pii.create_masked_view('kept.work'), courier_pii.create_masked_view('kept.ruled');
SELECT courier_pii.set_row_rule('kept.ruled', 'reader', 'own', visible => '{"id in plain.task.parcel_id where courier = ''K7''"}');
SELECT courier_pii.set_row_rule('kept.ruled', 'outsider', 'all');
GRANT SELECT, UPDATE ON plain.work, masked.work TO reader;
GRANT SELECT ON plain.task, masked.ruled TO reader;
VACUUM ANALYZE plain.task;
VACUUM ANALYZE plain.work;
VACUUM ANALYZE kept.work;
VACUUM ANALYZE kept.ruled;
SQL
		;;
esac

for schema in plain masked; do
	printf '\\set i random(1, 200000)\nSELECT phone FROM %s.parcel WHERE id = :i;\n' \
		$schema | write views_point_$schema
	printf '\\set i random(1, 200000)\nSELECT t.courier, p.phone FROM plain.task t JOIN %s.parcel p ON p.id = t.parcel_id WHERE t.parcel_id = :i;\n' \
		$schema | write views_join_$schema
	printf '\\set i random(1, 199000)\nSELECT id, phone FROM %s.parcel WHERE id >= :i ORDER BY id LIMIT 20;\n' \
		$schema | write views_limit_$schema
	printf '\\set i random(1, 20000)\nUPDATE %s.work SET state = state + 1 WHERE id = :i;\n' \
		$schema | write views_update_$schema
done
echo 'SELECT id, phone FROM masked.ruled;' | write views_rule_view
echo "SELECT id, phone FROM plain.parcel WHERE id IN (SELECT parcel_id FROM plain.task WHERE courier = 'K7');" | write views_rule_plain

pair 'views: one value by key, prepared: view | plain' 0.87 1 'views_point_masked 6001 reader' 'views_point_plain 6001 reader' $timed -M prepared
pair 'views: one mask by key, prepared: view | plain' 0.87 1 'views_point_masked 6001 outsider' 'views_point_plain 6001 reader' $timed -M prepared
pair 'views: one value by key, planned: view | plain' - 1 'views_point_masked 6001 reader' 'views_point_plain 6001 reader' $timed
pair 'views: join by key, prepared: view | plain' - 1 'views_join_masked 6001 reader' 'views_join_plain 6001 reader' $timed -M prepared
pair 'views: 20 rows in order: view | plain' - 1 'views_limit_masked 6001 reader' 'views_limit_plain 6001 reader' $timed -M prepared
pair 'views: list of 100 rows, masked: view | plain' 0.67 1 'list_masked 6001 outsider' 'list_plain 6001 reader' $timed -M prepared
pair 'views: row rule of 100 rows | written by hand' - 1 'views_rule_view 6001 reader' 'views_rule_plain 6001 reader' $timed -M prepared
pair 'views: update by key: view | table' - 1 'views_update_masked 6001 reader' 'views_update_plain 6001 reader' $timed -M prepared
