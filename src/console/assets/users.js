// The users and their sessions, for administrators.

import { get, post } from "./api.js";
import { attempt, day, field, form, h, moment, put, say, sure } from "./dom.js";
import { sessions } from "./sessions.js";
import { filled, texts } from "./texts.js";

const words = texts.users;

/** Shows the page. */
export function users(main) {
  const table = h("div", {}, h("p", {}, words.loading));
  const open = h("div");
  const trouble = h("div");
  const show = ({ users: all, sessions: running }) => {
    put(table, list(all, act));
    put(open, sessions(running, { named: true, end }));
  };
  const tried = (work) => attempt(trouble, async () => show(await work()));
  const changed = async (user, change, said) => {
    if (await tried(() => post(`users/${encodeURIComponent(user.name)}/change`, change))) say(filled(said, user));
  };
  const end = (session) => tried(() => post(`sessions/${session.id}/end`));
  const asked = (user, what, go) =>
    sure({ heading: filled(words.sure[what], user), lead: words.sureLead, verb: words[what] }, async (close) => {
      await go();
      close();
    });
  const act = {
    change: (user) => change(user, show),
    disable: (user) => asked(user, "disable", () => changed(user, { disabled: true }, words.nowDisabled)),
    enable: (user) => changed(user, { disabled: false }, words.nowEnabled),
    remove: (user) =>
      asked(user, "remove", async () => {
        const removed = await tried(() => post(`users/${encodeURIComponent(user.name)}/delete`));
        if (removed) say(filled(words.removed, user));
      }),
  };
  put(
    main,
    h(
      "div",
      { class: "heading" },
      h("h1", {}, words.heading),
      h("button", { type: "button", onclick: () => add(show) }, words.add),
    ),
    h("p", { class: "lead" }, words.lead),
    trouble,
    table,
    h("h2", {}, texts.sessions.heading),
    open,
  );
  tried(() => get("users"));
}

function list(all, act) {
  if (!all.length) return h("p", {}, words.empty);
  const heads = Object.values(words.table);
  return h(
    "table",
    { class: "cards users" },
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, all.map((user) => row(user, act, heads))),
  );
}

function row(user, act, heads) {
  const disabled = user.disabledAt !== null;
  const button = (what) =>
    h(
      "button",
      {
        type: "button",
        class: ["disable", "remove"].includes(what) ? "quiet small danger" : "quiet small",
        "aria-label": filled(words.named[what], user),
        onclick: () => act[what](user),
      },
      words[what],
    );
  const state = user.tampered ? "tampered" : disabled ? "disabled" : "active";
  const cells = [
    words.roles[user.role],
    user.hasCode ? words.withCode : words.withoutCode,
    day(user.createdAt),
    moment(user.lastLoginAt),
    h("span", { class: `badge ${state === "active" ? "good" : "bad"}` }, words[state]),
    h("div", { class: "actions" }, button("change"), button(disabled ? "enable" : "disable"), button("remove")),
  ];
  return h(
    "tr",
    { class: disabled ? "off" : "" },
    h("th", { scope: "row" }, user.name),
    cells.map((cell, i) => h("td", { "data-label": heads[i + 1] }, cell)),
  );
}

function roleField(role) {
  const control = h("select", {}, Object.entries(words.roles).map(([name, text]) => h("option", { value: name }, text)));
  control.value = role;
  return { control, row: field("role", words.role, control, words.roleHint) };
}

function passwordField(label, hint, required) {
  const control = h("input", { type: "password", autocomplete: "new-password", required, maxlength: 256 });
  return { control, row: field("new-password", label, control, hint) };
}

function add(show) {
  const name = h("input", { type: "text", required: true, maxlength: 64, autocomplete: "off" });
  const role = roleField("viewer");
  const password = passwordField(words.password, words.passwordHint, true);
  const at = (code) => ({ userNameUnfit: name, userNameTaken: name, passwordUnfit: password.control })[code];
  form(words.add, [field("user-name", words.name, name), role.row, password.row], words.add, async (close) => {
    const user = { name: name.value.trim(), role: role.control.value, password: password.control.value };
    show(await post("users", user));
    close();
    say(filled(words.added, user));
  }, at);
}

function change(user, show) {
  const role = roleField(user.role);
  const password = passwordField(words.newPassword, words.newPasswordHint, false);
  const reset = h("input", { type: "checkbox", class: "switch" });
  const rows = [role.row, password.row, user.hasCode ? field("reset-code", words.resetCode, reset) : null];
  const at = (code) => ({ lastAdministrator: role.control, passwordUnfit: password.control })[code];
  form(filled(words.named.change, user), rows, words.save, async (close) => {
    const changed = { role: role.control.value, resetCode: reset.checked };
    if (password.control.value) changed.password = password.control.value;
    show(await post(`users/${encodeURIComponent(user.name)}/change`, changed));
    close();
    say(filled(words.saved, user));
  }, at);
}
