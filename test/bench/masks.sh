# masks.sh: what masks cost; read by run.sh, whose functions and tables it uses.
# shellcheck shell=sh disable=SC2086,SC2154

# rows to the client, three of the five columns masked
echo 'SELECT id, phone, name, addr FROM plain.parcel;' | write rows3_plain
echo 'SELECT id, phone, name, addr FROM masked.parcel;' | write rows3_masked
# one of ten pages, read again and again: masks that the session remembers
for schema in plain masked; do
	printf '\\set i random(1, 10) * 100\nSELECT id, phone, name, addr FROM %s.parcel WHERE id BETWEEN :i AND :i + 99;\n' \
		$schema | write page_$schema
done

pair 'masks: list of 100 rows, any | plain' 0.667 1 'list_masked 6001 outsider' 'list_plain 6001 reader' $timed -M prepared
pair 'masks: list of 100 rows, read again | plain' 0.667 1 'page_masked 6001 outsider' 'page_plain 6001 reader' $timed -M prepared
pair 'masks: 200 000 rows to the client, phone | plain' 0.5 1 'rows_view 6001 outsider' 'rows_plain 6001 reader' $bulk
pair 'masks: 200 000 rows, phone, name, address | plain' 0.5 1 'rows3_masked 6001 outsider' 'rows3_plain 6001 reader' $bulk
