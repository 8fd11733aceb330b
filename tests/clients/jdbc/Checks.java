// PostgreSQL's JDBC driver. Run as one source file: java -cp postgresql.jar Checks.java

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.*;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.IntStream;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

public class Checks {
    interface Check {
        void run() throws Exception;
    }

    interface Work {
        void with(Connection connection) throws Exception;
    }

    static final Map<String, Check> CHECKS = new LinkedHashMap<>();
    static final URI SERVER = URI.create(System.getenv("DATABASE_URL"));
    static final int LIMIT_SECONDS = 60;

    public static void main(String[] arguments) throws Exception {
        everyday();
        transactions();
        statements();
        results();
        interruptions();
        ExecutorService runner = Executors.newCachedThreadPool();
        int failed = 0;
        for (Map.Entry<String, Check> check : CHECKS.entrySet()) {
            Future<?> done = runner.submit(() -> {
                check.getValue().run();
                return null;
            });
            try {
                done.get(LIMIT_SECONDS, TimeUnit.SECONDS);
            } catch (ExecutionException | TimeoutException error) {
                failed++;
                System.out.println("jdbc: FAILED " + check.getKey());
                Throwable cause = error.getCause() == null ? error : error.getCause();
                cause.printStackTrace(System.out);
            }
        }
        int passed = CHECKS.size() - failed;
        System.out.println("jdbc: " + passed + " checks passed" + (failed > 0 ? ", " + failed + " failed" : ""));
        System.exit(failed > 0 ? 1 : 0);
    }

    // ---- what is checked ----

    static void everyday() {
        check("the table is made", () -> connected("", c -> {
            execute(c, "DROP TABLE IF EXISTS jdbc_items");
            execute(c, "CREATE TABLE jdbc_items (id int PRIMARY KEY, name text, price numeric(10,2))");
        }));
        check("parameters of many types come back as sent", () -> connected("", c -> {
            OffsetDateTime time = OffsetDateTime.of(2024, 2, 29, 12, 0, 0, 0, ZoneOffset.UTC);
            try (PreparedStatement s = c.prepareStatement(
                    "SELECT ?::int, ?::int8, ?::float8, ?::numeric, ?::bool, ?::text, ?::bytea, ?::timestamptz, ?::text")) {
                s.setInt(1, 1);
                s.setLong(2, 1L << 40);
                s.setDouble(3, 1.5);
                s.setBigDecimal(4, new BigDecimal("12.340"));
                s.setBoolean(5, true);
                s.setString(6, "naïve 'q'");
                s.setBytes(7, new byte[] {0, -1});
                s.setObject(8, time);
                s.setNull(9, Types.VARCHAR);
                ResultSet r = s.executeQuery();
                r.next();
                same(List.of(1, 1L << 40, 1.5, new BigDecimal("12.340"), true, "naïve 'q'"),
                        List.of(r.getInt(1), r.getLong(2), r.getDouble(3), r.getBigDecimal(4), r.getBoolean(5), r.getString(6)));
                same(true, Arrays.equals(new byte[] {0, -1}, r.getBytes(7)));
                same(time, r.getObject(8, OffsetDateTime.class));
                same(null, r.getString(9));
            }
        }));
        check("several statements in one text", () -> connected("", c -> {
            try (Statement s = c.createStatement()) {
                s.execute("SELECT 1; INSERT INTO jdbc_items VALUES (1, 'one', 1); SELECT 3");
                same(1, only(s.getResultSet()));
                same(false, s.getMoreResults());
                same(1, s.getUpdateCount());
                same(true, s.getMoreResults());
                same(3, only(s.getResultSet()));
            }
        }));
        check("errors and the session goes on", () -> connected("", c -> {
            fails("23505", () -> execute(c, "INSERT INTO jdbc_items VALUES (1)"));
            fails("42601", () -> execute(c, "SELEC 1"));
            fails("22012", () -> number(c, "SELECT 1 / ?", 0));
            same(1, number(c, "SELECT ?::int", 1));
        }));
        check("the catalog is read", () -> connected("", c -> {
            try (ResultSet r = c.getMetaData().getColumns(null, null, "jdbc_items", null)) {
                List<String> names = new ArrayList<>();
                while (r.next()) names.add(r.getString("COLUMN_NAME"));
                same(List.of("id", "name", "price"), names);
            }
        }));
        check("startup parameters are the session's own", () -> connected("options=-c%20lock_timeout=1234&ApplicationName=one", c -> {
            same("one", text(c, "SHOW application_name"));
            same("1234ms", text(c, "SHOW lock_timeout"));
            connected("", other -> same("0", text(other, "SHOW lock_timeout")));
        }));
    }

