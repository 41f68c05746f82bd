// A real server with the real models on a folder of its own, and a browser in front of it.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The browser says nothing to anybody but the server under test. */
const QUIET = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A moving test picture instead of a camera, and nobody to ask whether it may be used.
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
];

/** Longer than anything here takes, on a busy machine too. */
export const PATIENCE = 60_000;

export function freePort() {
  return new Promise((found, failed) => {
    const server = createServer();
    server.on("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => found(port));
    });
  });
}

/** The program that the tests built. */
function program() {
  const given = process.env.VISAVIS_TEST_PROGRAM;
  if (!given) throw new Error("VISAVIS_TEST_PROGRAM is not set; run make console-test");
  return given;
}

/** Rejects when that takes longer. */
export async function within(time, promise, complaint) {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(complaint())), time);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A running server: `{ url, token, folder, stop, run, log }`. One that does not start in time, or not to its end, is killed. */
export async function startServer(variables = {}, patience = PATIENCE) {
  const folder = await mkdtemp(join(tmpdir(), "visavis-console-"));
  const listens = variables.VISAVIS_ADMIN_LISTEN ?? `127.0.0.1:${await freePort()}`;
  const env = {
    PATH: process.env.PATH,
    ORT_DYLIB_PATH: process.env.ORT_DYLIB_PATH,
    VISAVIS_MODEL_DIR: process.env.VISAVIS_MODEL_DIR ?? join(ROOT, "models"),
    VISAVIS_MODEL_PACK: process.env.VISAVIS_MODEL_PACK ?? "omz",
    VISAVIS_RUNTIME_DEVICE: "cpu",
    VISAVIS_ADMIN_LISTEN: listens,
    ...variables,
  };
  if (!env.ORT_DYLIB_PATH) delete env.ORT_DYLIB_PATH;
  const visavis = program();
  const server = spawn(visavis, ["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--data", folder], {
    cwd: ROOT,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  let log = "";
  server.stderr.on("data", (bytes) => (log += bytes));
  // However this process ends.
  process.on("exit", () => server.kill("SIGKILL"));
  const ended = new Promise((done) => {
    server.on("exit", done);
    server.on("error", done);
  });
  const stop = async () => {
    server.kill("SIGTERM");
    try {
      return await within(patience, ended, () => `the server does not end: ${log}`);
    } finally {
      // Whatever is left of it does not keep this process.
      server.kill("SIGKILL");
      server.stdout.destroy();
      server.stderr.destroy();
      await rm(folder, { recursive: true, force: true });
    }
  };
  let token;
  try {
    const listens = new Promise((ready, failed) => {
      ended.then((code) => failed(new Error(`the server ended with ${code}: ${log}`)));
      server.stdout.on("data", (bytes) => {
        said += bytes;
        if (/listens on/.test(said)) ready();
      });
    });
    await within(patience, listens, () => `the server does not start: ${log}`);
    const made = await promisify(execFile)(visavis, ["console", "token", "--data", folder], { env, timeout: patience });
    token = made.stdout.trim();
    if (!/^\S{43}$/.test(token)) throw new Error(`visavis console token prints no token: ${token}`);
  } catch (error) {
    server.kill("SIGKILL");
    await stop();
    throw error;
  }
  /** Runs a command on the data folder; returns what it prints. */
  const run = async (command) => {
    const ran = await promisify(execFile)(visavis, [...command, "--data", folder], { env, timeout: patience });
    return ran.stdout;
  };
  return { url: `http://${listens}/console/`, token, folder, stop, run, log: () => log };
}

/** A browser whose profile is new, in this language: `{ context, stop }`. */
export async function startBrowser(locale = "en-US") {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const profile = await mkdtemp(join(tmpdir(), "visavis-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    args: QUIET,
    acceptDownloads: true,
    viewport: { width: 1180, height: 900 },
    locale,
  });
  const stop = async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { context, stop };
}

/** Everything that a page complains about, as it happens. */
export function listen(page) {
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`thrown: ${error}`));
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()} ${request.failure()?.errorText}`));
  return complaints;
}

/** What axe finds wrong with the page, for people who use it in other ways. */
export async function violations(page) {
  const axe = await readFile(join(ROOT, "tests/console/node_modules/axe-core/axe.min.js"), "utf8");
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await axe.run()).violations);
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** Real requests of a page that is logged in, for so many milliseconds, now more and now fewer of them at once. */
export async function keepBusy(page, length) {
  const photo = (name) => readFile(join(ROOT, "samples", `${name}.jpg`), "base64");
  const photos = await Promise.all(["collins", "hopper", "obama-2009"].map(photo));
  await page.evaluate(
    async ([all, length]) => {
      const headers = { "X-Visavis-Console": "1", "Content-Type": "application/json" };
      const begun = performance.now();
      for (let i = 0; performance.now() - begun < length; i += 1) {
        const many = 1 + (Math.floor((performance.now() - begun) / 12_000) % 3);
        const call = (k) => {
          const face2 = (i + k) % 17 === 0 ? "AAAA" : all[(i + k + 1) % all.length];
          const body = JSON.stringify({ face1: all[(i + k) % all.length], face2 });
          return fetch("api/compare", { method: "POST", headers, body });
        };
        await Promise.all(Array.from({ length: many }, (_, k) => call(k)));
      }
    },
    [photos, length],
  );
}
