// The Grafana board of docs/METRICS.md: `make board-shot`. Grafana is in no package
// registry, so its board is drawn here: from its JSON, with what Prometheus has of a busy server.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, freePort, keepBusy, startBrowser, startServer, within } from "./harness.mjs";

const BOARD = join(ROOT, "deploy/grafana/dashboards/visavis.json");
/** Enough for the lines. */
const BUSY_MS = Number(process.env.SHOTS_BUSY_MS ?? 120_000);
const STEP_S = 2;
/** What Grafana puts in place of its variable. */
const RATE_INTERVAL = "10s";
const WIDTH = 1500;
const ROW_HEIGHT = 26;
const COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffa6b0", "#ca95e5"];
const STYLE = `
  body { margin: 0; background: #111217; color: #ccccdc; font: 13px/1.3 sans-serif; }
  section { position: absolute; box-sizing: border-box; display: flex; flex-direction: column; overflow: hidden;
    background: #181b1f; border: 1px solid #2a2d33; border-radius: 3px; padding: 6px 10px; }
  section.row { background: none; border: 0; padding: 0; }
  h2 { font-size: 13px; font-weight: 600; margin: 0 0 4px; }
  p.stat { margin: auto; font-size: 26px; color: #73bf69; }
  .none { margin: auto; opacity: 0.6; }
  .plot { flex: 1; min-height: 0; position: relative; border-bottom: 1px solid #3a3d43; }
  .plot b { position: absolute; font-weight: 400; font-size: 11px; opacity: 0.7; }
  svg { width: 100%; height: 100%; }
  path { fill: none; stroke-width: 1.5px; vector-effect: non-scaling-stroke; }
  .legend { margin: 4px 0 0; max-height: 34px; overflow: hidden; font-size: 11px; }
  .legend span { margin-right: 10px; white-space: nowrap; }
  .legend i { display: inline-block; width: 10px; height: 3px; margin: 0 4px 3px 0; }
  table { border-collapse: collapse; }
  th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #2a2d33; }
`;

const server = await startServer();
const folder = await mkdtemp(join(tmpdir(), "visavis-prometheus-"));
const port = await freePort();
await writeFile(
  join(folder, "prometheus.yml"),
  `global: { scrape_interval: 1s }
scrape_configs: [{ job_name: visavis, static_configs: [{ targets: ["${new URL(server.url).host}"] }] }]
`,
);
const prometheus = spawn(
  "prometheus",
  [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`],
  { stdio: "ignore" },
);
process.on("exit", () => prometheus.kill("SIGKILL"));
const ended = new Promise((done) => prometheus.on("exit", done).on("error", done));
const browser = await startBrowser();
try {
  const page = await browser.context.newPage();
  await page.goto(server.url);
  await page.getByLabel("Token").fill(server.token);
  await page.keyboard.press("Enter");
  await page.locator(".slots").waitFor();
  const from = Date.now() / 1000;
  await keepBusy(page, BUSY_MS);
  const span = { from, to: Date.now() / 1000 };

  const { panels } = JSON.parse(await readFile(BOARD, "utf8"));
  const drawn = [];
  for (const panel of panels) drawn.push(await withData(panel, span));
  const blank = await browser.context.newPage();
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  await blank.setViewportSize({ width: WIDTH, height: bottom * ROW_HEIGHT + 20 });
  await blank.setContent(`<style>${STYLE}</style>${drawn.join("")}`);
  await blank.screenshot({ path: join(ROOT, "docs/console/board.png") });
} finally {
  prometheus.kill("SIGTERM");
  await within(10_000, ended, () => "Prometheus does not end").catch(() => prometheus.kill("SIGKILL"));
  await browser.stop();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

/** The results of a query. */
async function query(path, expression, parameters) {
  const values = new URLSearchParams({ query: expression.replaceAll("$__rate_interval", RATE_INTERVAL), ...parameters });
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}?${values}`);
  const { status, data, error } = await response.json();
  if (status !== "success") throw new Error(`${expression}: ${error}`);
  return data.result;
}

/** A panel in its place. */
async function withData({ type, title, gridPos, targets = [], fieldConfig }, { from, to }) {
  const unit = fieldConfig?.defaults?.unit;
  let body = "";
  if (type === "stat") {
    const [found] = await query("query", targets[0].expr, { time: to });
    body = `<p class="stat">${found ? shown(Number(found.value[1]), unit) : "No data"}</p>`;
  } else if (type === "timeseries") {
    const series = [];
    for (const { expr, legendFormat } of targets) {
      const found = await query("query_range", expr, { start: from, end: to, step: STEP_S });
      series.push(...found.map(({ metric, values }) => ({ name: named(legendFormat, metric), values })));
    }
    body = chart(series.filter(({ values }) => values.some(([, value]) => Number.isFinite(Number(value)))), unit, from, to);
  } else if (type === "table") {
    const found = await query("query", targets[0].expr, { time: to });
    const names = Object.keys(found[0]?.metric ?? {}).filter((name) => name !== "__name__");
    const row = (cells, tag) => `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
    body = `<table>${row(names, "th")}${found.map(({ metric }) => row(names.map((name) => metric[name]), "td")).join("")}</table>`;
  }
  const { x, y, w, h } = gridPos;
  const place = `left:${(x / 24) * WIDTH + 4}px;top:${y * ROW_HEIGHT + 4}px;width:${(w / 24) * WIDTH - 8}px;height:${h * ROW_HEIGHT - 8}px`;
  return `<section class="${type}" style="${place}"><h2>${title}</h2>${body}</section>`;
}

function named(format, metric) {
  return (format ?? "").replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? "");
}

/** Lines with their legend, in coordinates from 0 to 100. */
function chart(series, unit, from, to) {
  if (series.length === 0) return `<p class="none">No data</p>`;
  const values = series.flatMap((one) => one.values.map(([, value]) => Number(value)).filter(Number.isFinite));
  const top = Math.max(...values) * 1.1 || 1;
  const path = (one) => {
    const points = one.values.filter(([, value]) => Number.isFinite(Number(value)));
    return points.map(([time, value], i) => `${i ? "L" : "M"}${(((time - from) / (to - from)) * 100).toFixed(2)} ${(100 - (Number(value) / top) * 100).toFixed(2)}`).join("");
  };
  const colour = (i) => COLOURS[i % COLOURS.length];
  const lines = series.map((one, i) => `<path d="${path(one)}" stroke="${colour(i)}"/>`).join("");
  const legend = series.map((one, i) => `<span><i style="background:${colour(i)}"></i>${one.name}</span>`).join("");
  return `<div class="plot"><b>${shown(top, unit)}</b><svg viewBox="0 0 100 100" preserveAspectRatio="none">${lines}</svg></div><p class="legend">${legend}</p>`;
}

function shown(value, unit) {
  const short = (number) => String(Number(number.toPrecision(3)));
  if (unit === "reqps") return `${short(value)} req/s`;
  if (unit === "percentunit") return `${short(value * 100)} %`;
  if (unit === "s") return value < 1 ? `${short(value * 1000)} ms` : `${short(value)} s`;
  if (unit === "bytes") return value < 2 ** 20 ? `${short(value / 2 ** 10)} KiB` : `${short(value / 2 ** 20)} MiB`;
  return short(value);
}
