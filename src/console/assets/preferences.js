// What each browser chooses for itself, before a login too.

import { h } from "./dom.js";
import { LANGUAGES, chooseLanguage, language, texts } from "./texts.js";

const words = texts.preferences;

/** The switches. */
export function preferences() {
  const languages = Object.entries(LANGUAGES).map(([name, text]) => h("option", { value: name, lang: name }, text));
  const themes = Object.entries(words.themes).map(([name, text]) => h("option", { value: name }, text));
  return h(
    "div",
    { class: "preferences" },
    choice("language", words.language, languages, language, chooseLanguage),
    choice("theme", words.theme, themes, document.documentElement.dataset.theme, chooseTheme),
  );
}

/** Keeps the choice, which `theme.js` reads when the page is loaded, and shows it. */
function chooseTheme(name) {
  localStorage.setItem("visavis.theme", name);
  document.documentElement.dataset.theme = name;
}

function choice(id, label, options, value, choose) {
  const select = h("select", { id, onchange: () => choose(select.value) }, options);
  select.value = value;
  return h("div", {}, h("label", { for: id }, label), select);
}
