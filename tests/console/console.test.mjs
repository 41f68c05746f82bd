// The console in a real browser, in front of the real program with the real models.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { access, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import jsQR from "jsqr";
import { PATIENCE, ROOT, listen, startBrowser, startServer, violations } from "./harness.mjs";

// The packs of package registries measure neither the pitch of the head nor eyes, and have no table of
// degradations.
const IS_OF_REGISTRIES = (process.env.VISAVIS_MODEL_PACK ?? "omz").startsWith("mobilefacenet");
const MEASURES = IS_OF_REGISTRIES ? 25 : 27;

const sample = (name) => join(ROOT, "samples", `${name}.jpg`);

let server;
let browser;
let page;
/** What the page complained about since it was opened. */
let complaints;

before(async () => {
  // If one does not start, the other is stopped all the same.
  const starts = await Promise.allSettled([startServer(), startBrowser()]);
  [server, browser] = starts.map((start) => start.value);
  for (const { reason } of starts) if (reason) throw reason;
  page = await browser.context.newPage();
  page.setDefaultTimeout(PATIENCE);
  complaints = listen(page);
  // As long as somebody listens, a chooser is reported and not opened.
  page.on("filechooser", () => {});
});

after(async () => {
  try {
    await browser?.stop();
  } finally {
    const code = await server?.stop();
    assert.equal(code, 0, "the server ends in order");
  }
});

beforeEach(() => complaints.splice(0));

function quiet() {
  assert.deepEqual(complaints, [], "nothing is blocked, missing or thrown");
}

async function go(name) {
  await page.goto(`${server.url}#${name}`);
  await page.locator(`nav a[href="#${name.split("/")[0]}"][aria-current=page]`).waitFor();
}

const CLIENTS = "**/api/clients";

/** Lists every client with these members, until the route to CLIENTS is removed. */
function withClients(members) {
  return page.route(CLIENTS, async (route) => {
    const body = await (await route.fetch()).json();
    for (const client of body.clients) Object.assign(client, members);
    await route.fulfill({ json: body });
  });
}

/** No part of the page lies beyond its right edge. */
async function fits() {
  const beyond = await page.evaluate(() => {
    if (document.documentElement.scrollWidth <= innerWidth) return [];
    const all = [...document.body.querySelectorAll("*")].filter((at) => !at.closest(".scroll"));
    const out = all.filter((at) => at.getBoundingClientRect().right > innerWidth);
    return [location.hash, innerWidth, ...out.map((at) => `${at.tagName}.${at.className}`)];
  });
  assert.deepEqual(beyond, []);
}

/** A photo that is drawn by a function of a canvas and pictures of samples. */
async function drawn(names, draw) {
  const urls = await Promise.all(
    names.map(async (name) => `data:image/jpeg;base64,${(await readFile(sample(name))).toString("base64")}`),
  );
  const blank = await browser.context.newPage();
  const url = await blank.evaluate(`(async () => {
    const load = async (url) => createImageBitmap(await (await fetch(url)).blob());
    const canvas = document.createElement("canvas");
    (${draw})(canvas, ...(await Promise.all(${JSON.stringify(urls)}.map(load))));
    return canvas.toDataURL("image/jpeg", 0.9);
  })()`);
  await blank.close();
  return { name: "drawn.jpg", mimeType: "image/jpeg", buffer: Buffer.from(url.split(",")[1], "base64") };
}

/** Names of samples, or drawn photos. */
async function choose(one, other) {
  const file = (photo) => (typeof photo === "string" ? sample(photo) : photo);
  await page.setInputFiles("#file-1", file(one));
  await page.setInputFiles("#file-2", file(other));
  await page.waitForFunction(() => document.querySelectorAll(".findings").length === 2);
}

async function compare() {
  await page.getByRole("button", { name: "Compare", exact: true }).click();
  await page.locator(".verdict").waitFor();
  await page.locator(".working").waitFor({ state: "detached" });
}

