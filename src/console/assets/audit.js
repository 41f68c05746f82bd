// Who changed what.

import { post } from "./api.js";
import { attempt, busy, entered, field, h, moment, put, save, say, timeInput } from "./dom.js";
import { filled, texts } from "./texts.js";

const words = texts.audit;
const BADGES = { done: "good", refused: "warn", failed: "bad", begun: "warn" };

/** Shows the page. */
export function audit(main) {
  const text = (maxlength) => h("input", { type: "text", spellcheck: "false", autocomplete: "off", maxlength });
  const inputs = { who: text(64), client: text(64), act: text(32), since: timeInput(), until: timeInput() };
  const show = h("button", { type: "submit" }, words.show);
  const csv = h("button", { type: "button", class: "quiet", onclick: () => busy(csv, download) }, words.csv);
  const trouble = h("div");
  const result = h("div");
  const form = () => {
    const { who, client, act, since, until } = inputs;
    return { who: who.value, client: client.value, act: act.value, since: entered(since), until: entered(until) };
  };
  const list = () =>
    attempt(trouble, async () => {
      const asked = form();
      const body = h("tbody");
      const more = h("button", { type: "button", class: "quiet", onclick: () => busy(more, () => attempt(trouble, next)) }, words.more);
      let after = null;
      const next = async () => {
        const page = await post("audit", { ...asked, after });
        body.append(...page.entries.map(row));
        after = page.next;
        more.hidden = !after;
        say(filled(words.count, { count: body.children.length }));
      };
      await next();
      put(result, body.children.length ? [table(body), more] : h("p", {}, words.empty));
    });
  const download = () =>
    attempt(trouble, async () => {
      const { csv: content } = await post("audit", { ...form(), csv: true });
      save(content, words.file);
    });
  const submit = (event) => {
    event.preventDefault();
    busy(show, list);
  };
  put(
    main,
    h("h1", {}, words.heading),
    h("p", { class: "lead" }, words.lead),
    h(
      "form",
      { class: "options", onsubmit: submit },
      field("audit-who", words.who, inputs.who, words.whoHint),
      field("audit-client", words.client, inputs.client, words.clientHint),
      field("audit-act", words.act, inputs.act, words.actHint),
      field("audit-since", words.since, inputs.since),
      field("audit-until", words.until, inputs.until),
      show,
      csv,
    ),
    trouble,
    result,
  );
  list();
}

function table(body) {
  const heads = Object.values(words.table).map((head) => h("th", { scope: "col" }, head));
  return h("table", { class: "cards audit" }, h("thead", {}, h("tr", {}, heads)), body);
}

function row(entry) {
  const { at, actor, from, proof, act, subject, clientName, outcome, detail } = entry;
  const cells = {
    at: moment(at),
    actor,
    from: from ?? texts.none,
    proof: words.proofs[proof] ?? proof ?? texts.none,
    act,
    subject: clientName ? `${clientName} (${subject})` : subject,
    outcome: outcome ? h("span", { class: `badge ${BADGES[outcome] ?? "warn"}` }, words.outcomes[outcome] ?? outcome) : texts.none,
    detail: detail || texts.none,
  };
  const cell = ([name, value]) => h("td", { "data-label": words.table[name] }, value);
  return h("tr", {}, Object.entries(cells).map(cell));
}
