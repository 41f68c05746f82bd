// Elements from data. Text goes in as text, so nothing that the server says becomes markup.

import { locale, texts } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
  return element;
}

/** An HTML element; attributes that begin with `on` are listeners. */
export function h(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function s(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Puts children in the place of whatever was there. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
}

/** The sentence for something that was thrown. */
export function sentence(error) {
  return texts.errors[error?.code] ?? texts.errors.internal;
}

const live = h("p", { class: "hidden", role: "status", "aria-live": "polite" });

/** Where `say` speaks; to be put into the page once. */
export function announcer() {
  return live;
}

/** Announces a text to screen readers. */
export function say(text) {
  live.textContent = "";
  requestAnimationFrame(() => (live.textContent = text));
}

/** A note in the page: `kind` is `bad`, `good`, `warn` or `plain`. */
export function note(kind, ...children) {
  return h("p", { class: `note ${kind}`, role: kind === "bad" ? "alert" : undefined }, ...children);
}

/** A labelled row of a form. */
export function field(id, label, control, hint) {
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    control,
    hint ? h("small", { id: `${id}-hint` }, hint) : null,
  );
}

/** Opens a modal window with this heading; `build` gets its body and a function that closes it. */
export function dialog(title, build) {
  const body = h("div", { class: "body" });
  const window = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title),
    body,
  );
  const close = () => window.close();
  window.addEventListener("close", () => window.remove());
  build(body, close);
  document.body.append(window);
  window.showModal();
  return window;
}

/** Asks before `go`, which gets a function that closes the question. */
export function sure({ heading, lead, verb }, go) {
  dialog(heading, (body, close) => {
    const yes = h("button", { type: "button", class: "danger" }, verb);
    yes.addEventListener("click", () => busy(yes, () => go(close)));
    const no = h("button", { type: "button", class: "quiet", autofocus: true, onclick: close }, texts.cancel);
    put(body, h("p", {}, lead), h("div", { class: "actions" }, yes, no));
  });
}

/** Lets the reader save a text under this name. */
export function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

/**
 * A form in a window; `send` does what it is for. What it throws is shown, at the control that `at` names for the code
 * of the error.
 */
export function form(title, rows, submit, send, at = () => undefined) {
  dialog(title, (body, close) => {
    const trouble = h("div", { id: "trouble" });
    const actions = h("div", { class: "actions" });
    let clear = () => {};
    const button = h("button", { type: "submit" }, submit);
    const sent = (event) => {
      event.preventDefault();
      busy(button, async () => {
        clear();
        put(trouble);
        try {
          await send(close);
        } catch (error) {
          const control = at(error?.code);
          if (control) clear = point(control, trouble);
          else actions.before(trouble);
          put(trouble, note("bad", sentence(error)));
          trouble.scrollIntoView({ block: "nearest" });
        }
      });
    };
    put(actions, button, h("button", { type: "button", class: "quiet", onclick: close }, texts.cancel));
    put(body, h("form", { onsubmit: sent }, rows, trouble, actions));
  });
}

/** Shows `trouble` at a control, which gets the focus; returns how to end that. */
function point(control, trouble) {
  const described = control.getAttribute("aria-describedby");
  control.closest(".field").append(trouble);
  control.setAttribute("aria-invalid", "true");
  control.setAttribute("aria-describedby", [described, trouble.id].filter(Boolean).join(" "));
  control.focus();
  return () => {
    control.removeAttribute("aria-invalid");
    if (described) control.setAttribute("aria-describedby", described);
    else control.removeAttribute("aria-describedby");
  };
}

/** Runs `work` and says in `trouble` what it throws; whether it succeeded. */
export async function attempt(trouble, work) {
  put(trouble);
  try {
    await work();
    return true;
  } catch (error) {
    put(trouble, note("bad", sentence(error)));
    return false;
  }
}

/** A control for a time, to the second. */
export function timeInput() {
  return h("input", { type: "datetime-local", step: 1 });
}

/** What was entered there, in milliseconds since the epoch. */
export function entered({ value }) {
  return value ? new Date(value).getTime() : undefined;
}

/** Runs `work` while `button` cannot be pressed again. */
export async function busy(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** A day in the language of the page; the title has the exact time. */
export function day(millis) {
  return moment(millis, { dateStyle: "medium" });
}

/** A date in the language of the page, and to the millisecond for machines. */
export function moment(millis, form = { dateStyle: "medium", timeStyle: "medium" }) {
  if (millis === null || millis === undefined) return texts.none;
  const date = new Date(millis);
  const exact = date.toISOString();
  return h("time", { datetime: exact, title: exact }, date.toLocaleString(locale, form));
}

/** A number with so many significant digits at most. */
export function number(value, digits = 3) {
  return Number(value).toLocaleString(locale, { maximumSignificantDigits: digits, useGrouping: false });
}
