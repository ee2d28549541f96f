"""psycopg 3 on masked views.  Prints TAP; see README.md."""

import io
import sys

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, class_row

count = 0
failed = 0


def ok(good, name):
    global count, failed
    count += 1
    failed += 0 if good else 1
    print(("ok" if good else "not ok") + " %d - psycopg: %s" % (count, name))


def state(connection, statement, params=None):
    """SQLSTATE of a statement that must fail."""
    try:
        with connection.transaction():
            connection.execute(statement, params)
    except psycopg.Error as error:
        return error.sqlstate
    return None


db = psycopg.connect(user="app", autocommit=True)

# parameters: unknown, typed as text and varchar, binary, in a list
row = db.execute("SELECT id, name, phone, address FROM customer WHERE id = %s", (7,)).fetchone()
ok(row[0] == 7 and row[2] == "13800000007" and row[3].endswith("****"), "read by key")
ok(db.execute("SELECT id FROM customer WHERE phone = %s", ("13800000007",)).fetchone() == (7,), "find by an untyped parameter")
ok(db.execute("SELECT id FROM customer WHERE phone = %s::text", ("13800000007",)).fetchone() == (7,), "find by text")
ok(db.execute("SELECT id FROM customer WHERE phone = %s::varchar(20)", ("138 0000 0007",)).fetchone() == (7,), "find by varchar")
ok(db.execute("SELECT id FROM customer WHERE phone = %b", ("13800000007",)).fetchone() == (7,), "find by a binary parameter")
ok(db.execute("SELECT count(*) FROM customer WHERE phone = ANY(%s)", (["13800000001", "13800000002", "none"],)).fetchone() == (2,), "find by a list")
ok(db.execute("SELECT count(*) FROM customer WHERE phone IN (%s, %s)", ("13800000001", "13800000003")).fetchone() == (2,), "find by IN")
ok(db.execute("SELECT count(*) FROM customer WHERE phone = %s", (None,)).fetchone() == (0,), "nothing equals null")

# prepared, also when the plan becomes a generic one; rows in binary form
good = True
for i in range(1, 13):
    found = db.execute("SELECT id, phone, created FROM customer WHERE phone = %s", (str(13800000000 + i),), prepare=True, binary=True).fetchone()
    good = good and found[0] == i and found[1] == str(13800000000 + i) and found[2].year == 2026
ok(good, "prepared twelve times, binary results")

# order, limit, join, rows as dictionaries
cursor = db.cursor(row_factory=dict_row)
rows = cursor.execute("SELECT p.id, p.waybill_no, c.phone FROM parcel p JOIN customer c ON c.id = p.customer_id "
                      "WHERE p.id BETWEEN %s AND %s ORDER BY p.id DESC LIMIT %s", (5, 50, 3)).fetchall()
ok([r["id"] for r in rows] == [50, 49, 48] and rows[0]["phone"] == "13800000050" and rows[0]["waybill_no"] == "SF1000000000050", "join, order and limit")

# insert, update, delete, RETURNING
new = db.execute("INSERT INTO customer (name, phone, address) VALUES (%s, %s, %s) RETURNING id, grade, created",
                 ("李雷", "13900000001", "浙江省杭州市西湖区文三路99号")).fetchone()
ok(new[0] > 1000 and new[1] == 1 and new[2].year == 2026, "insert returns keys and defaults")
changed = db.execute("UPDATE customer SET grade = grade + 1, name = %s WHERE id = %s AND version = %s RETURNING grade", ("李大雷", new[0], 1))
ok(changed.fetchone() == (2,) and changed.rowcount == 1, "update with a version column")
ok(db.execute("UPDATE customer SET grade = 9 WHERE id = %s AND version = %s", (new[0], 99)).rowcount == 0, "a stale version changes nothing")
read = db.execute("SELECT name, phone, address FROM customer WHERE id = %s", (new[0],)).fetchone()
ok(read[0] == "李大雷", "the new name is stored")
db.execute("UPDATE customer SET name = %s, phone = %s, address = %s, grade = 5 WHERE id = %s", read + (new[0],))
ok(db.execute("SELECT grade, phone FROM customer WHERE id = %s", (new[0],)).fetchone() == (5, "13900000001"), "what was read and comes back stays")
ok(state(db, "UPDATE customer SET phone = %s WHERE id = %s", ("139****0001", new[0])) == "PI007", "a mask is refused")
ok(state(db, "INSERT INTO customer (name, phone) VALUES (%s, %s)", ("韩梅", "13900000001")) == "23505", "unique stays unique")
ok(state(db, "INSERT INTO customer (phone) VALUES (%s)", ("13900000002",)) == "23502", "not null stays not null")