/** The contrast of an element's text against the first background behind it that is not transparent. */
function contrasts(selectors) {
  return page.evaluate((all) => {
    const light = ([r, g, b]) => {
      const linear = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = parts(getComputedStyle(at).backgroundColor);
        if (colour[3] !== 0) return colour;
      }
      return [255, 255, 255];
    };
    return all.flatMap((selector) =>
      [...document.querySelectorAll(selector)].map((element) => {
        const [one, other] = [light(parts(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        return { selector, ratio };
      }),
    );
  }, selectors);
}

async function readable() {
  const found = await contrasts(["h1", ".lead", "nav a", "button", ".badge", ".verdict h2", "dt", "dd", "small", "legend", "footer p", "summary"]);
  assert.ok(found.length > 10);
  const poor = found.filter(({ ratio }) => ratio < 4.5);
  assert.deepEqual(poor, [], "text can be read");
}

test("a wrong token opens nothing and says so", async () => {
  await page.goto(server.url);
  const token = page.getByLabel("Token");
  await token.waitFor();
  quiet();
  assert.equal(await page.evaluate(() => document.activeElement.id), "token");
  await token.fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /Wrong token/);
  assert.equal(await page.locator("nav").count(), 0);
  // The browser itself reports the refusal.
  assert.equal(complaints.filter((text) => !text.includes("401")).length, 0);
});

test("the token opens the console, and the cookie is out of reach of scripts", async () => {
  await page.getByLabel("Token").fill(server.token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Compare two photos" }).waitFor();
  assert.equal(await page.evaluate(() => document.cookie), "");
  const [cookie] = await browser.context.cookies();
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
  assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0);
  quiet();
});

test("two photos of one person: boxes, measures, scale, verdict, and what went over the wire", async () => {
  await choose("obama-2012", "obama-2009");
  for (const place of [0, 1]) {
    const slot = page.locator(".slot").nth(place);
    assert.equal(await slot.locator("svg .landmark").count(), 5);
    // The box lies on the photo as the browser shows it.
    const [photo, box] = await Promise.all([slot.locator("img").boundingBox(), slot.locator("svg .box").boundingBox()]);
    assert.ok(box.width > photo.width / 8 && box.width < photo.width, JSON.stringify({ photo, box }));
    assert.ok(box.x >= photo.x && box.x + box.width <= photo.x + photo.width, JSON.stringify({ photo, box }));
    assert.match(await slot.locator(".badge").textContent(), /Quality PASS/);
    await slot.getByText("All measures").click();
    assert.equal(await slot.locator(".measures tbody tr").count(), MEASURES);
    assert.match(await slot.locator(".measures").textContent(), /Sharpness.*FAIL < 1.5/);
  }
  await compare();
  assert.equal(await page.locator(".verdict h2").textContent(), "Same person");
  const score = Number(await page.locator(".score strong").textContent());
  assert.ok(score > 95 && score < 100, `${score}`);
  const left = (selector) => page.locator(selector).evaluate((element) => parseFloat(element.style.insetInlineStart));
  assert.equal(await left(".scale .pointer"), score);
  assert.equal(await left(".scale .threshold"), 80);
  const marks = await page.locator(".scale .marks").first().textContent();
  assert.equal(marks, "1e-31e-41e-51e-6");
  const facts = await page.locator(".verdict .facts").textContent();
  assert.match(facts, /Signature of the responsevalid/);
  await page.getByText("Request as signed").click();
  const request = await page.locator(".wire pre").first().textContent();
  for (const part of ["POST /api/v1/zoloz/facecompare/compare HTTP/1.1", "Auth-Type: AKSK", "Signature: ", '"bizId":']) {
    assert.ok(request.includes(part), request);
  }
  assert.ok(request.length < 1000, "pictures are shortened");
  await page.getByText("Response as received").click();
  const answer = await page.locator(".wire pre").last().textContent();
  assert.match(answer, /Signature: .*"resultCode":"SUCCESS".*"samePerson":true/s);
  const said = await page.locator("[aria-live=polite].hidden").textContent();
  assert.equal(said, "Same person");
  quiet();
});

test("two people are told apart, and a document is held to its own limits", async () => {
  await choose("collins", "hopper");
  await page.getByLabel("Photo 2 is").selectOption("document");
  await page.getByLabel("Document code").waitFor();
  await compare();
  assert.equal(await page.locator(".verdict h2").textContent(), "Not the same person");
  await page.getByText("Request as signed").click();
  assert.match(await page.locator(".wire pre").first().textContent(), /"sourceOfFace2":"DOCUMENT"/);
  quiet();
});

test("a blurred photo gives no reliable result, in a neutral colour, with code, limit and what to do", async () => {
  const blurred = await drawn(["obama-2012"], (canvas, photo) => {
    Object.assign(canvas, { width: photo.width, height: photo.height });
    const pen = canvas.getContext("2d");
    pen.filter = `blur(${photo.width / 60}px)`;
    pen.drawImage(photo, 0, 0);
  });
  await choose(blurred, "obama-2009");
  const reasons = await page.locator(".slot").first().locator(".reasons").textContent();
  assert.match(reasons, /FAIL BLURRED The photo is blurred\. Sharpness [\d.]+ is below the minimum of 1\.5\. Hold the camera still/);
  await compare();
  assert.equal(await page.locator(".verdict h2").textContent(), "No reliable result: photo 1 is blurred");
  const ink = () => page.evaluate(() => getComputedStyle(document.querySelector("dd")).color);
  const colour = await page.locator(".verdict h2").evaluate((element) => getComputedStyle(element).color);
  assert.equal(colour, await ink(), "neither red nor green");
  assert.equal(await page.locator(".scale.neutral").count(), 1);
  assert.doesNotMatch(await page.locator(".verdict").textContent(), /pairs of different people/);
  quiet();
});

test("what a pair lost because both photos are degraded alike is shown", async () => {
  const squares = (canvas, photo) => {
    Object.assign(canvas, { width: photo.width, height: photo.height });
    const pen = canvas.getContext("2d");
    const [width, height] = [photo.width / 9, photo.height / 9].map(Math.round);
    pen.drawImage(photo, 0, 0, width, height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(canvas, 0, 0, width, height, 0, 0, photo.width, photo.height);
  };
  await choose(await drawn(["obama-2012"], squares), await drawn(["hopper"], squares));
  await compare();
  const lost = page.locator(".verdict .facts div", { hasText: "Lost because both photos are degraded alike" });
  if (IS_OF_REGISTRIES) assert.equal(await lost.count(), 0);
  else assert.ok(Number(await lost.locator("dd").textContent()) > 0.05);
  quiet();
});

test("a file that is no photo is refused in words", async () => {
  await page.setInputFiles("#file-2", join(ROOT, "Cargo.toml"));
  await page.locator(".slot").nth(1).getByRole("alert").waitFor();
  assert.match(await page.locator(".slot").nth(1).getByRole("alert").textContent(), /not a JPEG/);
  await compare();
  assert.match(await page.locator(".verdict").textContent(), /UNABLE_GET_IMAGE/);
  // The browser cannot show it either, which is no complaint about the page.
});

test("a photo is taken with the camera", async () => {
  await page.getByRole("button", { name: "Camera" }).first().click();
  const shoot = page.getByRole("button", { name: "Take photo" });
  await page.waitForFunction(() => document.querySelector("dialog video")?.videoWidth > 0);
  await shoot.click();
  await page.locator("dialog").waitFor({ state: "detached" });
  // The test picture of the browser shows nobody.
  await page.locator(".slot").first().getByRole("alert").waitFor();
  assert.match(await page.locator(".slot").first().getByRole("alert").textContent(), /No face/);
  quiet();
});

test("the live page counts what was asked", async () => {
  // The server has just started, and a line needs two readings of the queue.
  const hasLine = async () => {
    const response = await fetch("api/live", { headers: { "X-Visavis-Console": "1" } });
    const { points } = await response.json();
    const jobs = points.slice(0, -1).map((point) => point.jobs);
    return jobs.some((one, number) => number > 0 && one !== null && jobs[number - 1] !== null);
  };
  const end = Date.now() + 20_000;
  while (!(await page.evaluate(hasLine))) {
    assert.ok(Date.now() < end, "the queue is read every second");
    await page.waitForTimeout(200);
  }
  await go("live");
  await page.locator(".cards").first().waitFor();
  const row = page.locator(".cards").first().locator("tbody tr").filter({ hasText: "compare" });
  assert.match(await row.textContent(), /SUCCESS 4/);
  assert.match(await row.textContent(), /UNABLE_GET_IMAGE 1/);
  assert.equal(await page.locator(".chart").count(), 4);
  assert.ok((await page.locator(".chart path").count()) >= 4);
  const [errors, refused] = await row.locator("td").evaluateAll((cells) =>
    ["Errors", "Photos refused"].map((label) => cells.find((cell) => cell.dataset.label === label).textContent),
  );
  assert.deepEqual([errors, refused], ["0", "1"], "a photo without a face is no error");
  const queue = page.locator(".chart", { hasText: "Jobs queued or running" }).locator("path.line0").last();
  assert.ok((await queue.getAttribute("d")).includes("L"), "the queue has a history when the page opens");
  await page.waitForResponse((response) => response.url().endsWith("/api/live"));
  quiet();
});

test("a client is added, its keys are shown once, and it is changed, given new keys, disabled and enabled", async () => {
  await go("clients");
  await page.getByRole("button", { name: "Add a client" }).click();
  await page.getByLabel("Name", { exact: true }).fill("shop");
  await page.getByLabel("False match rate", { exact: true }).fill("1e-6");
  await page.locator("dialog").getByRole("button", { name: "Add a client" }).click();
  await page.getByRole("heading", { name: "shop is registered" }).waitFor();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: "Download shop.json" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "shop.json");
  const file = JSON.parse(await readFile(await download.path(), "utf8"));
  assert.equal(file.keyVersion, 1);
  assert.ok(file.merchantPrivateKey && file.secretKey && file.clientId);
  await page.getByRole("button", { name: "I have them" }).click();
  const row = page.locator(".clients tbody tr").filter({ hasText: "shop" });
  await row.waitFor();
  assert.match(await row.textContent(), /1e-6/);
  assert.ok(!(await page.content()).includes(file.secretKey), "the keys are gone");

  await page.getByRole("button", { name: "Change shop" }).click();
  assert.match(await page.locator("#field-fmr-hint").textContent(), /empty: the default, 1e-5/);
  assert.match(await page.locator("#field-ratePerS-hint").textContent(), /empty: the default, unlimited/);
  await page.getByLabel("All fields in responses").uncheck();
  await page.getByLabel("Photos of several people").selectOption("refuse");
  await page.getByLabel("False match rate", { exact: true }).fill("nonsense");
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("dialog").getByRole("alert").waitFor();
  assert.match(await page.locator("dialog").getByRole("alert").textContent(), /between 1e-6 and 1e-1/);
  const rate = page.getByLabel("False match rate", { exact: true });
  assert.ok(await rate.evaluate((control) => control === document.activeElement && control.ariaInvalid === "true"));
  const described = await rate.evaluate((control) => control.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).textContent));
  assert.match(described.join(" "), /between 1e-6 and 1e-1/, "the error is at its field");
  await page.getByLabel("False match rate", { exact: true }).fill("");
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.match(await row.textContent(), /documented/);
  assert.match(await row.textContent(), /Several faces refuse/);
  assert.doesNotMatch(await row.textContent(), /FMR/, "what is as configured is not listed");

  await page.getByRole("button", { name: "Change shop" }).click();
  assert.equal(await page.getByLabel("Photos of several people").inputValue(), "refuse");
  await page.getByLabel("Photos of several people").selectOption("default");
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.doesNotMatch(await row.textContent(), /Several faces/);

  await page.getByRole("button", { name: "New keys for shop" }).click();
  await page.getByLabel("Old keys remain valid for").selectOption("3600");
  await page.getByRole("button", { name: "Issue new keys" }).click();
  await page.getByRole("heading", { name: "shop has new keys" }).waitFor();
  await page.getByText("The old keys remain valid until").waitFor();
  await page.keyboard.press("Escape");
  await row.getByText("v2").waitFor();

  await page.getByRole("button", { name: "Disable shop" }).click();
  await page.locator("dialog").getByRole("button", { name: "Disable" }).click();
  await row.getByText("disabled").waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Enable shop" }).click();
  await row.getByText("active").waitFor();

  await page.getByRole("button", { name: "Add a client" }).click();
  await page.locator("#client-name").fill("old app");
  await page.getByLabel("Comparisons per day").fill("1000");
  await page.locator("dialog").getByRole("button", { name: "Add a client" }).click();
  await page.getByRole("heading", { name: "old app is registered" }).waitFor();
  await page.keyboard.press("Escape");
  const old = page.locator("tbody tr").filter({ hasText: "old app" });
  await old.getByText("1000 (0 today)").waitFor();
  await withClients({ comparisonsToday: 1234 });
  await go("live");
  await go("clients");
  await old.getByText("1000 (1234 today)", { exact: false }).waitFor();
  await page.unroute(CLIENTS);
  await page.getByRole("button", { name: "Disable old app" }).click();
  await page.locator("dialog").getByRole("button", { name: "Disable" }).click();
  await page.getByRole("button", { name: "Delete old app" }).click();
  assert.deepEqual(await violations(page), []);
  await page.locator("dialog").getByRole("button", { name: "Delete" }).click();
  await old.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.id), "client-search");
  complaints = complaints.filter((text) => !text.includes("400"));
  quiet();
});

