// The transactions of all clients: a list with filters, and one of them with its outcome.

import { get, post } from "./api.js";
import { attempt, busy, entered, field, h, moment, note, number, put, save, say, sentence, timeInput } from "./dom.js";
import { findings, unusable } from "./face.js";
import { card, verdict } from "./outcome.js";
import { filled, texts } from "./texts.js";

const words = texts.transactions;
/** As in responses to apps. */
const CODES = ["SUCCESS", "UNABLE_GET_IMAGE", "SYSTEM_ERROR", "PROCESSING"];

/** Shows the list; `rest` of the address is the id of one transaction to show instead. */
export function transactions(main, { rest }) {
  if (rest) one(main, rest);
  else list(main);
}

function list(main) {
  const { controls, filter } = filters();
  const search = h("button", { type: "submit" }, words.search);
  const file = h("button", { type: "button", class: "quiet" }, words.csv);
  const older = h("button", { type: "button", class: "quiet" }, words.older);
  const rows = h("tbody");
  const table = grid(rows);
  const trouble = h("div");
  const nothing = h("p", { hidden: true }, words.nothing);
  let next = null;
  // Rows of an earlier search are not added to those of a later one.
  let turn = 0;

  const load = async (button, before) => {
    turn += 1;
    const mine = turn;
    const show = async () => {
      const page = await post("transactions", before ? { ...filter(), before } : filter());
      if (mine !== turn) return;
      next = page.next;
      if (!before) put(rows);
      rows.append(...page.transactions.map(row));
      table.hidden = rows.children.length === 0;
      nothing.hidden = !table.hidden;
      nothing.textContent = next ? words.notYet : words.nothing;
      older.hidden = !next;
      say(filled(words.found, { n: rows.children.length }));
    };
    await busy(button, () => attempt(trouble, show));
  };
  const submit = (event) => {
    event.preventDefault();
    load(search);
  };
  const saveFile = async () => save((await post("transactions/csv", filter())).csv, words.file);
  const download = () => busy(file, () => attempt(trouble, saveFile));
  file.addEventListener("click", download);
  older.addEventListener("click", () => load(older, next));
  table.hidden = true;
  older.hidden = true;
  put(
    main,
    h("h1", {}, words.heading),
    h("p", { class: "lead" }, words.lead),
    lookUp(),
    h("form", { class: "filters card", onsubmit: submit }, controls, h("div", { class: "buttons" }, search, file)),
    trouble,
    table,
    nothing,
    older,
  );
  load(search);
}

/** The way to one transaction by its id. */
function lookUp() {
  const input = h("input", { type: "text", required: true, spellcheck: "false", autocomplete: "off", maxlength: 64 });
  const submit = (event) => {
    event.preventDefault();
    location.hash = `transactions/${encodeURIComponent(input.value.trim())}`;
  };
  return h(
    "form",
    { class: "inline", onsubmit: submit },
    field("transaction", words.id, input, words.idHint),
    h("button", { type: "submit", class: "quiet" }, words.find),
  );
}

/** The controls, and a function that reads the filter from them. */
function filters() {
  const client = choice({ "": words.all });
  const bizId = h("input", { type: "text", spellcheck: "false", autocomplete: "off", maxlength: 64 });
  const [since, until] = [timeInput(), timeInput()];
  const code = choice({ "": words.all, ...Object.fromEntries(CODES.map((name) => [name, name])) });
  const result = choice({ "": words.all, ...words.verdicts });
  const [scoreFrom, scoreTo] = [0, 1].map(() => h("input", { type: "number", min: 0, max: 100, step: "any", inputmode: "decimal" }));
  get("clients")
    .then(({ clients }) => client.append(...clients.map(({ clientId, name }) => h("option", { value: clientId }, name))))
    // The list itself reports what is wrong with the server.
    .catch(() => {});

  const names = words.filters;
  const controls = [
    field("client", names.client, client),
    field("biz-id", names.bizId, bizId),
    field("since", names.since, since),
    field("until", names.until, until),
    field("code", names.code, code),
    field("verdict", names.verdict, result),
    field("score-from", names.scoreFrom, scoreFrom),
    field("score-to", names.scoreTo, scoreTo),
  ];
  const score = ({ value }) => (value ? Number(value) : undefined);
  const filter = () => ({
    client: client.value || undefined,
    bizId: bizId.value.trim() || undefined,
    since: entered(since),
    until: entered(until),
    code: code.value || undefined,
    verdict: result.value || undefined,
    scoreFrom: score(scoreFrom),
    scoreTo: score(scoreTo),
  });
  return { controls, filter };
}