    static void transactions() {
        check("commit and rollback", () -> connected("", c -> {
            c.setAutoCommit(false);
            execute(c, "INSERT INTO jdbc_items VALUES (10, 'kept')");
            c.commit();
            execute(c, "INSERT INTO jdbc_items VALUES (11, 'lost')");
            c.rollback();
            same(1, number(c, "SELECT count(*)::int FROM jdbc_items WHERE id >= ?", 10));
            c.commit();
        }));
        check("savepoints", () -> connected("", c -> {
            c.setAutoCommit(false);
            execute(c, "UPDATE jdbc_items SET price = 5 WHERE id = 10");
            Savepoint point = c.setSavepoint("here");
            fails("23505", () -> execute(c, "INSERT INTO jdbc_items VALUES (10)"));
            fails("25P02", () -> execute(c, "SELECT 1"));
            c.rollback(point);
            c.commit();
            same(5, number(c, "SELECT price::int FROM jdbc_items WHERE id = ?", 10));
            c.commit();
        }));
        check("autosave saves a transaction from its errors", () -> connected("autosave=always", c -> {
            c.setAutoCommit(false);
            execute(c, "INSERT INTO jdbc_items VALUES (20, 'kept')");
            fails("23505", () -> execute(c, "INSERT INTO jdbc_items VALUES (20, 'again')"));
            c.commit();
            same(1, number(c, "SELECT count(*)::int FROM jdbc_items WHERE id = ?", 20));
            c.commit();
        }));
        check("read only", () -> connected("", c -> {
            c.setAutoCommit(false);
            c.setReadOnly(true);
            fails("25006", () -> execute(c, "DELETE FROM jdbc_items"));
            c.rollback();
        }));
    }

