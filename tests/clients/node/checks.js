// Counts what a driver's script asserts, and ends the script with the line that the runner reads.

import assert from "node:assert/strict";

export const url = process.env.DATABASE_URL;
const limitSeconds = 60;

/** Runs each named function; each opens and closes its own connections. */
export async function run(driver, checks) {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    let timer;
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("hung")), limitSeconds * 1000);
    });
    try {
      await Promise.race([check(), limit]);
    } catch (error) {
      failed += 1;
      console.log(`${driver}: FAILED ${name}\n${error.stack}`);
    }
    clearTimeout(timer);
  }
  const passed = Object.keys(checks).length - failed;
  console.log(`${driver}: ${passed} checks passed${failed ? `, ${failed} failed` : ""}`);
  process.exit(failed ? 1 : 0);
}

/** The promise must fail with this SQLSTATE; returns the error. */
export async function fails(promise, code) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code, error.stack);
    return error;
  }
  return assert.fail(`no error ${code}`);
}

export const numbers = (count) => Array.from({ length: count }, (_, n) => n);
