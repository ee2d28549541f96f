#!/bin/sh
#
# encryption.sh: what sealing, opening and searching cost; read by run.sh,
# whose servers, tables and functions it uses.
#
# Quotes inside here-documents are meant:
# shellcheck disable=SC2016,SC2154

say ''
say '==> encryption'

# aim NAME VALUE RELATION AIM: a ratio that must be "<=" or ">=" its aim
aim() {
	if awk -v v="$2" -v a="$4" -v r="$3" 'BEGIN { exit !(r == "<=" ? v <= a : v >= a) }'; then
		verdict=met
	else
		verdict=missed
		missed=$((missed + 1))
	fi
	printf '%-52s %7.2f %2s %-6s %s\n' "$1" "$2" "$3" "$4" "$verdict"
}

# expression EXPRESSION NAME=VALUE ...: a number worked out
expression() {
	formula=$1
	shift
	for assignment; do echo "$assignment"; done |
		awk -F = "{ v[\$1] = \$2 } END { s = v[\"s\"]; f = v[\"f\"]; r = v[\"r\"]; d = v[\"d\"]; p = v[\"p\"]; a = v[\"a\"]; b = v[\"b\"]; print $formula }"
}

# ---- opening: the door against the executor's floor and OpenSSL by itself -----

# nanoseconds of one AES-256-GCM decryption as the manual of OpenSSL shows it
cat >"$BENCH/raw.c" <<'C'
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>
int main(void)
{
	unsigned char key[32] = {1}, iv[12] = {2}, aad[54] = {3}, in[11] = {4}, out[64], sealed[64], tag[16];
	EVP_CIPHER_CTX *enc = EVP_CIPHER_CTX_new(), *dec = EVP_CIPHER_CTX_new();
	EVP_CIPHER *aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	struct timespec a, b;
	int len, n = 1000000;
	EVP_EncryptInit_ex2(enc, aes, key, iv, NULL);
	EVP_EncryptUpdate(enc, NULL, &len, aad, sizeof(aad));
	EVP_EncryptUpdate(enc, sealed, &len, in, sizeof(in));
	EVP_EncryptFinal_ex(enc, out, &len);
	EVP_CIPHER_CTX_ctrl(enc, EVP_CTRL_AEAD_GET_TAG, 16, tag);
	EVP_DecryptInit_ex2(dec, aes, key, NULL, NULL);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < n; i++)
	{
		if (EVP_DecryptInit_ex2(dec, NULL, NULL, iv, NULL) != 1 ||
			EVP_DecryptUpdate(dec, NULL, &len, aad, sizeof(aad)) != 1 ||
			EVP_DecryptUpdate(dec, out, &len, sealed, sizeof(in)) != 1 ||
			EVP_CIPHER_CTX_ctrl(dec, EVP_CTRL_AEAD_SET_TAG, 16, tag) != 1 ||
			EVP_DecryptFinal_ex(dec, out, &len) != 1)
			return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.1f\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / n);
	return 0;
}
C
cc -O2 -o "$BENCH/raw" "$BENCH/raw.c" -lcrypto || fail 'cc: no raw measurement'
echo 'SELECT sum(octet_length(courier_pii.show(phone))) FROM kept.parcel;' | write open_show
echo 'SELECT sum(octet_length(courier_pii.sealed_send(phone))) FROM kept.parcel;' | write open_floor
echo "SELECT sum(octet_length(decrypt(phone, '\\x$key', 'aes'))) FROM plain.encrypted;" | write open_decrypt
echo "SELECT sum(octet_length(pgp_sym_decrypt(phone, '$key'))) FROM plain.pgp;" | write open_pgp
for name in show floor decrypt raw; do : >"$BENCH/ns_$name"; done
round=0
while [ "$round" -lt "$rounds" ]; do
	for name in show floor decrypt; do
		tps=$(one open_$name 6001 reader 1 -t 2)
		awk -v t="$tps" 'BEGIN { print 1e9 / t / 200000 }' >>"$BENCH/ns_$name"
	done
	"$BENCH/raw" >>"$BENCH/ns_raw"
	round=$((round + 1))
done
tps=$(one open_pgp 6001 reader 1 -t 1)
ns_pgp=$(awk -v t="$tps" 'BEGIN { print 1e9 / t / 1000 }')
ns_show=$(median <"$BENCH/ns_show")
ns_floor=$(median <"$BENCH/ns_floor")
ns_decrypt=$(median <"$BENCH/ns_decrypt")
ns_raw=$(median <"$BENCH/ns_raw")
say "nanoseconds a phone: show() $ns_show, executor floor $ns_floor, OpenSSL $ns_raw, pgcrypto decrypt $ns_decrypt, pgp_sym_decrypt $ns_pgp"
aim 'show() / (floor + OpenSSL)' "$(expression 's / (f + r)' s="$ns_show" f="$ns_floor" r="$ns_raw")" '<=' 1.5
aim 'decrypt / show(), both without the floor' "$(expression '(d - f) / (s - f)' s="$ns_show" f="$ns_floor" d="$ns_decrypt")" '>=' 4
aim 'pgp_sym_decrypt / show()' "$(expression 'p / s' s="$ns_show" p="$ns_pgp")" '>=' 15

