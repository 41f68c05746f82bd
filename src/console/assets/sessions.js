// A list of sessions, each with a button that ends it.

import { busy, h, moment } from "./dom.js";
import { filled, texts } from "./texts.js";

const words = texts.sessions;

/** `named`: with the user of each. `own`: the id of the session that cannot be ended here. */
export function sessions(all, { named, own, end }) {
  const heads = [named ? words.table.name : null, ...["begun", "seen", "address", "proof", "actions"].map((head) => words.table[head])];
  const shown = heads.filter(Boolean);
  const row = (session) => {
    const button = h("button", { type: "button", class: "quiet small", "aria-label": filled(words.named, session) }, words.end);
    button.addEventListener("click", () => busy(button, () => end(session)));
    const cells = [
      moment(session.begunAt),
      moment(session.seenAt),
      session.address ?? texts.none,
      words.proofs[session.proof],
      session.id === own ? words.own : button,
    ];
    const first = named ? [h("th", { scope: "row" }, session.name)] : [];
    return h("tr", {}, first, cells.map((cell, i) => h("td", { "data-label": shown[i + first.length] }, cell)));
  };
  return h(
    "table",
    { class: "cards sessions" },
    h("thead", {}, h("tr", {}, shown.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, all.map(row)),
  );
}
