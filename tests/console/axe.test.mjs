// Every page, dialog and error of the console, without barriers: in each language, light and dark.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PATIENCE, ROOT, startBrowser, startServer, violations } from "./harness.mjs";

const PASSWORD = "correct horse battery";

let server;

before(async () => {
  server = await startServer();
  await server.run(["client", "add", "shop", "--out", join(server.folder, "shop.json")]);
});

after(async () => {
  assert.equal(await server?.stop(), 0, "the server ends in order");
});

/** Goes through all states in one language; `name` is that of the administrator that it creates. */
async function tour(locale, name) {
  const browser = await startBrowser(locale);
  const page = await browser.context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const found = [];
  const look = async (state) => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      found.push(...(await violations(page)).map((one) => `${state}, ${colorScheme}: ${one}`));
    }
  };
  const go = async (hash, ready) => {
    await page.goto(`${server.url}#${hash}`);
    await page.locator(ready).first().waitFor();
  };
  const submit = () => page.locator("dialog button[type=submit]").click();
  const close = async () => {
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
  };
  const enter = async (button, state) => {
    await button.click();
    await page.locator("dialog[open]").waitFor();
    await look(state);
  };
  try {
    await page.goto(server.url);
    await page.locator("#token, #name").first().waitFor();
    await look("login");
    const token = (await server.run(["console", "token"])).trim();
    if (!(await page.locator("#token").count())) await page.locator("form button").last().click();
    await page.locator("#token").fill("wrong");
    await page.locator("button[type=submit]").click();
    await page.getByRole("alert").waitFor();
    await look("wrong token");
    await page.locator("#token").fill(token);
    await page.locator("button[type=submit]").click();
    await enter(page.locator(".first button"), "administrator");
    await page.locator("#user-name").fill(name);
    await page.locator("#new-password").fill("short");
    await submit();
    await page.locator("dialog [role=alert]").waitFor();
    await look("administrator, refused");
    await page.locator("#new-password").fill(PASSWORD);
    await submit();
    await page.locator("#name").fill(name);
    await page.locator("#password").fill(PASSWORD);
    await page.locator("button[type=submit]").click();
    await page.locator(".slots").waitFor();
    await look("compare");

    await page.locator(".options button").click();
    await page.getByRole("alert").waitFor();
    await look("compare, photos missing");
    await page.setInputFiles("#file-1", join(ROOT, "samples/obama-2012.jpg"));
    await page.setInputFiles("#file-2", join(ROOT, "Cargo.toml"));
    await page.locator(".slot [role=alert]").waitFor();
    await page.locator(".findings").waitFor();
    await page.locator(".options button").click();
    await page.locator(".verdict").waitFor();
    await page.locator(".working").waitFor({ state: "detached" });
    await look("compare, photo refused");
    await page.setInputFiles("#file-2", join(ROOT, "samples/obama-2009.jpg"));
    await page.waitForFunction(() => document.querySelectorAll(".findings").length === 2);
    await page.locator(".options button").click();
    await page.locator(".scale").waitFor();
    for (const fold of await page.locator("summary").all()) await fold.click();
    await look("compare, compared");
    await page.locator(".take button").first().click();
    await page.waitForFunction(() => document.querySelector("dialog video")?.videoWidth > 0);
    await look("camera");
    await close();

    const id = await page.locator(".verdict a.id").textContent();
    await go(`transactions/${id}`, ".verdict");
    await page.locator("summary").first().click();
    await look("transaction");
    await go("transactions/nonsense", "[role=alert]");
    await look("unknown transaction");
    await go("transactions", ".transactions tbody tr");
    await look("transactions");
    await go("live", ".cards");
    await look("live");
    await go("audit", "table.audit tbody tr");
    await look("audit");

    await go("clients", ".clients tbody tr");
    await look("clients");
    await enter(page.locator(".heading button"), "add a client");
    await page.locator("#client-name").fill("shop");
    await submit();
    await page.locator("dialog [role=alert]").waitFor();
    await look("add a client, refused");
    await page.locator("#client-name").fill(`${name}-app`);
    await submit();
    await page.locator("dialog .keys").waitFor();
    await look("keys");
    await close();
    const row = page.locator(".clients tbody tr").filter({ hasText: `${name}-app` });
    await row.waitFor();
    for (const [i, state] of ["rotate keys", "change a client", "disable a client"].entries()) {
      await enter(row.locator("button").nth(i), state);
      await close();
    }

    await go("users", ".users tbody tr");
    await look("users");
    await enter(page.locator(".heading button"), "add a user");
    await page.locator("#user-name").fill(name);
    await page.locator("#new-password").fill(PASSWORD);
    await submit();
    await page.locator("dialog [role=alert]").waitFor();
    await look("add a user, refused");
    await close();
    const user = page.locator(".users tbody tr").last();
    for (const [i, state] of ["change a user", "disable a user", "delete a user"].entries()) {
      await enter(user.locator("button").nth(i), state);
      await close();
    }
    await go("account", ".own");
    await look("account");
    await enter(page.locator(".own button").first(), "change the password");
    await close();
    await enter(page.locator(".own button").nth(1), "set up codes");
    await close();
    await page.setViewportSize({ width: 390, height: 800 });
    for (const hash of ["compare", "live", "clients", "transactions", "audit", "users", "account"]) {
      await go(hash, `nav a[href="#${hash}"][aria-current=page]`);
      await look(`${hash} on a phone`);
    }
  } finally {
    await browser.stop();
  }
  assert.deepEqual(found, []);
}

for (const [locale, name] of [["en-US", "ann"], ["zh-CN", "wei"], ["id-ID", "sari"]]) {
  test(`no barriers in the console: ${locale}`, () => tour(locale, name));
}