# ---- sealing by COPY into an unindexed table ---------------------------------

# a table of a number and a phone, the narrowest that there is, and the parcel
# with a name, an address and a time, of which one or three columns are sealed
sql 6001 -c "COPY (SELECT id, phone FROM plain.parcel) TO '$BENCH/copy.txt'"
sql 6001 -c "COPY plain.parcel TO '$BENCH/wide.txt'"
copied() {	# NAME FILE COLUMNS
	printf "BEGIN;\nCREATE TABLE loaded (%s);\nCOPY loaded FROM '%s';\nROLLBACK;\n" \
		"$3" "$BENCH/$2" | write "$1"
}
copied copy_text copy.txt 'id int, phone text'
copied copy_phone copy.txt 'id int, phone courier_pii.phone'
copied copy_wide wide.txt 'id int, phone text, name text, addr text, at timestamptz'
copied copy_wide_1 wide.txt 'id int, phone courier_pii.phone, name text, addr text, at timestamptz'
copied copy_wide_3 wide.txt 'id int, phone courier_pii.phone, name courier_pii.person_name, addr courier_pii.address, at timestamptz'
pair 'COPY of 200 000 phones: sealed | plain' 0.5 1 'copy_phone 6001 postgres' 'copy_text 6001 postgres' -t 2
pair 'COPY of 200 000 parcels: phone sealed | plain' 0.5 1 'copy_wide_1 6001 postgres' 'copy_wide 6001 postgres' -t 2
pair 'COPY of 200 000 parcels: 3 of 5 sealed | plain' 0.5 1 'copy_wide_3 6001 postgres' 'copy_wide 6001 postgres' -t 2

# ---- equality at 2 000 000 rows ---------------------------------------------------

if [ "$short" != 1 ]; then
	pair 'equality, 2 000 000 rows: sealed table | plain' 0.66 1 'find_kept_big 6001 reader' 'find_plain_big 6001 reader' -M prepared -T "$seconds"
	pair 'equality, 2 000 000 rows: masked view | plain' 0.66 1 'find_masked_big 6001 reader' 'find_plain_big 6001 reader' -M prepared -T "$seconds"
	pair 'equality, literal, 2 000 000 rows: view | plain' 0.66 1 'literal_masked_big 6001 reader' 'literal_plain_big 6001 reader' -T "$seconds"
fi

# ---- the last four characters -------------------------------------------------

# tails SIZE ROWS: on the table and through the masked view, against right(phone, 4)
tails() {
	sql 6001 <<SQL >/dev/null
CREATE INDEX ${1}_tail ON kept.$1 (courier_pii.tail4(phone));
CREATE INDEX ${1}_right ON plain.$1 ("right"(phone, 4));
VACUUM ANALYZE kept.$1;
VACUUM ANALYZE plain.$1;
SQL
	for schema in kept masked; do
		printf "\\\\set p random(1000, 9999)\nSELECT count(id) FROM %s.%s WHERE courier_pii.tail4(phone) = courier_pii.tail4_of('phone', :p);\n" \
			$schema "$1" | write "tail_${schema}_$1"
	done
	printf "\\\\set p random(1000, 9999)\nSELECT count(id) FROM plain.%s WHERE \"right\"(phone, 4) = :p;\n" "$1" | write "tail_plain_$1"
	pair "last four characters, $2 rows: sealed table | plain" 0.66 1 "tail_kept_$1 6001 reader" "tail_plain_$1 6001 reader" -M prepared -T "$seconds"
	pair "last four characters, $2 rows: masked view | plain" 0.66 1 "tail_masked_$1 6001 reader" "tail_plain_$1 6001 reader" -M prepared -T "$seconds"
}
tails parcel '200 000'
[ "$short" = 1 ] || tails big '2 000 000'

# ---- storage --------------------------------------------------------------------