test("a transaction is looked up, and one that is not there is not", async () => {
  await go("compare");
  await choose("obama-2012", "hopper");
  await compare();
  await page.locator(".verdict a.id").click();
  await page.getByRole("heading", { name: "Transaction", exact: true }).waitFor();
  await page.locator(".facts").waitFor();
  const text = await page.locator("main").textContent();
  assert.match(text, /Not the same person/);
  assert.match(text, /Statedone/);
  assert.equal(await page.locator(".verdict .scale").count(), 1);
  assert.equal(await page.locator(".findings").count(), 2, "quality of both photos, which are gone");
  assert.equal(await page.locator("main img").count(), 0);
  quiet();
  await page.getByRole("link", { name: "All transactions" }).click();
  await page.getByLabel("Transaction id").fill("G000000000FID20200101000000000000000000");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /does not exist/);
});

test("transactions are searched for, and saved for a spreadsheet", async () => {
  await go("compare");
  await choose("obama-2012", "obama-2009");
  await compare();
  const id = await page.locator(".verdict a.id").textContent();
  await go("transactions");
  const rows = page.locator(".transactions tbody tr");
  await rows.first().waitFor();
  const all = await rows.count();
  await page.getByLabel("Verdict").selectOption("same");
  await page.getByLabel("Score from").fill("80");
  await page.getByRole("button", { name: "Search" }).click();
  await page.waitForFunction((before) => document.querySelectorAll(".transactions tbody tr").length < before, all);
  const results = await rows.locator(".badge").allTextContents();
  assert.deepEqual([...new Set(results)], ["Same person"]);
  assert.equal(await rows.first().locator("th a").getAttribute("title"), id, "the newest is the first");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download CSV" }).click(),
  ]);
  const lines = (await readFile(await download.path(), "utf8")).trim().split("\r\n");
  assert.equal(lines.length, 1 + results.length);
  assert.ok(lines[1].startsWith(`"${id}"`), lines[1]);
  await page.getByLabel("Accepted before").fill("2020-01-01T00:00");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("No transactions match.").waitFor();
  quiet();
});

