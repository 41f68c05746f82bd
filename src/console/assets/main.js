// The frame: who is logged in, where one is, and what does not change from page to page.

import { get, post, whenLoggedOut } from "./api.js";
import { audit } from "./audit.js";
import { clients } from "./clients.js";
import { compare } from "./compare.js";
import { announcer, busy, field, h, note, put, say, sentence } from "./dom.js";
import { live } from "./live.js";
import { texts } from "./texts.js";
import { transactions } from "./transactions.js";

const PAGES = { compare, live, clients, transactions, audit };
const FIRST = "compare";

const main = h("main", { id: "main", tabindex: "-1" });
/** Ends what the page at hand does by itself. */
let leave = () => {};
let about;

function where() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  return { name: name in PAGES ? name : FIRST, rest: decodeURIComponent(rest.join("/")) };
}

function frame() {
  const links = Object.keys(PAGES).map((name) => h("li", {}, h("a", { href: `#${name}` }, texts.pages[name])));
  const out = h("button", { type: "button", class: "quiet", onclick: logOut }, texts.login.out);
  const { version, device, deviceName, frontEnd, workers } = about;
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
      out,
    ),
    announcer(),
    main,
    h("footer", {}, h("p", {}, [`${texts.name} ${version}`, roles, machine].filter(Boolean).join(" · "))),
  );
}

function skip(event) {
  event.preventDefault();
  main.focus();
}

function show() {
  leave();
  const { name, rest } = where();
  document.title = `${texts.pages[name]} · ${texts.title}`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#${name}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  put(main);
  leave = PAGES[name](main, { about, rest }) ?? (() => {});
}

function moved() {
  show();
  say(texts.pages[where().name]);
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

async function logOut() {
  await post("logout").catch(() => {});
  logIn();
}

function logIn(why) {
  leave();
  leave = () => {};
  about = undefined;
  document.title = texts.title;
  for (const window of document.querySelectorAll("dialog")) window.close();
  const token = h("input", { type: "password", autocomplete: "current-password", spellcheck: "false", required: true });
  const button = h("button", { type: "submit" }, texts.login.enter);
  const trouble = h("div");
  const submit = (event) => {
    event.preventDefault();
    busy(button, async () => {
      put(trouble);
      try {
        await post("login", { token: token.value });
        await begin();
        main.focus({ preventScroll: true });
      } catch (error) {
        put(trouble, note("bad", sentence(error)));
        token.select();
      }
    });
  };
  put(
    document.body,
    announcer(),
    h(
      "main",
      { class: "login" },
      h("img", { src: "assets/icon.svg", alt: "", width: 56, height: 56 }),
      h("h1", {}, texts.title),
      why ? note("plain", why) : null,
      h(
        "form",
        { onsubmit: submit, method: "post" },
        field("token", texts.login.token, token, texts.login.hint),
        trouble,
        button,
      ),
    ),
  );
  token.focus();
}

async function begin() {
  about = await get("about");
  frame();
  show();
}

whenLoggedOut(() => {
  if (about) logIn(texts.login.ended);
});
window.addEventListener("hashchange", () => {
  if (about) moved();
});
get("login")
  .then(({ loggedIn }) => (loggedIn ? begin() : logIn()))
  .catch((error) => logIn(sentence(error)));
