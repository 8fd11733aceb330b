// pgweir's console through PostgreSQL's JDBC driver.

import java.net.URI;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.*;

public class Console {
    interface Check {
        void run(Connection connection) throws Exception;
    }

    static int passed = 0;
    static int failed = 0;

    public static void main(String[] arguments) throws Exception {
        check("values by their types, until the driver asks for binary", c -> {
            try (PreparedStatement s = c.prepareStatement("SHOW CLIENTS WHERE user = ?")) {
                for (int n = 0; n < 10; n++) {
                    s.setString(1, "shopkeeper");
                    ResultSet r = s.executeQuery();
                    same(true, r.next());
                    same(true, r.getLong("pid") > 4194304 && r.getObject("connected", OffsetDateTime.class) != null);
                }
            }
        });
        check("numbers are bound", c -> {
            try (PreparedStatement s = c.prepareStatement("SHOW LIMITS WHERE met >= ? AND met < ? LIMIT ?")) {
                for (int n = 0; n < 10; n++) {
                    s.setInt(1, 0);
                    s.setDouble(2, 0.5);
                    s.setLong(3, 3);
                    ResultSet r = s.executeQuery();
                    same(true, r.next());
                    same(0L, r.getLong("met"));
                }
            }
        });
        check("rows in portions, in a transaction", c -> {
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) {
                s.setFetchSize(5);
                ResultSet r = s.executeQuery("SHOW CONFIG");
                int rows = 0;
                while (r.next()) rows++;
                same(true, rows > 50);
            }
            c.commit();
        });
        check("errors, and the session goes on", c -> {
            try (Statement s = c.createStatement()) {
                s.executeQuery("SHOW NOTHING");
                throw new AssertionError("no error");
            } catch (SQLException error) {
                same("42601", error.getSQLState());
            }
            same(true, c.isValid(5));
        });
        System.out.println("console-jdbc: " + passed + " checks passed" + (failed > 0 ? ", " + failed + " failed" : ""));
        System.exit(failed > 0 ? 1 : 0);
    }

    static void check(String name, Check check) {
        URI server = URI.create(System.getenv("DATABASE_URL"));
        String[] who = server.getUserInfo().split(":");
        String url = "jdbc:postgresql://" + server.getAuthority().split("@")[1] + server.getPath() + "?prepareThreshold=3";
        try (Connection connection = DriverManager.getConnection(url, who[0], who[1])) {
            check.run(connection);
            passed++;
        } catch (Exception | AssertionError error) {
            failed++;
            System.out.println("console-jdbc: FAILED " + name);
            error.printStackTrace(System.out);
        }
    }

    static void same(Object wanted, Object got) {
        if (!Objects.equals(wanted, got)) throw new AssertionError("wanted " + wanted + ", got " + got);
    }
}
