// What the tests start does not outlive them, whatever goes wrong.

import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startServer } from "./harness.mjs";

/** Runs something with a program in the place of the server; what it came to, and whether the program is gone. */
async function instead(script, what) {
  const folder = await mkdtemp(join(tmpdir(), "visavis-harness-"));
  const before = process.env.VISAVIS_TEST_PROGRAM;
  try {
    const program = join(folder, "program");
    await writeFile(program, `#!/bin/sh\nif [ $1 = serve ]; then echo $$ > ${folder}/pid; fi\n${script}\n`);
    await chmod(program, 0o755);
    process.env.VISAVIS_TEST_PROGRAM = program;
    await what();
    const pid = Number(await readFile(join(folder, "pid"), "utf8"));
    // A process that was killed may take a moment to go.
    for (let n = 0; n < 100; n += 1) {
      try {
        process.kill(pid, 0);
      } catch {
        return;
      }
      await new Promise((done) => setTimeout(done, 20));
    }
    assert.fail(`${pid} still runs`);
  } finally {
    if (before === undefined) delete process.env.VISAVIS_TEST_PROGRAM;
    else process.env.VISAVIS_TEST_PROGRAM = before;
    await rm(folder, { recursive: true, force: true });
  }
}

test("a server that says nothing is killed", () =>
  instead("trap '' TERM\nwhile :; do sleep 0.1; done", () => assert.rejects(startServer({}, 500), /does not start/)));

test("one that ends is told with its code", () =>
  instead("echo broken >&2; exit 3", () => assert.rejects(startServer({}, 5_000), /ended with 3/)));

test("one that makes no token is killed", () => {
  const script = "if [ $1 = console ]; then exit 2; fi\ntrap '' TERM\necho Visavis listens on nothing\nwhile :; do sleep 0.1; done";
  return instead(script, () => assert.rejects(startServer({}, 2_000), /console token/));
});

test("one that does not end when it is told to is killed", () => {
  const token = "x".repeat(43);
  const told = `if [ $1 = console ]; then echo ${token}; exit; fi`;
  return instead(`${told}\ntrap '' TERM\necho Visavis listens on nothing\nwhile :; do sleep 0.1; done`, async () => {
    const server = await startServer({}, 2_000);
    await assert.rejects(server.stop(), /does not end/);
  });
});
