// People behind one login, with JDBC.  See README.md.

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Base64;

public class Actor {
    static final String QUERY = System.getenv().getOrDefault("ACTOR_QUERY",
        "SELECT id, recv_name, recv_phone FROM masked.waybill ORDER BY id LIMIT 3");
    static final SecureRandom RANDOM = new SecureRandom();

    static String base64url(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    static PrivateKey readKey(String path) throws Exception {
        String body = Files.readString(Path.of(path)).replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance("Ed25519")
            .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(body)));
    }

    // a token that is good for one transaction within a minute (EdDSA); staff
    // numbers with quotes or backslashes would need a JSON library here
    static String makeToken(String staffNo, String audience, PrivateKey key) throws GeneralSecurityException {
        long now = System.currentTimeMillis() / 1000;
        byte[] nonce = new byte[16];
        RANDOM.nextBytes(nonce);
        String header = "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"" + System.getenv("ACTOR_KEY_ID") + "\"}";
        String claims = "{\"sub\":\"" + staffNo + "\",\"aud\":\"" + audience + "\",\"iat\":" + now
            + ",\"exp\":" + (now + 60) + ",\"jti\":\"" + base64url(nonce) + "\"}";
        String signed = base64url(header.getBytes(StandardCharsets.UTF_8)) + "."
            + base64url(claims.getBytes(StandardCharsets.UTF_8));
        Signature signature = Signature.getInstance("Ed25519");
        signature.initSign(key);
        signature.update(signed.getBytes(StandardCharsets.US_ASCII));
        return signed + "." + base64url(signature.sign());
    }

    static void show(Connection db, String staffNo, String audience, PrivateKey key)
            throws SQLException, GeneralSecurityException {
        // the transaction is the person's: set_actor() ends with it
        db.setAutoCommit(false);
        try (PreparedStatement actor = db.prepareStatement("SELECT courier_pii.set_actor(?)")) {
            actor.setString(1, makeToken(staffNo, audience, key));
            actor.execute();
            try (Statement list = db.createStatement(); ResultSet rows = list.executeQuery(QUERY)) {
                while (rows.next()) {
                    StringBuilder line = new StringBuilder(staffNo);
                    for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++)
                        line.append(' ').append(rows.getString(i));
                    System.out.println(line);
                }
            }
            db.commit();
        } catch (SQLException e) {
            db.rollback();
            throw e;
        }
    }

    public static void main(String[] people) throws Exception {
        PrivateKey key = readKey(System.getenv("ACTOR_KEY_FILE"));
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?user=" + System.getenv("PGUSER");
        try (Connection db = DriverManager.getConnection(url)) {
            String audience;
            try (Statement s = db.createStatement();
                 ResultSet r = s.executeQuery("SELECT courier_pii.actor_audience()")) {
                r.next();
                audience = r.getString(1);
            }
            for (String staffNo : people)
                show(db, staffNo, audience, key);
        }
    }
}
