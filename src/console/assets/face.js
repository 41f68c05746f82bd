// A photo with its analysis: box, landmarks, and every measure beside its limits.

import { h, note, number, s } from "./dom.js";
import { filled, texts } from "./texts.js";

const words = texts.compare;

/** The photo with box and landmarks, in pixels of the upright photo, as the browser shows it. */
export function photo(url, alt, face) {
  return h("div", { class: "photo" }, h("img", { src: url, alt }), face ? overlay(face) : null);
}

function overlay({ width, height, box, landmarks, quality }) {
  const dot = Math.max(box.width / 32, Math.max(width, height) / 220);
  const state = quality === "PASS" ? "good" : "bad";
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: `overlay ${state}`, "aria-hidden": "true" },
    s("rect", { class: "box", ...box, rx: dot }),
    landmarks.map(([cx, cy]) => s("circle", { class: "landmark", cx, cy, r: dot })),
  );
}

/** The analysis of the face on a photo, 0 or 1: a summary, its reasons, and all measures in a fold. */
export function findings(face, place) {
  const { quality, width, height, faces, measures } = face;
  const state = quality === "PASS" ? "good" : "bad";
  const count = faces === 1 ? words.faces.one : filled(words.faces.many, { n: faces });
  const reasons = measures.filter((measure) => measure.reason);
  reasons.sort((a, b) => Number(b.reason.fails) - Number(a.reason.fails));
  return h(
    "div",
    { class: "findings" },
    h(
      "p",
      { class: "summary" },
      h("span", { class: `badge ${state}` }, words.quality[quality]),
      ` ${filled(words.pixels, { width, height })}, ${count}`,
    ),
    reasons.length ? h("ul", { class: "reasons" }, reasons.map(reason)) : null,
    h("details", {}, h("summary", {}, words.measures), table(measures, `${words.measures}: ${words.photos[place]}`)),
  );
}

/** Why a photo cannot be used. */
export function unusable(refusal) {
  return note("bad", texts.refusals[refusal] ?? texts.errors.internal);
}

function reason({ name, value, reason: { code, limit, fails } }) {
  const { problem, remedy } = texts.reasons[code];
  const values = { problem, measure: heading(name), value: withUnit(name, value), limit: withUnit(name, limit) };
  return h(
    "li",
    { class: fails ? "bad" : "warn" },
    h("strong", {}, fails ? words.fails : words.warns),
    " ",
    h("code", {}, code),
    ` ${filled(value < limit ? words.below : words.above, values)} ${remedy}`,
  );
}

function table(measures, label) {
  const heads = words.table;
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      { class: "measures" },
      h("thead", {}, h("tr", {}, Object.values(heads).map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, measures.map(row)),
    ),
  );
}

function row({ name, value, score, limits, reason }) {
  const state = reason ? (reason.fails ? "bad" : "warn") : "";
  const bar = h("meter", { min: 0, max: 100, value: score, "aria-label": heading(name) });
  const bounds = Object.entries(limits).map(([kind, x]) => filled(words.limits[kind], { x: number(x) }));
  const why = reason ? h("span", { title: texts.reasons[reason.code].remedy }, reason.code) : texts.none;
  return h(
    "tr",
    { class: state },
    h("th", { scope: "row" }, heading(name)),
    h("td", { class: "number" }, withUnit(name, value)),
    h("td", {}, bar, ` ${Math.round(score)}`),
    h("td", {}, bounds.length ? bounds.map((limit) => h("div", {}, limit)) : texts.none),
    h("td", { class: "why" }, why),
  );
}

function heading(name) {
  return texts.measures[name]?.[0] ?? name;
}

function withUnit(name, value) {
  const unit = texts.measures[name]?.[1];
  const space = unit && unit !== "°" ? " " : "";
  return `${number(value)}${space}${unit ?? ""}`;
}
