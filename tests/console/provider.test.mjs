// Logins that are proven elsewhere: at a real OpenID provider, which is another site for the browser, and by a proxy.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, test } from "node:test";
import Provider from "oidc-provider";
import { PATIENCE, freePort, listen, startBrowser, startServer, violations } from "./harness.mjs";

/** The groups of each person at the provider. */
const PEOPLE = { olga: ["staff", "ops"], ada: ["admins"], nora: ["others"] };
const SECRET = "client secret: 100%+";

let server;
let provider;
const errors = [];

/** A provider with these people: `{ issuer, stop, start }`. */
async function startProvider(redirect) {
  const port = await freePort();
  const issuer = `http://localhost:${port}`;
  const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
  const service = new Provider(issuer, {
    clients: [{ client_id: "console", client_secret: SECRET, redirect_uris: [redirect] }],
    claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id, groups: PEOPLE[id] }) }),
    jwks: { keys: [{ ...key, use: "sig", alg: "RS256", kid: "one" }] },
    cookies: { keys: ["of this test"] },
    pkce: { required: () => true },
  });
  service.on("server_error", (_, error) => errors.push(error));
  let http;
  const start = () => new Promise((ready) => (http = service.listen(port, "localhost", ready)));
  const stop = () =>
    new Promise((stopped) => {
      http.close(stopped);
      http.closeAllConnections();
    });
  await start();
  return { issuer, start, stop };
}

before(async () => {
  const listens = `127.0.0.1:${await freePort()}`;
  provider = await startProvider(`http://${listens}/console/`);
  server = await startServer({
    VISAVIS_ADMIN_LISTEN: listens,
    VISAVIS_OIDC_ISSUER: provider.issuer,
    VISAVIS_OIDC_CLIENT_ID: "console",
    VISAVIS_OIDC_CLIENT_SECRET_COMMAND: `echo ${SECRET}`,
    VISAVIS_ADMIN_USER_HEADER: "X-Forwarded-User",
    VISAVIS_ADMIN_GROUPS_HEADER: "X-Forwarded-Groups",
    VISAVIS_ADMIN_LOGIN_PROXIES: "127.0.0.1",
    VISAVIS_ADMIN_VIEWER_GROUPS: "staff",
    VISAVIS_ADMIN_OPERATOR_GROUPS: "ops",
    VISAVIS_ADMIN_ADMINISTRATOR_GROUPS: "admins",
  });
});

after(async () => {
  await provider?.stop();
  assert.equal(await server?.stop(), 0, "the server ends in order");
  assert.deepEqual(errors, [], "the provider has no errors");
});

/** Runs `what` with a page of a new browser that is at the login. */
async function browse(what) {
  const browser = await startBrowser();
  try {
    const page = await browser.context.newPage();
    page.setDefaultTimeout(PATIENCE);
    // The provider's pages want a font from elsewhere.
    await page.route((url) => !["127.0.0.1", "localhost"].includes(url.hostname), (route) => route.abort());
    await page.goto(server.url);
    await signOn(page).waitFor();
    await what(page, browser.context);
  } finally {
    await browser.stop();
  }
}

const signOn = (page) => page.getByRole("button", { name: "Log in with single sign-on" });
const noted = (page) => page.locator(".note");

/** Logs in at the provider as `name`, from the page of the console's login. */
async function logIn(page, name, back = server.url) {
  await signOn(page).click();
  await page.locator("[name=login]").fill(name);
  await page.locator("[name=password]").fill("any");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
  await page.waitForURL(back);
}

async function openAs(page, name, back) {
  await logIn(page, name, back);
  await page.locator("nav").waitFor();
  assert.equal(await page.locator(".who").textContent(), name);
}

test("one logs in at the provider, and the page has no code in its address", () =>
  browse(async (page, context) => {
    assert.deepEqual(await violations(page), []);
    assert.match(await server.run(["check"]), new RegExp(`ok +oidc: ${provider.issuer} responds; its ID tokens can be verified`));
    await openAs(page, "olga");
    const complaints = listen(page);
    assert.equal(page.url(), server.url);
    const links = await page.locator("nav a").allTextContents();
    assert.ok(links.includes("Compare") && links.includes("Clients"), links.join());
    assert.ok(!links.includes("Users") && !links.includes("Account"), links.join());
    await page.reload();
    await page.locator("nav").waitFor();
    const [cookie, ...others] = await context.cookies(server.url);
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ["visavis_console", true, "Strict"]);
    assert.deepEqual(others, [], "the attempt is forgotten");
    assert.deepEqual(complaints, []);
    assert.deepEqual(await violations(page), []);
    // The address that the provider sent the browser to, once more: who is logged in stays so.
    await page.goto(`${server.url}?state=old&code=old`);
    await page.locator("nav").waitFor();
    assert.equal(page.url(), server.url);
  }));

