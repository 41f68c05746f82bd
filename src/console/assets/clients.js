// The clients: list, add, issue new keys, change, disable, enable, delete.

import { get, post } from "./api.js";
import { attempt, day, dialog, field, form, h, moment, note, put, say, sure } from "./dom.js";
import { filled, texts } from "./texts.js";

const words = texts.clients;

/**
 * What a client gets. A further setting is one entry here, its texts in `texts.clients.fields`, and one member of
 * `Settings` in `clients.rs`.
 */
const FIELDS = [
  { name: "extras", kind: "switch", initial: true },
  { name: "fmr", kind: "rate", initial: null },
  { name: "documentFmr", kind: "rate", initial: null },
  { name: "ratePerS", kind: "number", initial: null },
  { name: "burst", kind: "number", initial: null },
  { name: "dailyQuota", kind: "number", initial: null },
  { name: "modes", kind: "choice", initial: "all" },
  { name: "encryption", kind: "choice", initial: "optional" },
  { name: "severalFaces", kind: "choice", initial: null },
];

/** How each kind of field is shown, entered, and read from what was entered. */
const KINDS = {
  switch: {
    show: (value, { on, off }) => (value ? on : off),
    control: (value) => {
      const box = h("input", { type: "checkbox", class: "switch" });
      box.checked = value;
      return box;
    },
    read: (control) => control.checked,
  },
  rate: {
    show: (value, { fallback }) => (value === null ? fallback : exponential(value)),
    control: (value) =>
      h("input", {
        type: "text",
        inputmode: "text",
        autocomplete: "off",
        value: value === null ? "" : exponential(value),
      }),
    read: (control) => control.value.trim(),
  },
  number: {
    show: (value, { fallback }) => (value === null ? fallback : String(value)),
    control: (value) => h("input", { type: "number", min: 1, step: 1, inputmode: "numeric", value: value ?? "" }),
    read: (control) => control.value.trim(),
  },
  choice: {
    show: (value, { choices }) => choices[value],
    control: (value, { choices }) => {
      const select = h("select", {}, Object.entries(choices).map(([name, text]) => h("option", { value: name }, text)));
      select.value = value ?? "";
      return select;
    },
    read: (control) => control.value,
  },
};

/** What applies to clients without a value of their own, from the server. */
let defaults = {};

/** The default of a field in its own form. */
function defaultOf(name, kind) {
  const value = defaults[name] ?? null;
  return value === null ? words.unlimited : KINDS[kind].show(value, words.fields[name]);
}

function exponential(rate) {
  return Number(rate).toExponential().replace("e+", "e");
}

/** Shows the page. */
export function clients(main, { may }) {
  const table = h("div", {}, h("p", {}, words.loading));
  const trouble = h("div");
  const wanted = h("input", { type: "search", autocomplete: "off", spellcheck: "false", oninput: () => search() });
  const searched = field("client-search", words.search, wanted);
  const nothing = h("p", { hidden: true }, words.nothing);
  searched.hidden = true;
  /** Shows the rows whose name or Client-Id contains what is searched for. */
  const search = () => {
    const part = wanted.value.trim().toLowerCase();
    const rows = [...table.querySelectorAll("tbody tr")];
    for (const row of rows) row.hidden = !row.dataset.search.includes(part);
    const left = rows.filter((row) => !row.hidden).length;
    nothing.hidden = left > 0 || !rows.length;
    if (part) say(filled(words.found, { n: left }));
  };
  const show = ({ clients: all, defaults: usual }) => {
    defaults = usual;
    searched.hidden = !all.length;
    put(table, all.length ? list(all, may("changeClients") ? act : undefined) : h("p", {}, words.empty));
    search();
  };
  const load = async () => {
    if (!(await attempt(trouble, async () => show(await get("clients"))))) put(table);
  };
  const toggle = (client, path, said) =>
    attempt(trouble, async () => {
      show(await post(`clients/${client.clientId}/${path}`));
      say(filled(said, client));
      // The button that was pressed is gone; its successor does the opposite.
      (document.getElementById(`toggle-${client.clientId}`) ?? wanted).focus();
    });
  const asked = (client, path, said) => {
    const { heading, lead } = words.sure[path];
    sure({ heading: filled(heading, client), lead, verb: words[path] }, (close) => {
      // The window keeps the focus for as long as it is open.
      close();
      return toggle(client, path, said);
    });
  };
  const act = {
    rotate: (client) => rotate(client, load),
    change: (client) => change(client, show),
    disable: (client) => asked(client, "disable", words.nowDisabled),
    enable: (client) => toggle(client, "enable", words.nowEnabled),
    delete: (client) => asked(client, "delete", words.nowDeleted),
  };
  put(
    main,
    h(
      "div",
      { class: "heading" },
      h("h1", {}, words.heading),
      may("changeClients") ? h("button", { type: "button", onclick: () => add(load) }, words.add) : null,
    ),
    h("p", { class: "lead" }, words.lead),
    searched,
    trouble,
    table,
    nothing,
  );
  load();
}

