// How the service does right now.

import { get } from "./api.js";
import { lines } from "./charts.js";
import { h, note, number, put, sentence } from "./dom.js";
import { filled, texts } from "./texts.js";

const words = texts.live;
const EVERY = 2000;
/** Points of a mean. */
const MEAN = 5;

/** Shows the page; returns how to leave it. */
export function live(main, { about }) {
  const rate = lines(words.requests, [words.requests]);
  const errors = lines(words.errors, [words.failed, words.refused]);
  const latency = lines(words.latency, [words.p50, words.p95]);
  const queue = lines(words.queue, [words.queue]);
  const state = h("div", { "aria-live": "polite" });
  const tables = h("div");
  put(
    main,
    h("h1", {}, words.heading),
    h("p", { class: "lead" }, words.lead),
    about.frontEnd ? null : note("warn", words.noFrontEnd),
    about.workers ? null : note("warn", words.noWorkers),
    state,
    h("div", { class: "charts" }, [rate, latency, queue, errors].map((chart) => chart.element)),
    tables,
  );

  let timer;
  let left = false;
  let was;

  const draw = (news) => {
    const { points, stepS, queue: databases } = news;
    // The last stretch of time is under way, so it would always seem to fall.
    const whole = points.slice(0, -1);
    const perSecond = (name) => whole.map((point) => point[name] / stepS);
    const last = (values) => values.filter((value) => value !== null).at(-1) ?? null;
    const shown = (value) => (value === null ? texts.none : number(value));
    const mean = (values) => number(values.slice(-MEAN).reduce((sum, value) => sum + value, 0) / MEAN);
    const [requests, failed, refused] = ["requests", "errors", "refused"].map(perSecond);
    rate.draw([requests], mean(requests), number);
    errors.draw([failed, refused], `${mean(failed)} / ${mean(refused)}`, number);
    const times = [whole.map((point) => point.p50), whole.map((point) => point.p95)];
    latency.draw(times, times.map((all) => shown(last(all))).join(" / "), number);
    const jobs = whole.map((point) => point.jobs);
    queue.draw([jobs], shown(last(jobs)), number);
    put(tables, byEndpoint(news.endpoints), byDatabase(databases));
  };

  // Shown again only when it has changed, because screen readers read it.
  const show = (kind, text) => {
    if (was === text) return;
    was = text;
    put(state, note(kind, text));
  };

  const poll = async () => {
    if (!document.hidden) {
      try {
        const news = await get("live");
        if (left) return;
        draw(news);
        show(news.ready ? "good" : "bad", news.ready ? words.ready : words.notReady);
      } catch (error) {
        if (left) return;
        show("bad", filled(words.stalled, { why: sentence(error) }));
      }
    }
    if (!left) timer = setTimeout(poll, EVERY);
  };
  poll();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

function byEndpoint(endpoints) {
  const heads = Object.values(words.table);
  const row = ({ name, requests, refused, errors, p50, p95, p99, codes }) => {
    const counts = Object.entries(codes).map(([code, n]) => `${code} ${n}`);
    const cells = [requests, refused, errors, number(p50), number(p95), number(p99), counts.join(", ")];
    return h("tr", {}, h("th", { scope: "row" }, name), cells.map((cell, i) => h("td", { "data-label": heads[i + 1] }, String(cell))));
  };
  return h(
    "section",
    {},
    h("h2", {}, words.endpoints),
    endpoints.length ? grid(heads, endpoints.map(row)) : h("p", {}, words.empty),
  );
}

function byDatabase(databases) {
  const heads = Object.values(words.database);
  const row = ({ shard, jobs, bytes, oldestMs }) => {
    const size = filled(words.mebibytes, { n: number(bytes / 1048576) });
    const oldest = oldestMs === null ? texts.none : filled(words.seconds, { s: number(oldestMs / 1000) });
    const cells = [jobs ?? words.unread, size, oldest];
    return h("tr", {}, h("th", { scope: "row" }, String(shard)), cells.map((cell, i) => h("td", { "data-label": heads[i + 1] }, String(cell))));
  };
  return h("section", {}, h("h2", {}, words.databases), grid(heads, databases.map(row)));
}

function grid(heads, rows) {
  return h(
    "table",
    { class: "cards" },
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows),
  );
}