test("the audit shows who did what with which outcome, by filter and as a file", async () => {
  await go("audit");
  const rows = page.locator("table.audit tbody tr");
  await rows.first().waitFor();
  assert.ok((await rows.count()) > 3);
  const added = rows.filter({ hasText: "client add" }).filter({ hasText: "shop" }).first();
  assert.match(await added.textContent(), /token.*127\.0\.0\.1.*token.*client add.*shop \(\d{16}\).*done.*name=shop/);
  await page.getByLabel("Action").fill("client rotate");
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForFunction(() =>
    [...document.querySelectorAll("table.audit tbody tr")].every((row) => row.textContent.includes("client rotate")),
  );
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download CSV" }).click();
  const file = await readFile(await (await download).path(), "utf8");
  const [head, ...lines] = file.trimEnd().split("\r\n");
  assert.equal(head, "time,at,who,from,proof,act,subject,client,outcome,detail");
  assert.ok(lines.length > 0 && lines.every((line) => line.includes('"client rotate"')), file);
  await page.getByLabel("Action").fill("nothing");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("No entry matches.").waitFor();
  quiet();
});

test("clients are found by a part of the name or of the Client-Id", async () => {
  await go("clients");
  const rows = page.locator(".clients tbody tr:not([hidden])");
  await rows.filter({ hasText: "shop" }).waitFor();
  assert.equal(await rows.count(), 2);
  await page.getByLabel("Search by name or Client-Id").fill("SHO");
  assert.deepEqual(await rows.locator("th").allTextContents(), ["shop"]);
  const id = await rows.locator("code").textContent();
  await page.getByLabel("Search by name or Client-Id").fill("none of them");
  await page.getByText("No client matches.").waitFor();
  assert.equal(await rows.count(), 0);
  await page.getByLabel("Search by name or Client-Id").fill(id.slice(4));
  assert.deepEqual(await rows.locator("th").allTextContents(), ["shop"]);
  quiet();
});

