// postgres.js: prepares by default, pipelines what is not awaited, reads types from the catalog.

import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgres from "postgres";
import { fails, numbers, run, url } from "./checks.js";

async function withSql(work, options = {}) {
  const sql = postgres(url, { max: 1, onnotice: () => {}, ...options });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

const first = async (query) => Object.values((await query)[0])[0];

await run("postgres.js", {
  "the table is made": () =>
    withSql(async (sql) => {
      await sql`DROP TABLE IF EXISTS postgresjs_items`;
      await sql`CREATE TABLE postgresjs_items (id int PRIMARY KEY, name text, data jsonb)`;
    }),

  "parameters of many types come back as sent": () =>
    withSql(async (sql) => {
      const date = new Date(Date.UTC(2024, 1, 29, 12));
      const [row] = await sql`
        SELECT ${1}::int a, ${1.5}::float8 b, ${true}::bool c, ${"naïve 'q'"}::text d, ${Buffer.from([0, 255])}::bytea e,
          ${date}::timestamptz f, ${[1, 2]}::int[] g, ${sql.json({ a: [1] })}::jsonb h, ${null}::text i`;
      assert.deepEqual({ ...row }, {
        a: 1, b: 1.5, c: true, d: "naïve 'q'", e: Buffer.from([0, 255]), f: date, g: [1, 2], h: { a: [1] }, i: null,
      });
    }),

  "prepared statements again and again": () =>
    withSql(async (sql) => {
      for (const n of numbers(30)) assert.equal(await first(sql`SELECT ${n}::int + 1`), n + 1);
    }),

  "without preparing": () =>
    withSql(
      async (sql) => {
        for (const n of numbers(30)) assert.equal(await first(sql`SELECT ${n}::int + 1`), n + 1);
      },
      { prepare: false },
    ),

  "pipelining on one connection": () =>
    withSql(async (sql) => {
      const results = await Promise.all(numbers(300).map((n) => first(sql`SELECT ${n}::int`)));
      assert.deepEqual(results, numbers(300));
    }),

  "an error in a pipeline stays its own": () =>
    withSql(async (sql) => {
      const divided = await Promise.allSettled(numbers(20).map((n) => first(sql`SELECT 10 / ${n % 5}::int`)));
      divided.forEach((result, n) => {
        if (n % 5) assert.equal(result.value, Math.trunc(10 / (n % 5)));
        else assert.equal(result.reason.code, "22012");
      });
    }),

  "more sessions than backends": async () => {
    const work = (number) =>
      withSql(async (sql) => {
        for (const n of numbers(15)) {
          assert.equal(await first(sql`SELECT ${n}::int + ${sql.unsafe(String(number))}`), n + number);
        }
      });
    await Promise.all(numbers(12).map(work));
  },

  "transactions commit and roll back": () =>
    withSql(async (sql) => {
      await sql.begin(async (tx) => {
        await tx`INSERT INTO postgresjs_items ${tx({ id: 1, name: "kept" })}`;
        await tx
          .savepoint(async (point) => {
            await point`INSERT INTO postgresjs_items ${point({ id: 2, name: "lost" })}`;
            throw new Error("undo");
          })
          .catch((error) => assert.equal(error.message, "undo"));
      });
      await fails(sql.begin((tx) => [tx`DELETE FROM postgresjs_items`, tx`SELECT 1 / 0`]), "22012");
      assert.deepEqual([...(await sql`SELECT id FROM postgresjs_items`)], [{ id: 1 }]);
    }),

  "transactions of a crowd": () =>
    withSql(
      async (sql) => {
        await sql`INSERT INTO postgresjs_items (id, data) VALUES (50, '0')`;
        const add = () =>
          sql.begin(async (tx) => {
            const [{ n }] = await tx`SELECT data::int n FROM postgresjs_items WHERE id = 50 FOR UPDATE`;
            await tx`UPDATE postgresjs_items SET data = ${n + 1}::int::text::jsonb WHERE id = 50`;
          });
        await Promise.all(numbers(60).map(add));
        assert.equal(await first(sql`SELECT data::int FROM postgresjs_items WHERE id = 50`), 60);
      },
      { max: 10 },
    ),

  "errors and the session goes on": () =>
    withSql(async (sql) => {
      const error = await fails(sql`INSERT INTO postgresjs_items (id) VALUES (1)`, "23505");
      assert.equal(error.constraint_name, "postgresjs_items_pkey");
      await fails(sql`SELEC 1`, "42601");
      await fails(sql`SELECT * FROM postgresjs_nothing`, "42P01");
      assert.equal(await first(sql`SELECT 1`), 1);
    }),

  "the simple protocol with several statements": () =>
    withSql(async (sql) => {
      const results = await sql.unsafe("SELECT 1 AS a; SELECT 2 AS a").simple();
      assert.deepEqual(results.map((rows) => rows[0].a), [1, 2]);
    }),

  "cursors read in pieces": () =>
    withSql(async (sql) => {
      let total = 0;
      for await (const rows of sql`SELECT generate_series(1, 5000) AS n`.cursor(700)) {
        total += rows.reduce((sum, row) => sum + row.n, 0);
      }
      assert.equal(total, 12502500);
      for await (const _ of sql`SELECT generate_series(1, 5000) AS n`.cursor(10)) break;
      assert.equal(await first(sql`SELECT 1`), 1);
    }),

  "rows one by one": () =>
    withSql(async (sql) => {
      let total = 0;
      await sql`SELECT generate_series(1, 5000) AS n`.forEach((row) => {
        total += row.n;
      });
      assert.equal(total, 12502500);
    }),

  "COPY in and out": () =>
    withSql(async (sql) => {
      const lines = numbers(5000).map((n) => `${n + 1000}\tname ${n}\n`);
      await pipeline(Readable.from(lines), await sql`COPY postgresjs_items (id, name) FROM STDIN`.writable());
      let text = "";
      for await (const chunk of await sql`COPY (SELECT id FROM postgresjs_items WHERE id >= 1000) TO STDOUT`.readable()) {
        text += chunk;
      }
      assert.equal(text.split("\n").length, 5001);
    }),

  "cancel stops a statement and spares the session": () =>
    withSql(async (sql) => {
      const sleeping = sql`SELECT pg_sleep(30)`;
      setTimeout(() => sleeping.cancel(), 200);
      await fails(sleeping, "57014");
      assert.equal(await first(sql`SELECT 1`), 1);
    }),

  "notices": async () => {
    const heard = [];
    await withSql((sql) => sql.unsafe("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$"), {
      onnotice: (notice) => heard.push(`${notice.severity} ${notice.message}`),
    });
    assert.deepEqual(heard, ["NOTICE one", "WARNING two"]);
  },

  "statements are described": () =>
    withSql(async (sql) => {
      const described = await sql`SELECT id, name FROM postgresjs_items WHERE id = ${1}`.describe();
      assert.deepEqual(described.columns.map((column) => column.name), ["id", "name"]);
      assert.deepEqual(described.types, [23]);
    }),

  "big results and values": () =>
    withSql(async (sql) => {
      const rows = await sql`SELECT n, repeat('x', 100) FROM generate_series(1, ${50000}::int) n`;
      assert.equal(rows.length, 50000);
      const text = "å".repeat(3_000_000);
      assert.equal(await first(sql`SELECT ${text}::text`), text);
    }),

  "startup parameters are the session's own": () =>
    withSql(
      async (sql) => {
        assert.equal(await first(sql`SHOW TimeZone`), "Asia/Tokyo");
        assert.equal(sql.parameters.TimeZone, "Asia/Tokyo");
        await withSql(async (other) => assert.notEqual(await first(other`SHOW TimeZone`), "Asia/Tokyo"));
      },
      { connection: { TimeZone: "Asia/Tokyo" } },
    ),

  "the table is dropped": () => withSql((sql) => sql`DROP TABLE postgresjs_items`),
});