test("one sees after the login what one wanted to see before it", () =>
  browse(async (page) => {
    await page.goto(`${server.url}#transactions`);
    await openAs(page, "olga", `${server.url}#transactions`);
    await page.getByRole("heading", { name: "Transactions" }).waitFor();
  }));

test("who has logged out is logged in again by the provider until one logs out there too", () =>
  browse(async (page) => {
    await openAs(page, "olga");
    await page.getByRole("button", { name: "Log out" }).click();
    await signOn(page).click();
    await page.locator("nav").waitFor();
    await page.getByRole("button", { name: "Log out" }).click();
    const out = page.getByRole("button", { name: "Log out at the provider too" });
    await out.waitFor();
    assert.deepEqual(await violations(page), []);
    await out.click();
    await page.getByRole("button", { name: "Yes, sign me out" }).click();
    await page.getByText("Sign-out Success").waitFor();
    await page.goto(server.url);
    await openAs(page, "ada");
  }));

test("a person whose groups have no role gets a message and can log in as another", () =>
  browse(async (page) => {
    await logIn(page, "nora");
    await noted(page).getByText("None of your groups has a role here").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Log out at the provider too" }).click();
    await page.getByRole("button", { name: "Yes, sign me out" }).click();
    await page.goto(server.url);
    await openAs(page, "olga");
  }));

test("a login that is cancelled, or that another browser began, opens nothing", () =>
  browse(async (page, context) => {
    await signOn(page).click();
    await page.getByText("[ Cancel ]").click();
    await noted(page).getByText("The OpenID provider refused the login").waitFor();
    assert.equal(page.url(), server.url);
    await signOn(page).click();
    await page.locator("[name=login]").waitFor();
    await context.clearCookies({ name: "visavis-login" });
    await page.locator("[name=login]").fill("olga");
    await page.locator("[name=password]").fill("any");
    await page.getByRole("button", { name: "Sign-in" }).click();
    await page.getByRole("button", { name: "Continue" }).click();
    await noted(page).getByText("The login took too long, or began in another browser window").waitFor();
    await signOn(page).click();
    await page.locator("nav").waitFor();
  }));

test("an administrator of the provider sees the sessions and ends one", () =>
  browse(async (operator) => {
    await openAs(operator, "olga");
    await browse(async (page) => {
      await openAs(page, "ada");
      await page.getByRole("link", { name: "Users" }).click();
      const row = page.getByRole("row", { name: /olga.*OpenID Connect/ }).first();
      await row.waitFor();
      assert.deepEqual(await violations(page), []);
      const rows = page.getByRole("row", { name: /olga/ });
      for (let left = await rows.count(); left > 0; left -= 1) {
        await rows.first().getByRole("button").click();
        const others = (before) => [...document.querySelectorAll("tbody tr")].filter((row) => row.textContent.includes("olga")).length < before;
        await page.waitForFunction(others, left);
      }
    });
    await operator.getByRole("link", { name: "Clients" }).click();
    await operator.getByText("The session has expired. Log in again.").waitFor();
  }));

test("while the provider is away the page says so, and works when it is back", () =>
  browse(async (page) => {
    await provider.stop();
    // The server has known where the provider's pages are for a moment.
    await page.waitForTimeout(5_500);
    await signOn(page).click();
    await noted(page).getByText("The OpenID provider does not respond").waitFor();
    await provider.start();
    await page.waitForTimeout(2_500);
    await openAs(page, "olga");
  }));

test("whom a proxy names needs no login and has no way out, and has the role of the groups", async () => {
  const browser = await startBrowser();
  try {
    const page = await browser.context.newPage();
    page.setDefaultTimeout(PATIENCE);
    const complaints = listen(page);
    const named = (groups) => page.setExtraHTTPHeaders({ "X-Forwarded-User": "peter", "X-Forwarded-Groups": groups });
    await named("guests,ops");
    await page.goto(server.url);
    await page.locator("nav").waitFor();
    assert.equal(await page.locator(".who").textContent(), "peter");
    assert.equal(await page.getByRole("button", { name: "Log out" }).count(), 0);
    assert.equal(await page.getByRole("link", { name: "Users" }).count(), 0);
    assert.deepEqual(await violations(page), []);
    await named("admins");
    await page.reload();
    await page.getByRole("link", { name: "Users" }).waitFor();
    assert.deepEqual(complaints, []);
    await named("guests");
    await page.reload();
    await noted(page).getByText("None of your groups has a role here").waitFor();
  } finally {
    await browser.stop();
  }
});