/** Without `act` for those who only look. */
function list(all, act) {
  const { actions, ...facts } = words.table;
  const heads = [...Object.values(facts), ...(act ? [actions] : [])];
  return h(
    "table",
    { class: "cards clients" },
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, all.map((client) => row(client, act, heads))),
  );
}

function row(client, act, heads) {
  const disabled = client.disabledAt !== null;
  const button = (what) =>
    h(
      "button",
      {
        type: "button",
        class: ["disable", "delete"].includes(what) ? "quiet small danger" : "quiet small",
        id: what === "disable" || what === "enable" ? `toggle-${client.clientId}` : undefined,
        "aria-label": filled(words.named[what], client),
        onclick: () => act[what](client),
      },
      words[what],
    );
  // What every client gets unless something else is said would hide what is said.
  const own = FIELDS.filter(({ name, initial }) => (client[name] ?? null) !== initial);
  const settings = own.map(({ name, kind }) => {
    const text = words.fields[name];
    const used = name === "dailyQuota" ? ` ${filled(words.used, { n: client.comparisonsToday })}` : "";
    return h("li", {}, h("span", {}, text.column), " ", KINDS[kind].show(client[name], text), used);
  });
  const cells = [
    h("code", {}, client.clientId),
    filled(words.version, { n: client.keyVersion }),
    settings.length ? h("ul", { class: "settings" }, settings) : words.usual,
    day(client.createdAt),
    client.lastUsedAt ? moment(client.lastUsedAt) : texts.none,
    h("span", { class: `badge ${disabled ? "bad" : "good"}` }, disabled ? words.disabled : words.active),
    ...(act ? [h("div", { class: "actions" }, button("rotate"), button("change"), disabled ? [button("enable"), button("delete")] : button("disable"))] : []),
  ];
  return h(
    "tr",
    { class: disabled ? "off" : "", "data-search": `${client.name}\n${client.clientId}`.toLowerCase() },
    h("th", { scope: "row" }, client.name, client.own ? h("small", {}, ` ${words.own}`) : null),
    cells.map((cell, i) => h("td", { "data-label": heads[i + 1] }, cell)),
  );
}

/** Rows for the settings of a client, and how to read them. */
function settings(of) {
  const controls = FIELDS.map(({ name, kind, initial }) => [name, kind, KINDS[kind].control(of ? of[name] : initial, words.fields[name])]);
  const rows = controls.map(([name, kind, control]) => {
    const { label, hint } = words.fields[name];
    return field(`field-${name}`, label, control, filled(hint, { value: defaultOf(name, kind) }));
  });
  const read = () => Object.fromEntries(controls.map(([name, kind, control]) => [name, KINDS[kind].read(control)]));
  const named = (wanted) => controls.find(([name]) => name === wanted)[2];
  const wrong = (wanted, isRight) => controls.find(([, kind, control]) => kind === wanted && control.value && !isRight(control.value))?.[2];
  /** The control that an error of the server is about. */
  const at = (code) => {
    if (code === "rateUnfit") return wrong("rate", (text) => Number(text) >= 1e-6 && Number(text) <= 1e-1);
    // Bursts and rates are of 32 bits.
    if (code === "numberUnfit") return wrong("number", (text) => /^\d+$/.test(text) && Number(text) > 0 && Number(text) < 2 ** 32);
    return code === "contradiction" ? named("encryption") : undefined;
  };
  return { rows: h("div", { class: "columns" }, rows), read, at };
}

