// The outcome of a comparison: its verdict, the score on its scale, and what else is known of it.

import { scale } from "./charts.js";
import { h, number } from "./dom.js";
import { filled, locale, texts } from "./texts.js";

const words = texts.verdict;

/** The verdict in a few words, and its colour. */
export function verdict(outcome) {
  if (!outcome) return { text: words.noAnswer, kind: "bad" };
  if (outcome.kind === "refused") return { text: filled(words.refused, { n: outcome.face }), kind: "bad" };
  if (outcome.failures.length) return { text: filled(words.unreliable, { why: outcome.failures.map(failure).join(words.and) }), kind: "neutral" };
  return outcome.samePerson ? { text: words.same, kind: "good" } : { text: words.different, kind: "bad" };
}

function failure({ face, code }) {
  return filled(words.failure, { n: face, problem: texts.reasons[code].problem });
}

/** A card with the verdict and further facts; `otherwise` takes the place of the score if there is none. */
export function card(outcome, { text, kind }, facts, otherwise) {
  const isCompared = outcome?.kind === "compared";
  const all = isCompared ? [...measured(outcome), ...facts] : facts;
  return h(
    "div",
    { class: `card verdict ${kind}` },
    h(
      "div",
      { class: "headline" },
      h("h2", {}, text),
      isCompared ? h("p", { class: "score" }, h("strong", {}, number(outcome.score, 6)), ` ${words.of}`) : null,
    ),
    isCompared
      ? [scale(outcome.score, outcome.threshold, kind), outcome.failures.length ? null : h("p", { class: "means" }, means(outcome.score))]
      : otherwise,
    h("dl", { class: "facts" }, all.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  );
}

function measured({ threshold, similarity, degradationLoss, model, calibration }) {
  const lost = degradationLoss === null ? [] : [[words.degradationLoss, number(degradationLoss, 4)]];
  return [
    [words.threshold, number(threshold, 6)],
    [words.similarity, number(similarity, 4)],
    ...lost,
    [words.model, `${model}, ${calibration}`],
  ];
}

/** The false match rate of a score: 80 is one pair in 100,000, and ten points are a factor of ten. */
function means(score) {
  const pairs = 10 ** ((score - 30) / 10);
  if (score > 90) return words.meansMore;
  if (score < 40) return filled(words.meansLess, { n: "10" });
  return filled(words.means, { n: Number(pairs.toPrecision(2)).toLocaleString(locale) });
}
