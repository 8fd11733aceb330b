// pgweir's console through node-postgres and postgres.js.

import assert from "node:assert/strict";
import pg from "pg";
import postgres from "postgres";
import { fails, run, url } from "./checks.js";

async function withClient(work) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

await run("console-node", {
  "node-postgres in both protocols": () =>
    withClient(async (client) => {
      const { rows } = await client.query("SHOW CLIENTS WHERE user = 'shopkeeper'");
      assert.ok(rows[0].connected instanceof Date && rows[0].state === "idle");
      const bound = await client.query("SHOW CONFIG (key, live) WHERE key = $1", ["pool.size"]);
      assert.deepEqual(bound.rows, [{ key: "pool.size", live: true }]);
      assert.equal(bound.rowCount, 1);
    }),

  "node-postgres with a name and in a transaction": () =>
    withClient(async (client) => {
      for (let n = 0; n < 3; n += 1) {
        await client.query("BEGIN");
        const { rows } = await client.query({ name: "version", text: "SHOW VERSION" });
        assert.match(rows[0].version, /^pgweir /);
        await client.query("COMMIT");
      }
      await fails(client.query("SHOW NOTHING"), "42601");
      assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
    }),

  "postgres.js, told not to ask for types": async () => {
    const sql = postgres(url, { max: 1, onnotice: () => {}, fetch_types: false });
    const rows = await sql`SHOW CONFIG (key, value) WHERE key = ${"pool.size"}`;
    assert.equal(rows[0].value, "3");
    await sql.end();
  },
});
