// node-postgres (pg) with pg-cursor.

import assert from "node:assert/strict";
import pg from "pg";
import Cursor from "pg-cursor";
import { fails, numbers, run, url } from "./checks.js";

async function withClient(work, options = {}) {
  const client = new pg.Client({ connectionString: url, ...options });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const first = async (client, ...query) => Object.values((await client.query(...query)).rows[0])[0];

await run("node-postgres", {
  "the table is made": () =>
    withClient(async (client) => {
      await client.query("DROP TABLE IF EXISTS pg_items; CREATE TABLE pg_items (id int PRIMARY KEY, name text, data jsonb)");
    }),

  "parameters of many types come back as sent": () =>
    withClient(async (client) => {
      const date = new Date(Date.UTC(2024, 1, 29, 12));
      const { rows } = await client.query(
        "SELECT $1::int a, $2::float8 b, $3::bool c, $4::text d, $5::bytea e, $6::timestamptz f, $7::int[] g, $8::jsonb h, $9::text i",
        [1, 1.5, true, "naïve 'q'", Buffer.from([0, 255]), date, [1, 2, null], { a: [1] }, null],
      );
      assert.deepEqual(rows[0], {
        a: 1, b: 1.5, c: true, d: "naïve 'q'", e: Buffer.from([0, 255]), f: date, g: [1, 2, null], h: { a: [1] }, i: null,
      });
    }),

  "unnamed statements again and again": () =>
    withClient(async (client) => {
      for (const n of numbers(30)) assert.equal(await first(client, "SELECT $1::int + 1", [n]), n + 1);
    }),

  "named statements across transactions": () =>
    withClient(async (client) => {
      for (const n of numbers(10)) {
        await client.query("BEGIN");
        assert.equal(await first(client, { name: "double", text: "SELECT $1::int * 2", values: [n] }), 2 * n);
        await client.query(n % 2 ? "COMMIT" : "ROLLBACK");
      }
    }),

  "binary results": () =>
    withClient(async (client) => {
      const value = await first(client, { text: "SELECT $1::int + 1", values: [41], binary: true });
      assert.equal(value, 42);
    }),

  "equal names mean other texts in other sessions": async () => {
    const work = (number) =>
      withClient(async (client) => {
        for (const n of numbers(15)) {
          const query = { name: "same", text: `SELECT $1::int + ${number}`, values: [n] };
          assert.equal(await first(client, query), n + number);
        }
      });
    await Promise.all(numbers(12).map(work));
  },

  "queries queued without waiting": () =>
    withClient(async (client) => {
      const results = await Promise.all(numbers(100).map((n) => first(client, "SELECT $1::int", [n])));
      assert.deepEqual(results, numbers(100));
    }),

  "several statements in one text": () =>
    withClient(async (client) => {
      const results = await client.query("SELECT 1 AS a; SELECT 2 AS a; SELECT 3 AS a");
      assert.deepEqual(results.map((result) => result.rows[0].a), [1, 2, 3]);
    }),

  "transactions and savepoints": () =>
    withClient(async (client) => {
      await client.query("BEGIN");
      await client.query("INSERT INTO pg_items VALUES ($1, $2)", [1, "kept"]);
      await client.query("SAVEPOINT s");
      await fails(client.query("INSERT INTO pg_items VALUES ($1, $2)", [1, "again"]), "23505");
      await fails(client.query("SELECT 1"), "25P02");
      await client.query("ROLLBACK TO s");
      await client.query("COMMIT");
      await client.query("BEGIN");
      await client.query("DELETE FROM pg_items");
      await client.query("ROLLBACK");
      assert.equal(await first(client, "SELECT count(*)::int FROM pg_items"), 1);
    }),

  "errors and the session goes on": () =>
    withClient(async (client) => {
      const error = await fails(client.query("INSERT INTO pg_items VALUES ($1)", [1]), "23505");
      assert.equal(error.constraint, "pg_items_pkey");
      assert.equal((await fails(client.query("SELEC 1"), "42601")).position, "1");
      await fails(client.query("SELECT 1 / $1::int", [0]), "22012");
      await fails(client.query({ name: "bad", text: "SELECT * FROM pg_nothing" }), "42P01");
      assert.equal(await first(client, "SELECT 1"), 1);
    }),

  "cursors read in pieces": () =>
    withClient(async (client) => {
      const cursor = client.query(new Cursor("SELECT generate_series(1, $1::int) AS n", [5000]));
      let total = 0;
      for (let rows = await cursor.read(700); rows.length; rows = await cursor.read(700)) {
        total += rows.reduce((sum, row) => sum + row.n, 0);
      }
      assert.equal(total, 12502500);
      const abandoned = client.query(new Cursor("SELECT generate_series(1, 5000)"));
      await abandoned.read(10);
      await abandoned.close();
      assert.equal(await first(client, "SELECT 1"), 1);
    }),

  "row limits of the extended protocol": () =>
    withClient(async (client) => {
      const { rows } = await client.query({ text: "SELECT generate_series(1, 100)", rows: 7, queryMode: "extended" });
      assert.equal(rows.length, 100);
    }),

  "cancel stops a statement and spares the session": () =>
    withClient(async (client) => {
      const sleeping = fails(client.query("SELECT pg_sleep(30)"), "57014");
      await new Promise((resolve) => setTimeout(resolve, 200));
      const messenger = new pg.Client({ connectionString: url });
      messenger.connection.on("connect", () => messenger.connection.cancel(client.processID, client.secretKey));
      messenger.connection.connect(client.port, client.host);
      await sleeping;
      assert.equal(await first(client, "SELECT 1"), 1);
    }),

  "notices": () =>
    withClient(async (client) => {
      const heard = [];
      client.on("notice", (notice) => heard.push(`${notice.severity} ${notice.message}`));
      await client.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$");
      assert.deepEqual(heard, ["NOTICE one", "WARNING two"]);
    }),

  "big results and values": () =>
    withClient(async (client) => {
      const { rows } = await client.query("SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", [50000]);
      assert.equal(rows.length, 50000);
      const text = "å".repeat(3_000_000);
      assert.equal(await first(client, "SELECT $1::text", [text]), text);
    }),

  "startup parameters are the session's own": () =>
    withClient(
      async (client) => {
        assert.equal(await first(client, "SHOW application_name"), "one");
        assert.equal(await first(client, "SHOW TimeZone"), "Asia/Tokyo");
        await withClient(async (other) => assert.notEqual(await first(other, "SHOW TimeZone"), "Asia/Tokyo"));
      },
      { application_name: "one", options: "-c TimeZone=Asia/Tokyo" },
    ),

  "the driver's own pool on top": async () => {
    const pool = new pg.Pool({ connectionString: url, max: 10 });
    const results = await Promise.all(numbers(100).map((n) => first(pool, "SELECT $1::int", [n])));
    assert.deepEqual(results, numbers(100));
    await pool.end();
  },

  "the table is dropped": () => withClient((client) => client.query("DROP TABLE pg_items")),
});