    static void statements() {
        for (int threshold : new int[] {-1, 0, 1, 5}) {
            check("prepareThreshold " + threshold, () -> connected("prepareThreshold=" + threshold, c -> {
                try (PreparedStatement s = c.prepareStatement("SELECT ?::int * 2")) {
                    for (int n = 0; n < 20; n++) {
                        c.setAutoCommit(n % 4 < 2);
                        s.setInt(1, n);
                        same(2 * n, only(s.executeQuery()));
                        if (!c.getAutoCommit()) c.commit();
                    }
                }
            }));
        }
        for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
            check("preferQueryMode " + mode, () -> connected("preferQueryMode=" + mode, c -> {
                for (int n = 0; n < 12; n++) same(n + 1, number(c, "SELECT ? + 1", n));
            }));
        }
        check("more statements than the driver keeps", () ->
                connected("prepareThreshold=1&preparedStatementCacheQueries=4", c -> {
                    for (int n = 0; n < 40; n++) same(n + n % 12, number(c, "SELECT ?::int + " + n % 12, n));
                }));
        check("more sessions than backends", () -> {
            ExecutorService crowd = Executors.newFixedThreadPool(12);
            List<Future<?>> all = new ArrayList<>();
            for (int number = 0; number < 12; number++) {
                int own = number;
                all.add(crowd.submit(() -> {
                    connected("prepareThreshold=1", c -> {
                        // The driver names its statements by order, so one name means another text in each session.
                        for (int n = 0; n < 25; n++) same(n + own, number(c, "SELECT ?::int + " + own, n));
                    });
                    return null;
                }));
            }
            for (Future<?> one : all) one.get();
            crowd.shutdown();
        });
        check("a statement follows a change of its table", () -> connected("prepareThreshold=1&autosave=conservative", c -> {
            execute(c, "DROP TABLE IF EXISTS jdbc_shape");
            execute(c, "CREATE TABLE jdbc_shape AS SELECT 1 AS a");
            try (PreparedStatement s = c.prepareStatement("SELECT * FROM jdbc_shape")) {
                for (int n = 0; n < 6; n++) {
                    ResultSet r = s.executeQuery();
                    same(n < 3 ? 1 : 2, r.getMetaData().getColumnCount());
                    if (n == 2) connected("", other -> execute(other, "ALTER TABLE jdbc_shape ADD b int"));
                }
            }
            execute(c, "DROP TABLE jdbc_shape");
        }));
    }

    static void results() {
        for (boolean rewrite : new boolean[] {false, true}) {
            check("batches, rewritten " + rewrite, () -> connected("reWriteBatchedInserts=" + rewrite, c -> {
                c.setAutoCommit(false);
                int base = rewrite ? 20000 : 10000;
                try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_items VALUES (?, ?)")) {
                    for (int n = 0; n < 1000; n++) {
                        s.setInt(1, base + n);
                        s.setString(2, "n" + n);
                        s.addBatch();
                    }
                    same(1000, s.executeBatch().length);
                    s.setInt(1, base - 1);
                    s.addBatch();
                    s.setInt(1, base);
                    s.addBatch();
                    fails("23505", s::executeBatch);
                }
                c.rollback();
                same(0, number(c, "SELECT count(*)::int FROM jdbc_items WHERE id >= ?", base - 1));
                c.commit();
            }));
        }
        check("generated keys", () -> connected("", c -> {
            try (PreparedStatement s = c.prepareStatement(
                    "INSERT INTO jdbc_items VALUES (30, 'thirty')", Statement.RETURN_GENERATED_KEYS)) {
                same(1, s.executeUpdate());
                same(30, only(s.getGeneratedKeys()));
            }
        }));
        check("fetch size reads through a portal", () -> connected("", c -> {
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("SELECT generate_series(1, ?)")) {
                s.setFetchSize(700);
                s.setInt(1, 5000);
                long total = 0;
                ResultSet r = s.executeQuery();
                while (r.next()) total += r.getInt(1);
                same(12502500L, total);
            }
            c.commit();
        }));
        check("a big result in pieces", () -> connected("defaultRowFetchSize=1000", c -> {
            c.setAutoCommit(false);
            try (Statement s = c.createStatement();
                    ResultSet r = s.executeQuery("SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n")) {
                int rows = 0;
                while (r.next()) rows++;
                same(50000, rows);
            }
            c.commit();
        }));
        check("large values go both ways", () -> connected("", c -> {
            try (PreparedStatement s = c.prepareStatement("SELECT ?::bytea")) {
                byte[] sent = new byte[8_000_000];
                new Random(1).nextBytes(sent);
                s.setBytes(1, sent);
                ResultSet r = s.executeQuery();
                r.next();
                same(true, Arrays.equals(sent, r.getBytes(1)));
            }
        }));
        check("COPY in and out", () -> connected("", c -> {
            var copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            IntStream.range(50000, 60000).forEach(n -> lines.append(n).append("\tname\\t").append(n).append("\t1.5\n"));
            same(10000L, copy.copyIn("COPY jdbc_items FROM STDIN", new StringReader(lines.toString())));
            StringWriter out = new StringWriter();
            same(10000L, copy.copyOut("COPY (SELECT * FROM jdbc_items WHERE id >= 50000 ORDER BY id) TO STDOUT", out));
            same(lines.toString().replace("1.5\n", "1.50\n"), out.toString());
        }));
        check("COPY fails from either side", () -> connected("", c -> {
            var copy = c.unwrap(PGConnection.class).getCopyAPI();
            fails("22P02", () -> copy.copyIn("COPY jdbc_items FROM STDIN", new StringReader("x\ty\t1\n")));
            var abandoned = copy.copyIn("COPY jdbc_items FROM STDIN");
            byte[] line = "70000\tnever\t1\n".getBytes();
            abandoned.writeToCopy(line, 0, line.length);
            abandoned.cancelCopy();
            same(0, number(c, "SELECT count(*)::int FROM jdbc_items WHERE id = ?", 70000));
        }));
    }

    static void interruptions() {
        check("cancel stops a statement and spares the session", () -> connected("", c -> {
            try (Statement s = c.createStatement()) {
                Thread canceller = new Thread(() -> {
                    try {
                        Thread.sleep(300);
                        s.cancel();
                    } catch (InterruptedException | SQLException error) {
                        throw new IllegalStateException(error);
                    }
                });
                canceller.start();
                fails("57014", () -> s.executeQuery("SELECT pg_sleep(30)"));
                canceller.join();
            }
            same(1, number(c, "SELECT ?::int", 1));
        }));
        check("a query timeout cancels", () -> connected("", c -> {
            try (Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                fails("57014", () -> s.executeQuery("SELECT pg_sleep(30)"));
            }
            same(1, number(c, "SELECT ?::int", 1));
        }));
        check("notices are warnings", () -> connected("", c -> {
            try (Statement s = c.createStatement()) {
                s.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$");
                same("one", s.getWarnings().getMessage());
                same("two", s.getWarnings().getNextWarning().getMessage());
            }
        }));
        check("isValid and a closed session", () -> connected("", c -> {
            same(true, c.isValid(5));
            c.close();
            same(false, c.isValid(5));
        }));
        check("the table is dropped", () -> connected("", c -> execute(c, "DROP TABLE jdbc_items")));
    }

    // ---- how ----

    static void check(String name, Check check) {
        CHECKS.put(name, check);
    }

    static void connected(String options, Work work) throws Exception {
        String[] login = SERVER.getUserInfo().split(":");
        String url = "jdbc:postgresql://" + SERVER.getHost() + ":" + SERVER.getPort() + SERVER.getPath();
        try (Connection c = DriverManager.getConnection(
                url + "?user=" + login[0] + "&password=" + login[1] + "&sslmode=disable&" + options)) {
            work.with(c);
        }
    }

    static void execute(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
        }
    }

    static int number(Connection c, String sql, int parameter) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            s.setInt(1, parameter);
            return only(s.executeQuery());
        }
    }

    static String text(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getString(1);
        }
    }

    static int only(ResultSet r) throws SQLException {
        r.next();
        int value = r.getInt(1);
        same(false, r.next());
        return value;
    }

    static void same(Object wanted, Object got) {
        if (!Objects.equals(wanted, got)) throw new AssertionError("wanted " + wanted + ", got " + got);
    }

    static void fails(String state, Check check) throws Exception {
        try {
            check.run();
        } catch (BatchUpdateException error) {
            same(state, error.getSQLState());
            return;
        } catch (PSQLException error) {
            if (!state.equals(error.getSQLState())) throw error;
            return;
        }
        throw new AssertionError("no error " + state);
    }
}
