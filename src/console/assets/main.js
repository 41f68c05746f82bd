// The frame: who is logged in, where one is, and what does not change from page to page.

import { account, administrator } from "./account.js";
import { get, post, whenLoggedOut } from "./api.js";
import { audit } from "./audit.js";
import { clients } from "./clients.js";
import { compare } from "./compare.js";
import { announcer, attempt, busy, field, h, note, put, say, sentence } from "./dom.js";
import { live } from "./live.js";
import { preferences } from "./preferences.js";
import { texts } from "./texts.js";
import { transactions } from "./transactions.js";
import { users } from "./users.js";

/** The pages, and what one must be allowed to do to see each. */
const PAGES = {
  compare: [compare, "compare"],
  live: [live, "view"],
  clients: [clients, "view"],
  transactions: [transactions, "view"],
  audit: [audit, "view"],
  users: [users, "manageUsers"],
  account: [account, "own"],
};

const main = h("main", { id: "main", tabindex: "-1" });
/** Ends what the page at hand does by itself. */
let leave = () => {};
let about;

function may(step) {
  return about.may.includes(step);
}

/** The names of the pages that may be seen; a login with the token, by a proxy or at a provider has no account. */
function pages() {
  return Object.keys(PAGES).filter((name) => may(PAGES[name][1]) && (name !== "account" || about.login === "account"));
}

function where() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const all = pages();
  return { name: all.includes(name) ? name : all[0], rest: decodeURIComponent(rest.join("/")) };
}

function frame() {
  const links = pages().map((name) => h("li", {}, h("a", { href: `#${name}` }, texts.pages[name])));
  const out = h("button", { type: "button", class: "quiet", onclick: logOut }, texts.login.out);
  const { version, device, deviceName, frontEnd, workers, user } = about;
  const machine = deviceName || device;
  const roles = frontEnd && workers ? texts.roles.both : frontEnd ? texts.roles.frontEnd : texts.roles.workers;
  put(
    document.body,
    h("a", { class: "skip", href: "#main", onclick: skip }, texts.skip),
    h(
      "header",
      { class: "top" },
      h("p", { class: "brand" }, h("img", { src: "assets/icon.svg", alt: "", width: 28, height: 28 }), texts.name),
      h("nav", { "aria-label": texts.navigation }, h("ul", {}, links)),
      about.login === "token" ? null : h("span", { class: "who" }, user),
      about.login === "proxy" ? null : out,
    ),
    announcer(),
    may("recover") ? first() : null,
    main,
    h("footer", {}, preferences(), h("p", {}, [`${texts.name} ${version}`, roles, machine].filter(Boolean).join(" · "))),
  );
}

/** Asks for an administrator, as long as one is logged in with the token. */
function first() {
  const make = h("button", { type: "button", class: "quiet", onclick: () => administrator((said) => logIn(said)) }, texts.account.administrator);
  return h("aside", { class: "first", "aria-label": texts.account.administrator }, h("p", {}, texts.account.first), make);
}

function skip(event) {
  event.preventDefault();
  main.focus();
}

function show() {
  leave();
  const { name, rest } = where();
  // A token that only makes an administrator shows nothing else.
  if (!name) return put(main, h("h1", {}, texts.title));
  document.title = `${texts.pages[name]} · ${texts.title}`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#${name}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  put(main);
  leave = PAGES[name][0](main, { about, rest, may }) ?? (() => {});
}

