// JDBC on masked views.  Prints TAP; see README.md.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class JdbcTest {
    static int count = 0;
    static int failed = 0;

    static void ok(boolean good, String name) {
        count++;
        if (!good)
            failed++;
        System.out.println((good ? "ok " : "not ok ") + count + " - JDBC: " + name);
    }

    interface Action {
        void run() throws SQLException;
    }

    static String state(Action action) {
        try {
            action.run();
        } catch (SQLException e) {
            return e.getSQLState();
        }
        return null;
    }

    static Connection connect(String user, String options) throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/express?user=" + user + options);
    }

    static long one(Connection db, String sql) throws SQLException {
        try (Statement s = db.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getLong(1);
        }
    }

    // as most applications have it, with the driver's choice of types
    static void crud(Connection db, String mode, String phone) throws SQLException {
        long id;
        try (PreparedStatement s = db.prepareStatement("INSERT INTO customer (name, phone, address) VALUES (?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            s.setString(1, "李雷");
            s.setString(2, phone);
            s.setNull(3, Types.VARCHAR);
            ok(s.executeUpdate() == 1, mode + "insert");
            try (ResultSet keys = s.getGeneratedKeys()) {
                keys.next();
                id = keys.getLong("id");
                ok(id > 1000 && keys.getInt("grade") == 1, mode + "generated keys");
            }
        }
        try (PreparedStatement s = db.prepareStatement("UPDATE customer SET grade = grade + ?, created = ? WHERE id = ? AND version = ?")) {
            s.setInt(1, 2);
            s.setTimestamp(2, java.sql.Timestamp.valueOf("2026-02-03 04:05:06"));
            s.setLong(3, id);
            s.setInt(4, 1);
            ok(s.executeUpdate() == 1, mode + "update");
        }
        boolean good = true;
        try (PreparedStatement s = db.prepareStatement("SELECT id, phone, created FROM customer WHERE phone = ?")) {
            for (int i = 1; i <= 12; i++) {
                s.setString(1, String.valueOf(13800000000L + i));
                try (ResultSet r = s.executeQuery()) {
                    good &= r.next() && r.getLong(1) == i && r.getString(2).equals(String.valueOf(13800000000L + i)) && r.getTimestamp(3) != null;
                }
            }
        }
        ok(good, mode + "find by phone, twelve times");
        try (PreparedStatement s = db.prepareStatement("UPDATE customer SET name = ?, phone = ?, address = ? WHERE id = ?");
                PreparedStatement q = db.prepareStatement("SELECT name, phone, address FROM customer WHERE id = ?")) {
            q.setLong(1, 9);
            try (ResultSet r = q.executeQuery()) {
                r.next();
                String address = r.getString(3);
                s.setString(1, r.getString(1));
                s.setString(2, r.getString(2));
                s.setString(3, address);
                s.setLong(4, 9);
                ok(s.executeUpdate() == 1 && address.endsWith("****"), mode + "everything written back");
            }
        }
        ok(one(db, "SELECT id FROM customer WHERE phone = '13800000009'") == 9, mode + "and nothing was lost");
        String code = state(() -> {
            try (PreparedStatement s = db.prepareStatement("UPDATE customer SET phone = ? WHERE id = ?")) {
                s.setString(1, "138****0009");
                s.setLong(2, 9);
                s.executeUpdate();
            }
        });
        ok("PI007".equals(code), mode + "a mask is refused");
        try (PreparedStatement s = db.prepareStatement("DELETE FROM customer WHERE phone = ?")) {
            s.setString(1, phone);
            ok(s.executeUpdate() == 1, mode + "delete by phone");
        }
    }

    public static void main(String[] args) throws Exception {
        try (Connection db = connect("app", "")) {
            crud(db, "", "13500000001");
            // a list, and the value as varchar array
            try (PreparedStatement s = db.prepareStatement("SELECT count(*) FROM customer WHERE phone = ANY (?)")) {
                for (String type : new String[] {"text", "varchar"}) {
                    Array phones = db.createArrayOf(type, new String[] {"13800000001", "13800000002"});
                    s.setArray(1, phones);
                    try (ResultSet r = s.executeQuery()) {
                        r.next();
                        ok(r.getInt(1) == 2, "find by a list of " + type);
                    }
                }
            }
            // batch
            try (PreparedStatement s = db.prepareStatement("INSERT INTO customer (name, phone) VALUES (?, ?)")) {
                for (int i = 0; i < 60; i++) {
                    s.setString(1, "批量");
                    s.setString(2, String.valueOf(13510000000L + i));
                    s.addBatch();
                }
                int n = 0;
                for (int done : s.executeBatch())
                    n += done;
                ok(n == 60, "batch insert");
            }
            // COPY
            CopyManager copy = db.unwrap(PGConnection.class).getCopyAPI();
            ok(copy.copyIn("COPY customer (name, phone) FROM STDIN (FORMAT csv)", new StringReader("甲,13520000001\n乙,13520000002\n")) == 2, "COPY FROM");
            StringWriter out = new StringWriter();
            copy.copyOut("COPY (SELECT phone FROM customer WHERE phone IN ('13520000001', '13520000002') ORDER BY id) TO STDOUT", out);
            ok(out.toString().equals("13520000001\n13520000002\n"), "COPY of a query");
            // slices of the server's cursor
            db.setAutoCommit(false);
            try (PreparedStatement s = db.prepareStatement("SELECT id, phone FROM customer WHERE id <= ? ORDER BY id")) {
                s.setFetchSize(25);
                s.setLong(1, 100);
                int n = 0;
                boolean good = true;
                try (ResultSet r = s.executeQuery()) {
                    while (r.next())
                        good &= r.getString(2).equals(String.valueOf(13800000000L + ++n));
                }
                ok(good && n == 100, "fetch size");
            }
            db.rollback();
            db.setAutoCommit(true);
            // a result set that can be changed needs a key of the relation; views have none
            DatabaseMetaData meta = db.getMetaData();
            try (ResultSet r = meta.getColumns(null, "masked", "customer", "%")) {
                StringBuilder names = new StringBuilder();
                int type = 0;
                while (r.next()) {
                    names.append(r.getString("COLUMN_NAME")).append(' ');
                    if (r.getString("COLUMN_NAME").equals("phone"))
                        type = r.getInt("DATA_TYPE");
                }
                ok(names.toString().startsWith("id name phone address ") && type == Types.VARCHAR, "metadata of columns");
            }
            try (ResultSet r = meta.getTables(null, "masked", "%", new String[] {"VIEW"})) {
                int n = 0;
                while (r.next())
                    n++;
                ok(n == 2, "metadata of views");
            }
            ok("23505".equals(state(() -> one(db, "INSERT INTO customer (name, phone) VALUES ('x', '13800000001') RETURNING id"))), "unique stays unique");
        }
        try (Connection db = connect("app", "&preferQueryMode=simple")) {
            crud(db, "simple protocol: ", "13500000002");
        }
        try (Connection db = connect("app", "&prepareThreshold=1&binaryTransfer=true")) {
            crud(db, "prepared at once, binary: ", "13500000003");
        }
        try (Connection db = connect("app", "&stringtype=unspecified&autosave=always")) {
            crud(db, "untyped strings, savepoints: ", "13500000004");
        }
        try (Connection db = connect("app", "&reWriteBatchedInserts=true");
                PreparedStatement s = db.prepareStatement("INSERT INTO customer (name, phone) VALUES (?, ?)")) {
            for (int i = 0; i < 60; i++) {
                s.setString(1, "批量");
                s.setString(2, String.valueOf(13530000000L + i));
                s.addBatch();
            }
            s.executeBatch();
            ok(one(db, "SELECT count(*) FROM customer WHERE phone IN ('13530000000', '13530000059')") == 2, "batch inserts rewritten by the driver");
        }
        try (Connection db = connect("visitor", "")) {
            try (Statement s = db.createStatement(); ResultSet r = s.executeQuery("SELECT phone FROM customer WHERE id = 7")) {
                r.next();
                ok(r.getString(1).contains("*"), "others read masks");
            }
            ok("42501".equals(state(() -> one(db, "SELECT id FROM customer WHERE phone = '13800000007'"))), "others may not search");
        }
        System.out.println("1.." + count);
        System.exit(failed > 0 ? 1 : 0);
    }
}