test("in a small window, the buttons of a dialog are in sight before it is scrolled", async () => {
  await page.setViewportSize({ width: 1280, height: 720 });
  await go("clients");
  await page.getByRole("button", { name: "Change shop" }).waitFor();
  for (const open of ["Add a client", "Change shop"]) {
    await page.getByRole("button", { name: open }).click();
    for (const button of await page.locator("dialog .actions button").all()) {
      const { y, height } = await button.boundingBox();
      assert.ok(y > 0 && y + height < 720, `${open}: ${y}`);
      const isOnTop = await button.evaluate((at) => {
        const { x, y: top, width, height: tall } = at.getBoundingClientRect();
        return document.elementFromPoint(x + width / 2, top + tall / 2) === at;
      });
      assert.ok(isOnTop, open);
    }
    assert.deepEqual(await page.locator("dialog input[placeholder]").count(), 0, "nothing looks like a value that is none");
    await page.keyboard.press("Escape");
  }
  await page.setViewportSize({ width: 1180, height: 900 });
  quiet();
});

test("everything is reached by the keyboard alone, and one sees where one is", async () => {
  await go("compare");
  await page.reload();
  await page.locator(".slots").waitFor();
  const reached = [];
  for (let i = 0; i < 17; i += 1) {
    await page.keyboard.press("Tab");
    reached.push(
      await page.evaluate(() => {
        const at = document.activeElement;
        const shown = at.matches(".file") ? at.nextElementSibling : at;
        const ring = getComputedStyle(shown);
        return { what: at.id || at.textContent.trim(), ring: ring.outlineStyle !== "none" && parseFloat(ring.outlineWidth) >= 2 };
      }),
    );
  }
  const names = reached.map(({ what }) => what);
  const expected = ["Skip to content", "Compare", "Live", "Clients", "Transactions", "Audit", "Users", "Log out", "Create an administrator", "file-1", "Camera", "file-2", "Camera", "kind", "Compare"];
  assert.deepEqual(names.slice(0, expected.length), expected);
  assert.deepEqual(reached.slice(0, expected.length).filter(({ ring }) => !ring), []);
  // A file is chosen and compared without a pointer.
  await page.locator("#file-1").focus();
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
  await chooser.setFiles(sample("hopper"));
  await page.setInputFiles("#file-2", sample("hopper"));
  await page.waitForFunction(() => document.querySelectorAll(".findings").length === 2);
  await page.getByRole("button", { name: "Compare", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.locator(".verdict").waitFor();
  assert.ok(await page.evaluate(() => document.activeElement.matches(".result")), "the result has the focus");
  // A window keeps the focus, and gives it back.
  await go("clients");
  await page.getByRole("button", { name: "Add a client" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("dialog[open]").waitFor();
  assert.ok(await page.evaluate(() => document.activeElement.closest("dialog") !== null));
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Add a client");
  quiet();
});

test("on a phone nothing lies beyond the edge, and in the dark everything can be read", async () => {
  // The server writes only once a minute when a client was used.
  await withClients({ lastUsedAt: Date.UTC(2028, 10, 28, 20, 58, 58) });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of [320, 390, 1180]) {
      await page.setViewportSize({ width, height: 800 });
      for (const name of ["compare", "live", "clients", "transactions", "audit", "users"]) {
        await go(name);
        await page.waitForTimeout(200);
        await fits();
      }
    }
    await page.setViewportSize({ width: 390, height: 800 });
    await go("compare");
    await choose("collins", "hopper");
    await compare();
    await page.locator("details").first().click();
    await fits();
    await readable();
    const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
    assert.equal(paper[0] < 128, colorScheme === "dark", `${paper}`);
    await go("clients");
    await page.locator(".clients").waitFor();
    await page.getByRole("button", { name: "Change shop" }).click();
    await fits();
    await page.keyboard.press("Escape");
  }
  await page.unroute(CLIENTS);
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize({ width: 1180, height: 900 });
  quiet();
});

test("every control has a name, and every page has one heading of the first order", async () => {
  for (const name of ["compare", "live", "clients", "transactions", "audit", "users"]) {
    await go(name);
    await page.waitForTimeout(200);
    assert.equal(await page.locator("h1").count(), 1, name);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, a, input, select, textarea, summary")]
        .filter((at) => !at.textContent.trim() && !at.labels?.length && !at.getAttribute("aria-label"))
        .map((at) => at.outerHTML),
    );
    assert.deepEqual(nameless, [], name);
  }
  quiet();
});

test("whoever logs out is out, and the way back shows nothing", async () => {
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Token").waitFor();
  await page.goBack();
  await page.getByLabel("Token").waitFor();
  assert.equal(await page.locator("nav").count(), 0);
  assert.equal((await browser.context.cookies()).length, 0);
  quiet();
});

test("only a digest of the token is in the data folder, for its owner alone", async () => {
  const path = join(server.folder, "console.token");
  const text = await readFile(path, "utf8");
  assert.ok(text.startsWith("sha256 ") && !text.includes(server.token));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.ok(!server.log().includes(server.token), "nor is the token in the log");
});

const PASSWORD = "correct horse battery";

/** The code that an authenticator app shows, by RFC 6238. */
function codeOf(secret) {
  const bits = [...secret].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const tag = createHmac("sha1", key).update(step).digest();
  const number = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

async function enter(name, password = PASSWORD) {
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.keyboard.press("Enter");
}

async function leave() {
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Password", { exact: true }).waitFor();
}

test("the token makes an administrator and expires, and people log in by name", async () => {
  await page.goto(server.url);
  await page.getByLabel("Token").fill(server.token);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Create an administrator" }).click();
  await page.getByLabel("Name").fill("ann");
  await page.getByLabel("New password").fill(PASSWORD);
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Enter");
  await page.getByText("ann is an administrator.").waitFor();
  assert.deepEqual(await violations(page), []);
  await assert.rejects(access(join(server.folder, "console.token")), { code: "ENOENT" });
  quiet();
  await enter("ann", "a wrong password");
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /Wrong name or password/);
  await enter("ann");
  await page.getByRole("heading", { name: "Compare two photos" }).waitFor();
  assert.equal(await page.locator(".who").textContent(), "ann");
  assert.equal(await page.getByRole("button", { name: "Create an administrator" }).count(), 0);
});

test("an administrator adds a user, and the page of users has no barriers", async () => {
  await go("users");
  await page.getByRole("button", { name: "Add a user" }).click();
  assert.deepEqual(await violations(page), []);
  await page.getByLabel("Name", { exact: true }).fill("bob");
  await page.getByLabel("Password", { exact: true }).fill("short");
  await page.locator("dialog").getByRole("button", { name: "Add a user" }).click();
  await page.locator("dialog").getByRole("alert").waitFor();
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.locator("dialog").getByRole("button", { name: "Add a user" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  const row = page.locator(".users tbody tr").filter({ hasText: "bob" });
  assert.match(await row.textContent(), /bobViewernone/);
  assert.match(await page.locator(".sessions").textContent(), /ann.*127\.0\.0\.1.*password/s);
  await page.getByRole("button", { name: "Disable ann" }).click();
  await page.locator("dialog").getByRole("button", { name: "Disable" }).click();
  await page.getByText("This is the last enabled administrator").waitFor();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of [320, 390, 1180]) {
      await page.setViewportSize({ width, height: 800 });
      for (const name of ["users", "account"]) {
        await go(name);
        await page.locator(".sessions").waitFor();
        await fits();
        assert.deepEqual(await violations(page), [], `${name} ${colorScheme} ${width}`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: null });
});

/** What a camera reads in the QR code of the page. */
async function scanned() {
  const { data, width, height } = await page.evaluate(async () => {
    const code = document.querySelector("svg.qr").cloneNode(true);
    for (const side of ["width", "height"]) code.setAttribute(side, 400);
    const picture = new Image();
    picture.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(code))}`;
    await picture.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: 400, height: 400 });
    const brush = canvas.getContext("2d");
    brush.drawImage(picture, 0, 0);
    const { data, width, height } = brush.getImageData(0, 0, 400, 400);
    return { data: [...data], width, height };
  });
  return jsQR(Uint8ClampedArray.from(data), width, height)?.data;
}

test("one-time codes are set up and then asked for", async () => {
  await go("account");
  await page.getByRole("button", { name: "Set up one-time codes" }).click();
  const secret = await page.locator(".secret").textContent();
  const link = await page.getByText("Open in an authenticator app").getAttribute("href");
  assert.ok(link.includes(secret));
  assert.equal(await scanned(), link);
  assert.deepEqual(await violations(page), []);
  await page.locator("#code").fill(codeOf(secret));
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Remove one-time codes" }).waitFor();
  await leave();
  await enter("ann");
  await page.getByText("Enter the one-time code as well.").waitFor();
  assert.deepEqual(await violations(page), []);
  await page.locator("#code").fill(codeOf(secret));
  await page.keyboard.press("Enter");
  await page.locator("nav").waitFor();
  await leave();
});

test("a viewer sees what a viewer may, and nothing else is reached by the address", async () => {
  await enter("bob");
  await page.locator("nav").waitFor();
  const links = await page.locator("nav a").allTextContents();
  assert.deepEqual(links, ["Live", "Clients", "Transactions", "Audit", "Account"]);
  await go("clients");
  await page.locator(".clients tbody tr").first().waitFor();
  assert.equal(await page.locator(".clients button, .heading button").count(), 0);
  await page.goto(`${server.url}#users`);
  await page.getByRole("heading", { name: "Live" }).waitFor();
  const refused = await page.evaluate(async () => {
    const headers = { "X-Visavis-Console": "1", "Content-Type": "application/json" };
    const response = await fetch("api/users", { headers });
    return [response.status, (await response.json()).error];
  });
  assert.deepEqual(refused, [403, "notAllowed"]);
});

test("a user who is disabled on the command line is out at once", async () => {
  await go("account");
  await page.locator(".sessions").waitFor();
  const disabled = await server.run(["console", "user", "set", "bob", "--disable"]);
  assert.match(disabled, /user bob updated/);
  await page.getByRole("button", { name: "Set up one-time codes" }).click();
  await page.getByText("The session has expired. Log in again.").waitFor();
  await enter("bob");
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /Wrong name or password/);
});

test("a token for recovery resets an administrator who lost the second factor", async () => {
  const token = (await server.run(["console", "token"])).trim();
  await page.getByRole("button", { name: "Log in with a token" }).click();
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Create an administrator" }).click();
  await page.getByLabel("Name").fill("ann");
  await page.getByLabel("New password").fill("another long password");
  await page.keyboard.press("Enter");
  await page.getByText("ann is an administrator.").waitFor();
  await enter("ann", "another long password");
  await page.locator("nav").waitFor();
  const log = server.log();
  assert.ok(!log.includes(PASSWORD) && !log.includes(token), "no password and no token is in the log");
});
