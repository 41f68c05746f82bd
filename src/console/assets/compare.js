// Two photos in, a verdict out, with everything that was found on the way.

import { post } from "./api.js";
import { takePhoto } from "./camera.js";
import { busy, field, h, note, number, put, say, sentence } from "./dom.js";
import { findings, photo, unusable } from "./face.js";
import { card, verdict } from "./outcome.js";
import { filled, locale, texts } from "./texts.js";

const words = texts.compare;

/** Shows the page; returns how to leave it. */
export function compare(main, { about }) {
  const kind = h(
    "select",
    {},
    h("option", { value: "selfie" }, words.selfie),
    h("option", { value: "document" }, words.document),
  );
  const code = h("input", { type: "text", maxlength: 32, autocomplete: "off", spellcheck: "false", value: words.codeDefault });
  const codeRow = field("code", words.code, code, words.codeHint);
  codeRow.hidden = true;
  const isDocument = () => kind.value === "document";
  const slots = [0, 1].map((place) => slot(place, about, () => place === 1 && isDocument()));
  kind.addEventListener("change", () => {
    codeRow.hidden = !isDocument();
    slots[1].look();
  });
  const button = h("button", { type: "submit", class: "large" }, words.go);
  const result = h("section", { class: "result", tabindex: "-1", "aria-label": texts.verdict.heading });

  const submit = (event) => {
    event.preventDefault();
    if (slots.some((one) => !one.file())) {
      put(result, note("bad", words.missing));
      return;
    }
    busy(button, async () => {
      put(result, h("p", { class: "working" }, words.comparing));
      try {
        const [face1, face2] = await Promise.all(slots.map((one) => base64(one.file())));
        const source = isDocument() ? code.value.trim() || words.codeDefault : "";
        const compared = await post("compare", { face1, face2, sourceOfFace2: source });
        show(compared);
      } catch (error) {
        put(result, note("bad", sentence(error)));
      }
    });
  };

  const show = (compared) => {
    const { outcome } = compared;
    if (outcome?.kind === "compared") {
      slots[0].found(outcome.face1);
      slots[1].found(outcome.face2);
    } else if (outcome?.kind === "refused") {
      slots[outcome.face - 1].refused(outcome.refusal);
    }
    const shown = verdict(outcome);
    put(result, report(compared, shown), wire(compared));
    say(shown.text);
    result.focus({ preventScroll: true });
    result.scrollIntoView({ block: "nearest", behavior: "smooth" });
  };

  put(
    main,
    h("h1", {}, words.heading),
    h("p", { class: "lead" }, filled(words.lead, { client: about.ownClient })),
    about.frontEnd ? null : note("warn", words.noFrontEnd),
    about.frontEnd && !about.workers ? note("warn", words.noWorkers) : null,
    h(
      "form",
      { onsubmit: submit, novalidate: true },
      h("div", { class: "slots" }, slots.map((one) => one.element)),
      h("div", { class: "options" }, field("kind", words.kind, kind), codeRow, button),
    ),
    result,
  );
  button.disabled = !about.frontEnd;
  return () => slots.forEach((one) => one.forget());
}

/** A place for one photo: choose, drop, or take it. */
function slot(place, about, isDocument) {
  const title = words.photos[place];
  const input = h("input", { type: "file", accept: "image/jpeg,image/png,image/bmp,image/webp", class: "file" });
  input.id = `file-${place + 1}`;
  const shown = h("div", { class: "shown" });
  const said = h("div", { class: "said", "aria-live": "polite" });
  const label = h("label", { for: input.id, class: "choose" }, h("strong", {}, words.choose), h("span", {}, words.drop));
  const camera = h("button", { type: "button", class: "quiet" }, words.camera);
  const element = h(
    "fieldset",
    { class: "slot" },
    h("legend", {}, title, h("small", {}, ` ${words.parts[place]}`)),
    shown,
    h("div", { class: "take" }, input, label, camera),
    said,
  );

  let file;
  let url;
  // What comes back for an earlier photo is not shown with a later one.
  let turn = 0;
  const alt = filled(words.alt, { n: place + 1 });
  const draw = (face) => put(shown, photo(url, alt, face));
  const found = (face) => {
    turn += 1;
    draw(face);
    put(said, findings(face, place));
  };
  const refused = (refusal) => {
    turn += 1;
    draw();
    put(said, unusable(refusal));
  };
  const look = async () => {
    if (!file || !about.workers) return;
    turn += 1;
    const mine = turn;
    put(said, h("p", { class: "working" }, words.looking));
    try {
      const content = await base64(file);
      const { face, refusal } = await post("look", { content, document: isDocument() });
      if (mine !== turn) return;
      if (face) found(face);
      else refused(refusal);
    } catch (error) {
      if (mine === turn) put(said, note("bad", sentence(error)));
    }
  };
  const forget = () => url && URL.revokeObjectURL(url);
  const take = (chosen) => {
    forget();
    file = chosen;
    url = URL.createObjectURL(chosen);
    element.classList.add("filled");
    put(label, h("strong", {}, words.change));
    put(said);
    draw();
    look();
  };

  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  camera.addEventListener("click", () => takePhoto(take));
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    const [dropped] = event.dataTransfer.files;
    if (dropped) take(dropped);
  });
  return { element, look, found, refused, forget, file: () => file };
}

function report(compared, said) {
  const { outcome, elapsedMs, signatureValid, transactionId } = compared;
  const names = texts.verdict;
  const response = JSON.parse(compared.received.body).result;
  const facts = [[names.time, filled(names.milliseconds, { ms: number(elapsedMs) })]];
  const signature = signatureValid ? names.valid : names.invalid;
  facts.push([names.signature, h("span", { class: `badge ${signatureValid ? "good" : "bad"}` }, signature)]);
  if (transactionId) {
    facts.push([names.transaction, h("a", { href: `#transactions/${transactionId}`, class: "id" }, transactionId)]);
  }
  return card(outcome, said, facts, h("p", {}, `${response.resultCode}: ${response.resultMessage}`));
}

function wire({ path, sent, received }) {
  const said = texts.verdict;
  const head = (lines) => lines.map(({ name, value }) => `${name}: ${value}`).join("\n");
  return h(
    "div",
    { class: "wire" },
    h(
      "details",
      { class: "card" },
      h("summary", {}, said.request),
      h("pre", { class: "scroll", tabindex: "0" }, `POST ${path} HTTP/1.1\n${head(sent.headers)}\n\n${sent.body}`),
      h("p", { class: "small" }, filled(said.shortened, { n: sent.length.toLocaleString(locale) })),
    ),
    h(
      "details",
      { class: "card" },
      h("summary", {}, said.answer),
      h("pre", { class: "scroll", tabindex: "0" }, `HTTP/1.1 ${received.status}\n${head(received.headers)}\n\n${received.body}`),
    ),
  );
}

/** A file as base64. */
function base64(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(file);
  });
}