function moved() {
  show();
  say(texts.pages[where().name] ?? texts.title);
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

async function logOut() {
  const wasAtProvider = about.login === "provider";
  await post("logout").catch(() => {});
  logIn(undefined, wasAtProvider);
}

/** Where the browser's session keeps what one wanted to see. */
const WANTED = "visavis.wanted";

/** Ways to log in: what each asks for, and how it is sent. */
const WAYS = { provider: atProvider, name: withName, token: withToken };

/** At the provider, which sends the browser back to this page. */
function atProvider() {
  const send = async () => {
    const { url } = await post("provider");
    // The provider sends the browser back to the page without it.
    sessionStorage.setItem(WANTED, location.hash);
    location.assign(url);
  };
  return { rows: [], send };
}

function withToken() {
  const token = h("input", { type: "password", autocomplete: "current-password", spellcheck: "false", required: true });
  const row = field("token", texts.login.token, token, texts.login.hint);
  const send = () => logInWith({ token: token.value });
  return { rows: [row], first: token, secret: token, send };
}

function withName() {
  const name = h("input", { type: "text", autocomplete: "username", spellcheck: "false", required: true });
  const password = h("input", { type: "password", autocomplete: "current-password", required: true });
  const code = h("input", { type: "text", inputmode: "numeric", autocomplete: "one-time-code", maxlength: 6 });
  const codeRow = field("code", texts.login.code, code, texts.login.codeHint);
  codeRow.hidden = true;
  const rows = [field("name", texts.login.name, name), field("password", texts.login.password, password), codeRow];
  const send = () => logInWith({ name: name.value.trim(), password: password.value, code: code.value });
  const askCode = () => {
    codeRow.hidden = false;
    code.focus();
  };
  return { rows, first: name, secret: password, send, askCode };
}

async function logInWith(proof) {
  await post("login", proof);
  await begin();
  main.focus({ preventScroll: true });
}

/** Shows the form again; `leavesProvider` offers to log out at the provider, which logs one in again without a question. */
async function logIn(why, leavesProvider = false) {
  leave();
  leave = () => {};
  about = undefined;
  document.title = texts.title;
  for (const window of document.querySelectorAll("dialog")) window.close();
  try {
    form(await state(), { why, leavesProvider });
  } catch (error) {
    form(known, { why: sentence(error) });
  }
}

/** Which ways to log in there are, as the server last said. */
let known = { byName: true, provider: false };

async function state() {
  known = await get("login");
  return known;
}

function form({ byName, provider }, { why, leavesProvider = false, way = provider ? "provider" : byName ? "name" : "token" } = {}) {
  const { rows, first, secret, send, askCode } = WAYS[way]();
  const names = { provider: texts.login.byProvider, name: texts.login.byName, token: texts.login.byToken };
  const button = h("button", { type: "submit" }, way === "provider" ? names.provider : texts.login.enter);
  const trouble = h("div");
  const submit = (event) => {
    event.preventDefault();
    busy(button, async () => {
      put(trouble);
      try {
        await send();
      } catch (error) {
        const needsCode = error.code === "codeNeeded";
        put(trouble, note(needsCode ? "plain" : "bad", sentence(error)));
        if (needsCode) askCode();
        else secret?.select();
      }
    });
  };
  const quiet = (text, onclick) => h("button", { type: "button", class: "quiet small", onclick }, text);
  const ways = Object.keys(WAYS).filter((name) => name !== way && (name !== "provider" || provider));
  const others = ways.map((name) => quiet(names[name], () => form({ byName, provider }, { way: name })));
  const out = leavesProvider && provider ? quiet(texts.login.outProvider, () => attempt(trouble, leaveProvider)) : null;
  put(
    document.body,
    announcer(),
    h(
      "main",
      { class: "login" },
      h("img", { src: "assets/icon.svg", alt: "", width: 56, height: 56 }),
      h("h1", {}, texts.title),
      why ? note("plain", why) : null,
      h("form", { onsubmit: submit, method: "post" }, rows, trouble, button, others, out),
    ),
    h("footer", {}, preferences()),
  );
  (first ?? button).focus();
}

async function leaveProvider() {
  const { url } = await post("provider/logout");
  if (url) location.assign(url);
  else logIn(texts.login.noProviderLogout);
}

/** What the provider sent the browser back with. It is taken out of the address, so that it stays in no history. */
function broughtBack() {
  const sent = new URLSearchParams(location.search);
  if (!sent.has("state") && !sent.has("error")) return undefined;
  history.replaceState(null, "", location.pathname + (sessionStorage.getItem(WANTED) ?? ""));
  sessionStorage.removeItem(WANTED);
  return Object.fromEntries(["state", "code", "iss", "error"].map((name) => [name, sent.get(name) ?? ""]));
}

async function start() {
  const brought = broughtBack();
  if (brought) {
    put(document.body, announcer(), h("main", { class: "login" }, h("h1", {}, texts.title), note("plain", texts.login.waiting)));
    try {
      await post("provider/login", brought);
    } catch (error) {
      // Who came back here by the button of the browser may be logged in.
      if (!(await state()).loggedIn) return logIn(sentence(error), true);
    }
    return begin();
  }
  return (await state()).loggedIn ? begin() : form(known);
}

async function begin() {
  about = await get("about");
  frame();
  show();
}

whenLoggedOut(() => {
  if (about) logIn(texts.login.ended, about.login === "provider");
});
window.addEventListener("hashchange", () => {
  if (about) moved();
});
start().catch((error) => form(known, { why: sentence(error) }));
