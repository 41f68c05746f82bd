// The pictures of docs/CONSOLE.md: `make console-shots`.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PATIENCE, ROOT, keepBusy, startBrowser, startServer } from "./harness.mjs";

const folder = join(ROOT, "docs/console");
const sample = (name) => join(ROOT, "samples", `${name}.jpg`);
/** Enough for the lines of the live page. */
const BUSY_MS = Number(process.env.SHOTS_BUSY_MS ?? 100_000);

const server = await startServer();
const browser = await startBrowser();
try {
  await mkdir(folder, { recursive: true });
  const page = await browser.context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const shoot = (name, options) => page.screenshot({ path: join(folder, name), animations: "disabled", ...options });
  const photo = { type: "jpeg", quality: 72 };

  await page.setViewportSize({ width: 1100, height: 1290 });
  await page.goto(server.url);
  await page.getByLabel("Token").fill(server.token);
  await page.keyboard.press("Enter");
  await page.locator(".slots").waitFor();
  await compare("obama-2012", "obama-2009");
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot("compare.jpg", photo);

  await page.setViewportSize({ width: 390, height: 1500 });
  await page.emulateMedia({ colorScheme: "dark" });
  await compare("collins", "hopper");
  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await shoot("phone.jpg", photo);
  await page.emulateMedia({ colorScheme: "light" });

  await page.setViewportSize({ width: 1100, height: 600 });
  for (const [name, fmr] of [["branch-kiosk", ""], ["mobile-onboarding", "1e-6"], ["call-centre", "1e-4"]]) {
    await page.goto(`${server.url}#clients`);
    await page.getByRole("button", { name: "Add a client" }).click();
    await page.getByLabel("Name", { exact: true }).fill(name);
    await page.getByLabel("False match rate", { exact: true }).fill(fmr);
    await page.locator("dialog").getByRole("button", { name: "Add a client" }).click();
    await page.getByRole("button", { name: "I have them" }).click();
  }
  await page.getByRole("button", { name: "Disable call-centre" }).click();
  await page.locator("dialog").getByRole("button", { name: "Disable" }).click();
  await page.locator(".badge.bad").waitFor();
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.evaluate(() => document.activeElement.blur());
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot("clients.png");

  await keepBusy(page, BUSY_MS);
  await page.setViewportSize({ width: 1100, height: 960 });
  await page.goto(`${server.url}#live`);
  await page.locator(".cards").first().waitFor();
  await page.waitForTimeout(6_000);
  await shoot("live.png");

  async function compare(one, other) {
    await page.setInputFiles("#file-1", sample(one));
    await page.setInputFiles("#file-2", sample(other));
    await page.waitForFunction(() => document.querySelectorAll(".findings").length === 2);
    await page.getByRole("button", { name: "Compare", exact: true }).click();
    await page.locator(".working").waitFor({ state: "detached" });
    await page.locator(".verdict").waitFor();
    await page.evaluate(() => document.activeElement.blur());
  }
} finally {
  await browser.stop();
  await server.stop();
}