function choice(options) {
  return h("select", {}, Object.entries(options).map(([value, text]) => h("option", { value }, text)));
}

function grid(rows) {
  const heads = Object.values(words.table);
  return h(
    "table",
    { class: "cards transactions" },
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    rows,
  );
}

function row(found) {
  const { transactionId, clientId, clientName, code, score } = found;
  const heads = Object.values(words.table);
  const cells = [clientName ?? clientId, badge(found), code, score === null ? texts.none : number(score, 6), took(found)];
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("a", { href: `#transactions/${transactionId}`, title: transactionId }, moment(found.createdAt))),
    cells.map((cell, i) => h("td", { "data-label": heads[i + 1] }, cell)),
  );
}

/** The verdict, or the state without one. */
function badge({ state, verdict: shown, code }) {
  if (shown) return h("span", { class: `badge ${{ same: "good", different: "bad" }[shown] ?? "neutral"}` }, words.verdicts[shown]);
  if (code === "UNABLE_GET_IMAGE") return h("span", { class: "badge warn" }, words.refused);
  return h("span", { class: `badge ${state === "dead" ? "bad" : "neutral"}` }, words.states[state]);
}

async function one(main, id) {
  const result = h("div", {}, h("p", { class: "working" }, words.loading));
  put(main, h("p", {}, h("a", { href: "#transactions" }, words.back)), h("h1", {}, words.one), result);
  try {
    const found = await get(`transactions/${encodeURIComponent(id)}`);
    put(result, shown(found));
    say(words.states[found.state]);
  } catch (error) {
    put(result, note("bad", sentence(error)));
  }
}

function shown(found) {
  const { state, clientName, clientId, attempts, createdAt, startedAt, finishedAt, shard, outcome } = found;
  const names = words.rows;
  const kind = { done: "good", dead: "bad" }[state] ?? "warn";
  const facts = [
    [names.id, h("span", { class: "id" }, found.transactionId)],
    [names.state, h("span", { class: `badge ${kind}` }, words.states[state])],
    [names.client, clientName ? `${clientName} (${clientId})` : clientId],
    [names.attempts, String(attempts)],
    [names.created, moment(createdAt)],
    [names.started, moment(startedAt)],
    [names.finished, moment(finishedAt)],
    [names.took, took(found)],
    [names.shard, String(shard)],
  ];
  const none = h("p", {}, state === "dead" ? words.deadOutcome : words.noOutcome);
  const said = outcome ? verdict(outcome) : { text: words.states[state], kind: state === "dead" ? "bad" : "neutral" };
  const otherwise = outcome?.kind === "refused" ? unusable(outcome.refusal) : none;
  return [card(outcome, said, facts, otherwise), outcome?.kind === "compared" ? faces(outcome) : null];
}

/** What was found on the photos, which are gone. */
function faces({ face1, face2 }) {
  const one = (face, place) =>
    h("section", { class: "card" }, h("h2", {}, texts.compare.photos[place], h("small", {}, ` ${texts.compare.parts[place]}`)), findings(face, place));
  return h("div", { class: "slots" }, [face1, face2].map(one));
}

/** One that was compared while its client waited is recorded when it has ended, so it has one time. */
function took({ createdAt, finishedAt }) {
  if (finishedAt === null) return texts.none;
  if (finishedAt === createdAt) return words.waited;
  return filled(texts.verdict.milliseconds, { ms: finishedAt - createdAt });
}
