// The texts of the page are complete in each language, and none is left over.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const ASSETS = join(ROOT, "src/console/assets");

const files = await readdir(ASSETS);
const languages = files.map((name) => /^texts\.(\w+)\.js$/.exec(name)?.[1]).filter(Boolean);
const all = new Map(await Promise.all(languages.map(async (name) => [name, (await import(join(ASSETS, `texts.${name}.js`))).texts])));

/** Each text with its path; what is no text, such as a duration, is part of the path. */
function leaves(node, path = []) {
  if (typeof node === "string") return [[path, node]];
  if (typeof node !== "object") return [[[...path, node], ""]];
  return Object.entries(node).flatMap(([key, value]) => leaves(value, [...path, key]));
}

function placeholders(text) {
  return [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();
}

async function source(folder, names) {
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  return texts.join("\n");
}

test("every language has the same texts, in the same order, with the same placeholders", () => {
  assert.deepEqual(languages.sort(), ["en", "id", "zh"]);
  const shape = (texts) => leaves(texts).map(([path, text]) => `${path.join(".")} ${placeholders(text)}`);
  for (const [name, texts] of all) assert.deepEqual(shape(texts), shape(all.get("en")), name);
});

test("every sentence is translated", () => {
  const english = new Map(leaves(all.get("en")).map(([path, text]) => [path.join("."), text]));
  const isSentence = (text) => / \w+ \w+/.test(text);
  assert.ok([...english.values()].filter(isSentence).length > 100);
  for (const [name, texts] of [...all].filter(([one]) => one !== "en")) {
    const same = leaves(texts).filter(([path, text]) => isSentence(text) && text === english.get(path.join(".")));
    assert.deepEqual(same, [], name);
  }
});

/** Groups that are read by what the server sends. */
const SENT = ["errors", "refusals", "measures", "reasons", "quality", "limits", "proofs", "verdicts", "states", "outcomes"];

/** The source of the server with names of variants and members also as JSON has them. */
async function server() {
  const rust = await Promise.all(
    ["src/console", "src/clients", "crates/face/src/quality"].map(async (folder) => {
      const names = (await readdir(join(ROOT, folder))).filter((name) => name.endsWith(".rs"));
      return source(join(ROOT, folder), names);
    }),
  );
  const text = rust.join("\n");
  const upper = text.replace(/\b[A-Z]\w+/g, (name) => name.replace(/(?!^)([A-Z])/g, "_$1").toUpperCase());
  const camel = text.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  const lower = text.replace(/\b[A-Z]\w+/g, (name) => name.toLowerCase());
  return [text, upper, camel, lower].join("\n");
}

test("no text is left over", async () => {
  const scripts = await Promise.all(
    files.filter((name) => name.endsWith(".js") && !/^texts\./.test(name)).map((name) => source(ASSETS, [name])),
  );
  const codes = (await server()) + (await source(ASSETS, ["api.js"]));
  for (const [section, texts] of Object.entries(all.get("en"))) {
    const script = scripts.filter((text) => new RegExp(`texts\\.${section}\\b`).test(text)).join("\n");
    assert.notEqual(script, "", `nothing uses texts.${section}`);
    if (typeof texts === "string") continue;
    // Read as a whole, such as the heads of a table.
    const read = [...script.matchAll(/(?:Object\.(?:keys|values|entries)\((?:words\.)?|\} = words\.)([\w.]+)/g)];
    const whole = read.map((found) => found[1].split(".").at(-1));
    const unused = leaves(texts).filter(([path]) => {
      if (path.some((part) => whole.includes(part))) return false;
      const group = [section, ...path].findIndex((part) => SENT.includes(part));
      // A member of a list has no name of its own.
      const key = group >= 0 ? path[group] : path.filter((part) => /^[a-z]/i.test(part)).at(-1);
      return key && !new RegExp(`\\b${key}\\b`).test(group >= 0 ? codes : script);
    });
    assert.deepEqual(unused.map(([path]) => path.join(".")), [], section);
  }
});