# many rows at once
with db.transaction():
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO customer (name, phone) VALUES (%s, %s) RETURNING id",
                           [("批量", str(13910000000 + i)) for i in range(50)], returning=True)
        ids = [cursor.fetchone()[0]]
        while cursor.nextset():
            ids.append(cursor.fetchone()[0])
ok(len(set(ids)) == 50, "executemany with RETURNING")
with db.pipeline():
    results = [db.execute("SELECT phone FROM customer WHERE id = %s", (i,)) for i in ids[:20]]
ok([r.fetchone()[0] for r in results] == [str(13910000000 + i) for i in range(20)], "twenty statements in a pipeline")

# COPY both ways
with db.cursor().copy("COPY customer (name, phone, grade) FROM STDIN") as copy:
    for i in range(30):
        copy.write_row(("复制", str(13920000000 + i), i))
ok(db.execute("SELECT count(*), max(grade) FROM customer WHERE phone = ANY(%s)", ([str(13920000000 + i) for i in range(30)],)).fetchone() == (30, 29), "COPY FROM")
with db.cursor().copy("COPY (SELECT id, phone, address FROM customer WHERE id <= 3 ORDER BY id) TO STDOUT") as copy:
    copied = list(copy.rows())
ok([r[1] for r in copied] == ["13800000001", "13800000002", "13800000003"], "COPY of a query")
with db.cursor().copy("COPY customer (id, grade) TO STDOUT WITH (FORMAT binary)") as copy:
    copy.set_types(["int8", "int4"])
    ok(len(list(copy.rows())) >= 280, "binary COPY of the view")

# a cursor of the server
with db.transaction():
    with db.cursor(name="c") as cursor:
        cursor.itersize = 20
        cursor.execute("SELECT id, phone FROM customer WHERE id <= %s ORDER BY id", (60,))
        listed = [(i, p) for i, p in cursor]
ok(listed == [(i, str(13800000000 + i)) for i in range(1, 61)], "server-side cursor in slices")

# a transaction that ends badly leaves nothing
try:
    with db.transaction():
        db.execute("DELETE FROM customer WHERE id = %s", (new[0],))
        raise RuntimeError
except RuntimeError:
    pass
ok(db.execute("SELECT count(*) FROM customer WHERE id = %s", (new[0],)).fetchone() == (1,), "rollback")
ok(db.execute("DELETE FROM customer WHERE phone = %s RETURNING id", ("13900000001",)).fetchone() == (new[0],), "delete by phone")

# what the catalogs say
columns = db.execute("SELECT column_name, data_type, is_updatable FROM information_schema.columns "
                     "WHERE table_schema = 'masked' AND table_name = 'customer' ORDER BY ordinal_position").fetchall()
ok([c[:2] for c in columns][:4] == [("id", "bigint"), ("name", "text"), ("phone", "text"), ("address", "text")], "information_schema")
description = db.execute("SELECT * FROM customer LIMIT 0").description
ok([d.name for d in description] == ["id", "name", "phone", "address", "grade", "created", "version"] and description[2].type_code == 25, "columns are text to the driver")

# another person, same statements
with psycopg.connect(user="visitor", autocommit=True) as other:
    ok("*" in other.execute("SELECT phone FROM customer WHERE id = %s", (7,)).fetchone()[0], "others read masks")
    ok(state(other, "SELECT id FROM customer WHERE phone = %s", ("13800000007",)) == "42501", "others may not search")
    ok(state(other, "UPDATE customer SET grade = 2 WHERE id = 7") == "42501", "others may not write")

print("1..%d" % count)
sys.exit(1 if failed else 0)
