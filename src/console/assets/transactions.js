// What became of a transaction.

import { get } from "./api.js";
import { busy, field, h, moment, note, put, say, sentence } from "./dom.js";
import { filled, texts } from "./texts.js";

const words = texts.transactions;

/** Shows the page; `rest` of the address is an id to look up at once. */
export function transactions(main, { rest }) {
  const input = h("input", { type: "text", required: true, spellcheck: "false", autocomplete: "off", maxlength: 64, value: rest });
  const button = h("button", { type: "submit" }, words.find);
  const result = h("div");
  const find = () =>
    busy(button, async () => {
      put(result);
      try {
        const found = await get(`transactions/${encodeURIComponent(input.value.trim())}`);
        put(result, shown(found));
        say(words.states[found.state]);
      } catch (error) {
        put(result, note("bad", sentence(error)));
      }
    });
  const submit = (event) => {
    event.preventDefault();
    find();
  };
  put(
    main,
    h("h1", {}, words.heading),
    h("p", { class: "lead" }, words.lead),
    h("form", { class: "inline", onsubmit: submit }, field("transaction", words.id, input, words.idHint), button),
    result,
  );
  if (rest) find();
}

function shown(found) {
  const { state, clientName, clientId, attempts, createdAt, startedAt, finishedAt, shard, outcome } = found;
  const kind = { done: "good", dead: "bad" }[state] ?? "warn";
  const client = clientName ? `${clientName} (${clientId})` : clientId;
  const rows = {
    state: h("span", { class: `badge ${kind}` }, words.states[state]),
    client,
    attempts: String(attempts),
    created: moment(createdAt),
    started: moment(startedAt),
    finished: moment(finishedAt),
    took: took(found),
    shard: String(shard),
  };
  const none = state === "dead" ? words.deadOutcome : words.noOutcome;
  return h(
    "section",
    { class: "card" },
    h("h2", { class: "id" }, found.transactionId),
    h(
      "dl",
      { class: "facts" },
      Object.entries(rows).map(([name, value]) => h("div", {}, h("dt", {}, words.rows[name]), h("dd", {}, value))),
    ),
    h("h3", {}, words.outcome),
    outcome ? h("pre", { class: "scroll", tabindex: "0" }, JSON.stringify(outcome, null, 2)) : h("p", {}, none),
  );
}

/** One that was compared while its client waited is recorded when it has ended, so it has one time. */
function took({ createdAt, finishedAt }) {
  if (finishedAt === null) return texts.none;
  if (finishedAt === createdAt) return words.waited;
  return filled(texts.verdict.milliseconds, { ms: finishedAt - createdAt });
}
