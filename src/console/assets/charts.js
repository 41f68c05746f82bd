// Small charts: a scale for one score, and lines over the last two minutes.

import { h, put, s } from "./dom.js";
import { filled, texts } from "./texts.js";

/** Scores at which the false match rate is a power of ten. */
const MARKS = [
  [60, "1e-3"],
  [70, "1e-4"],
  [80, "1e-5"],
  [90, "1e-6"],
];

/** Where a score lies between 0 and 100, where the decision turns, and what rates of false matches that is. */
export function scale(score, threshold, kind) {
  const words = texts.verdict;
  const at = (value, element) => {
    element.style.insetInlineStart = `${value}%`;
    return element;
  };
  const above = h("div", { class: "above" });
  above.style.insetInlineStart = `${threshold}%`;
  return h(
    "div",
    { class: `scale ${kind}`, role: "img", "aria-label": filled(words.scaleAlt, { score, threshold }) },
    h("p", { class: "axis" }, words.scale),
    h(
      "div",
      { class: "marks" },
      MARKS.map(([value, rate]) => at(value, h("span", {}, rate))),
    ),
    h(
      "div",
      { class: "track" },
      above,
      MARKS.map(([value]) => at(value, h("i", { class: "tick" }))),
      at(threshold, h("i", { class: "threshold" })),
      at(score, h("i", { class: "pointer" })),
    ),
    h(
      "div",
      { class: "marks" },
      [0, 20, 40, ...MARKS.map(([value]) => value), 100].map((value) => at(value, h("span", {}, String(value)))),
    ),
  );
}

const WIDTH = 300;
const HEIGHT = 80;

/** A chart with a heading, the present value, and lines; `draw` takes their values, oldest first. */
export function lines(title, names) {
  const words = texts.live;
  const now = h("strong", {});
  const most = h("span", { class: "most" });
  const chart = s("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": title,
  });
  const legend = names.length > 1 ? names.map((name, i) => h("span", { class: `key line${i}` }, name)) : null;
  const element = h(
    "section",
    { class: "chart", "aria-label": title },
    h("h2", {}, title),
    h("p", { class: "now" }, now, legend, most),
    h("div", { class: "plot" }, chart),
    h("p", { class: "ends" }, h("span", {}, words.ago), h("span", {}, words.now)),
  );
  const draw = (series, shown, format) => {
    const values = series.flat().filter((value) => value !== null);
    const peak = Math.max(...values, 0);
    const top = peak || 1;
    now.textContent = shown;
    most.textContent = peak ? filled(words.peak, { x: format(peak) }) : "";
    chart.setAttribute("aria-label", `${title}: ${shown}`);
    // The first is drawn last: it stays visible on the broader ones.
    put(chart, ...series.flatMap((all, i) => line(all, top, i)).reverse());
  };
  return { element, draw };
}

/** A line with gaps where there is nothing to say. */
function line(values, top, place) {
  const step = WIDTH / Math.max(values.length - 1, 1);
  const isValue = (i) => values[i] !== null && values[i] !== undefined;
  let path = "";
  let dots = "";
  values.forEach((value, i) => {
    if (!isValue(i)) return;
    const [x, y] = [i * step, HEIGHT - 4 - (value / top) * (HEIGHT - 8)];
    const at = `${x.toFixed(1)} ${y.toFixed(1)}`;
    path += isValue(i - 1) ? `L${at}` : `M${at}`;
    // The round end of a stroke without length is a dot.
    if (!isValue(i - 1) && !isValue(i + 1)) dots += `M${at}h0`;
  });
  return [s("path", { class: `line line${place}`, d: path }), s("path", { class: `line line${place} dots`, d: dots })];
}