const NAME_ERRORS = ["nameUnfit", "nameOwn", "nameTaken"];
const KEY_ERRORS = ["keyUnfit", "keyWeak", "serverKey", "sameKey"];

function keyField() {
  const control = h("textarea", { rows: 3, spellcheck: "false" });
  return { control, row: field("public-key", words.publicKey, control, words.publicKeyHint) };
}

function add(load) {
  const name = h("input", { type: "text", required: true, maxlength: 64, autocomplete: "off" });
  const given = settings();
  const key = keyField();
  const rows = [field("client-name", words.name, name, words.nameHint), given.rows, key.row];
  const at = (code) => (NAME_ERRORS.includes(code) ? name : KEY_ERRORS.includes(code) ? key.control : given.at(code));
  form(words.add, rows, words.add, async (close) => {
    const body = { name: name.value.trim(), publicKey: key.control.value, settings: given.read() };
    const made = await post("clients", body);
    close();
    keys(made, filled(words.keys.added, made), load);
  }, at);
}

function rotate(client, load) {
  const overlap = h("select", {}, words.overlaps.map(([value, text]) => h("option", { value }, text)));
  const key = keyField();
  const rows = [field("overlap", words.overlap, overlap), key.row];
  const at = (code) => (KEY_ERRORS.includes(code) ? key.control : code === "overlapUnfit" ? overlap : undefined);
  form(filled(words.named.rotate, client), rows, words.makeKeys, async (close) => {
    const body = { overlapS: Number(overlap.value), publicKey: key.control.value };
    const made = await post(`clients/${client.clientId}/rotate`, body);
    close();
    keys(made, filled(words.keys.rotated, made), load);
  }, at);
}

function change(client, show) {
  const given = settings(client);
  form(filled(words.named.change, client), given.rows, words.save, async (close) => {
    show(await post(`clients/${client.clientId}/change`, given.read()));
    close();
    say(filled(words.saved, client));
  }, given.at);
}

/** The keys, this once: in the page until the window is closed, and nowhere else. */
function keys({ name, credentials, earlierUntil }, title, load) {
  const file = filled(words.keys.file, { name: name.replace(/[^\w.-]+/g, "_") });
  const text = JSON.stringify(credentials, null, 2);
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const window = dialog(title, (body, close) => {
    const earlier =
      earlierUntil !== undefined
        ? h("p", {}, `${words.keys.earlier} `, moment(earlierUntil))
        : credentials.keyVersion > 1
          ? h("p", {}, words.keys.noEarlier)
          : null;
    const rows = Object.keys(words.keys.names).map((member) => keyRow(member, credentials[member]));
    put(
      body,
      note("warn", words.keys.once),
      earlier,
      h("dl", { class: "keys" }, rows),
      h(
        "div",
        { class: "actions" },
        h("a", { class: "button", href: url, download: file }, filled(words.keys.download, { file })),
        h("button", { type: "button", class: "quiet", onclick: close }, words.keys.done),
      ),
    );
  });
  window.addEventListener("close", () => {
    URL.revokeObjectURL(url);
    load();
  });
}

function keyRow(member, value) {
  const label = words.keys.names[member];
  if (value === undefined) return h("div", {}, h("dt", {}, label), h("dd", {}, words.keys.own));
  const copy = h("button", { type: "button", class: "quiet small", "aria-label": `${words.keys.copy}: ${label}` }, words.keys.copy);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(String(value));
      copy.textContent = words.keys.copied;
      say(words.keys.copied);
    } catch {
      // A page without TLS may not, except on the machine itself: the text can still be selected.
      getSelection().selectAllChildren(shown);
    }
  });
  // What is longer than its place is scrolled, with the keyboard too.
  const shown = h("code", { tabindex: "0", role: "group", "aria-label": label }, String(value));
  return h("div", {}, h("dt", {}, label), h("dd", {}, shown, copy));
}
