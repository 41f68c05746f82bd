// The own account: password, second factor, sessions.

import { get, post } from "./api.js";
import { attempt, field, form, h, put, s, say } from "./dom.js";
import { sessions } from "./sessions.js";
import { filled, texts } from "./texts.js";

const words = texts.account;

/** Shows the page. */
export function account(main) {
  const body = h("div");
  const trouble = h("div");
  const show = (own) => put(body, shown(own, { load, end, offer }));
  const load = (said) =>
    attempt(trouble, async () => {
      show(await get("account"));
      if (said) say(said);
    });
  const end = (session) => attempt(trouble, async () => show(await post(`account/sessions/${session.id}/end`)));
  const offer = () => attempt(trouble, async () => setCode(await post("account/code/offer"), load));
  put(main, h("h1", {}, words.heading), trouble, body);
  load();
}

function shown(own, { load, end, offer }) {
  const facts = { name: own.name, role: texts.users.roles[own.role], code: own.hasCode ? words.codeOn : words.codeOff };
  const button = (text, onclick) => h("button", { type: "button", class: "quiet", onclick }, text);
  return [
    h(
      "section",
      { class: "card own" },
      h(
        "dl",
        { class: "facts" },
        Object.entries(facts).map(([name, value]) => h("div", {}, h("dt", {}, words.rows[name]), h("dd", {}, value))),
      ),
      h(
        "div",
        { class: "actions" },
        button(words.changePassword, () => changePassword(load)),
        button(words.setCode, offer),
        own.hasCode ? button(words.removeCode, () => removeCode(load)) : null,
      ),
    ),
    h("h2", {}, texts.sessions.heading),
    sessions(own.sessions, { own: own.session, end }),
  ];
}

function password(id, label, autocomplete, hint) {
  const control = h("input", { type: "password", autocomplete, required: true, maxlength: 256 });
  return { control, row: field(id, label, control, hint) };
}

function changePassword(load) {
  const old = password("password", words.password, "current-password");
  const next = password("new-password", words.newPassword, "new-password", texts.users.passwordHint);
  const again = password("new-password-again", words.again, "new-password");
  const check = () => again.control.setCustomValidity(again.control.value === next.control.value ? "" : words.differ);
  for (const { control } of [next, again]) control.addEventListener("input", check);
  form(words.changePassword, [old.row, next.row, again.row], words.changePassword, async (close) => {
    await post("account/password", { password: old.control.value, newPassword: next.control.value });
    close();
    load(words.passwordChanged);
  });
}

function setCode(offer, load) {
  const old = password("password", words.password, "current-password");
  const code = h("input", { type: "text", inputmode: "numeric", autocomplete: "one-time-code", required: true, maxlength: 6 });
  const rows = [
    h("p", {}, words.offer),
    qr(offer.qr),
    h("p", {}, h("code", { class: "secret" }, offer.secret)),
    h("p", {}, h("a", { href: offer.uri }, words.open)),
    field("code", words.code, code, words.codeHint),
    old.row,
  ];
  form(words.setCode, rows, words.confirm, async (close) => {
    await post("account/code", { password: old.control.value, sealed: offer.sealed, code: code.value });
    close();
    load(words.codeSet);
  });
}

/** A QR code with its quiet zone, from rows of `1` for dark and `0` for light. */
function qr(rows) {
  const dark = rows.flatMap((row, y) => [...row].map((module, x) => (module === "1" ? `M${x} ${y}h1v1h-1z` : "")));
  const size = rows.length + 8;
  return s(
    "svg",
    { class: "qr", viewBox: `-4 -4 ${size} ${size}`, role: "img", "aria-label": words.qr, "shape-rendering": "crispEdges" },
    s("rect", { x: -4, y: -4, width: size, height: size, fill: "#fff" }),
    s("path", { d: dark.join(""), fill: "#000" }),
  );
}

function removeCode(load) {
  const old = password("password", words.password, "current-password");
  form(words.removeCode, [old.row], words.removeCode, async (close) => {
    await post("account/code/remove", { password: old.control.value });
    close();
    load(words.codeRemoved);
  });
}

/** The form that makes an administrator with the token; `done` follows. */
export function administrator(done) {
  const name = h("input", { type: "text", required: true, maxlength: 64, autocomplete: "username" });
  const next = password("new-password", words.newPassword, "new-password", texts.users.passwordHint);
  const rows = [h("p", {}, words.administratorLead), field("user-name", texts.users.name, name), next.row];
  form(words.administrator, rows, words.administrator, async (close) => {
    const made = { name: name.value.trim(), password: next.control.value };
    await post("administrator", made);
    close();
    done(filled(words.administratorMade, made));
  });
}
