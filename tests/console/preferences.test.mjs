// The language and the theme of the console, in real browsers of several languages.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PATIENCE, listen, startBrowser, startServer } from "./harness.mjs";

let server;

before(async () => {
  server = await startServer();
});

after(async () => {
  assert.equal(await server?.stop(), 0, "the server ends in order");
});

/** Runs `what` with a page of a new browser in this language. */
async function browse(locale, what) {
  const browser = await startBrowser(locale);
  try {
    const page = await browser.context.newPage();
    page.setDefaultTimeout(PATIENCE);
    const complaints = listen(page);
    await page.goto(server.url);
    await page.locator("#token").waitFor();
    await what(page);
    assert.deepEqual(complaints, [], "nothing is blocked, missing or thrown");
  } finally {
    await browser.stop();
  }
}

async function logIn(page) {
  await page.locator("#token").fill(server.token);
  await page.locator("button[type=submit]").click();
  await page.locator("nav").waitFor();
}

/** The language of the page, its heading, and a number and a date as the page writes them. */
function shown(page) {
  return page.evaluate(async () => {
    const { moment, number } = await import(new URL("assets/dom.js", location).href);
    const date = moment(Date.UTC(2026, 4, 17, 12), { dateStyle: "long", timeZone: "UTC" }).textContent;
    return [document.documentElement.lang, document.querySelector("h1").textContent, number(0.5), date];
  });
}

const ENGLISH = ["en", "Visavis console", "0.5", "May 17, 2026"];
const CHINESE = ["zh-Hans", "Visavis 控制台", "0.5", "2026年5月17日"];
const INDONESIAN = ["id", "Konsol Visavis", "0,5", "17 Mei 2026"];

test("the page is in the language of the browser, and in English for any other", async () => {
  for (const [locale, expected] of [["zh-CN", CHINESE], ["id-ID", INDONESIAN], ["en-US", ENGLISH], ["fr-FR", ENGLISH]]) {
    await browse(locale, async (page) => assert.deepEqual(await shown(page), expected, locale));
  }
});

test("dates are in the browser's own variety of the language", () =>
  browse("en-GB", async (page) => assert.deepEqual((await shown(page)).at(-1), "17 May 2026")));

test("the language is chosen before the login and after it, and the choice is kept", () =>
  browse("zh-CN", async (page) => {
    await page.locator("#language").selectOption({ label: "Bahasa Indonesia" });
    await page.getByLabel("Bahasa").waitFor();
    assert.deepEqual(await shown(page), INDONESIAN);
    await logIn(page);
    await page.goto(`${server.url}#transactions`);
    await page.getByRole("heading", { name: "Transaksi" }).waitFor();
    await page.getByLabel("Bahasa").selectOption({ label: "English" });
    await page.getByRole("heading", { name: "Transactions" }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Transactions" }).waitFor();
    assert.deepEqual(await page.evaluate(() => ({ ...localStorage })), { "visavis.language": "en" });
  }));

test("the theme is that of the system or the chosen one, before the page has run its modules", () =>
  browse("en-US", async (page) => {
    const isDark = () => page.evaluate(() => Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0]) < 128);
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      assert.equal(await isDark(), colorScheme === "dark");
    }
    await page.getByLabel("Theme").selectOption("dark");
    assert.ok(await isDark());
    await page.route("**/main.js", (route) => route.fulfill({ contentType: "text/javascript", body: "" }));
    // The icon is loaded after the page; loading the page again would end that.
    await page.reload({ waitUntil: "networkidle" });
    assert.ok(await isDark());
    await page.unroute("**/main.js");
    await page.emulateMedia({ colorScheme: "dark" });
    await page.reload();
    await page.getByLabel("Theme").selectOption("light");
    assert.ok(!(await isDark()));
    await page.getByLabel("Theme").selectOption("system");
    assert.ok(await isDark());
  }));