sql 6001 -c 'CREATE INDEX parcel_btree ON kept.parcel USING btree (phone)'
sql 6001 -F ' ' -c "SELECT 'bytes of a phone: plain ' || (SELECT avg(pg_column_size(phone))::numeric(6,1) FROM plain.parcel)
	|| ', sealed ' || (SELECT avg(pg_column_size(phone))::numeric(6,1) FROM kept.parcel)
	|| ', pgcrypto encrypt ' || (SELECT avg(pg_column_size(phone))::numeric(6,1) FROM plain.encrypted)
	|| ', pgp_sym_encrypt ' || (SELECT avg(pg_column_size(phone))::numeric(6,1) FROM plain.pgp)
	|| ', pgsodium (its layout: tag 32, nonce 16, key id 16) ' || 11 + 32 + 16 + 16"
sql 6001 -c "SELECT 'bytes of an index entry: plain ' || (pg_relation_size('plain.parcel_phone_idx') / 200000.0)::numeric(6,1)
	|| ', sealed (tags) ' || (pg_relation_size('kept.parcel_phone_idx') / 200000.0)::numeric(6,1)
	|| ', sealed (btree) ' || (pg_relation_size('kept.parcel_btree') / 200000.0)::numeric(6,1)
	|| ', sealed tail ' || (pg_relation_size('kept.parcel_tail') / 200000.0)::numeric(6,1)"
aim 'size of the index: sealed | plain, 200 000 rows' "$(sql 6001 -c "SELECT pg_relation_size('kept.parcel_phone_idx')::numeric / pg_relation_size('plain.parcel_phone_idx')")" '<=' 1.3
if [ "$short" != 1 ]; then
	aim 'size of the index: sealed | plain, 2 000 000 rows' "$(sql 6001 -c "SELECT pg_relation_size('kept.big_phone_idx')::numeric / pg_relation_size('plain.big_phone_idx')")" '<=' 1.3
fi
sql 6001 -c 'DROP INDEX kept.parcel_btree'
# the same numbers again and again, as of people who get many parcels
sql 6001 <<SQL >/dev/null
CREATE TABLE plain.again AS SELECT id, (13800000000 + id % 20000)::text AS phone FROM plain.parcel;
CREATE TABLE kept.again AS SELECT * FROM plain.again;
CREATE INDEX ON plain.again (phone);
CREATE INDEX ON kept.again (phone);
SELECT courier_pii.protect_column('kept.again', 'phone', 'phone');
SQL
aim 'size of the index: each number ten times' "$(sql 6001 -c "SELECT pg_relation_size('kept.again_phone_idx')::numeric / pg_relation_size('plain.again_phone_idx')")" '<=' 1.3

# ---- online protection beside a load -----------------------------------------------

# By turns: updates of a table while the job stands still, and updates of its
# twin while the job works on that one.
rows=$([ "$short" = 1 ] && echo 200000 || echo 2000000)
sql 6001 <<SQL >/dev/null
CREATE TABLE plain.busy AS SELECT i AS id, (13800000000 + i)::text AS phone FROM generate_series(1, $rows) AS i;
ALTER TABLE plain.busy ADD PRIMARY KEY (id);
CREATE INDEX ON plain.busy (phone);
CREATE TABLE plain.idle AS SELECT * FROM plain.busy;
ALTER TABLE plain.idle ADD PRIMARY KEY (id);
CREATE INDEX ON plain.idle (phone);
VACUUM ANALYZE plain.busy;
VACUUM ANALYZE plain.idle;
CHECKPOINT;
ALTER SYSTEM SET courier_pii.online_share = 0;
SELECT pg_reload_conf();
SQL
for table in busy idle; do
	printf '\\set i random(1, %s)\nUPDATE plain.%s SET phone = (13900000000 + :i)::text WHERE id = :i;\n' \
		"$rows" $table | write $table
done
share() {
	sql 6001 -c "ALTER SYSTEM SET courier_pii.online_share = $1" -c 'SELECT pg_reload_conf()' >/dev/null
	sleep 1
}
sql 6001 -c "CALL courier_pii.protect_column_online('plain.busy', 'phone', 'phone')" >"$BENCH/online.log" 2>&1 &
online=$!
sleep 1
# the first update of a page after a checkpoint writes the whole page
one idle 6001 postgres 1 -T "$seconds" >/dev/null
: >"$BENCH/ratio"
round=0
while [ "$round" -lt "$rounds" ]; do
	share 0
	alone=$(one idle 6001 postgres 1 -T "$seconds")
	share 20
	[ -n "$(sql 6001 -c 'SELECT 1 FROM courier_pii.stat_progress_protect')" ] || break
	beside=$(one busy 6001 postgres 1 -T "$seconds")
	expression 'b / a' a="$alone" b="$beside" >>"$BENCH/ratio"
	round=$((round + 1))
done
share 100
wait $online || fail "protect_column_online: $(tail -n 2 "$BENCH/online.log")"
aim "updates of $rows rows while protected online | alone" "$(median <"$BENCH/ratio")" '>=' 0.8
