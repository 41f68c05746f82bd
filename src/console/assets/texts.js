// The texts of the page: in the chosen language, else in the browser's first one that exists.

/** The names of the languages, each in itself. */
export const LANGUAGES = { en: "English", zh: "简体中文", id: "Bahasa Indonesia" };

const TAGS = { en: "en", zh: "zh-Hans", id: "id" };
const KEY = "visavis.language";

/** `zh` of `zh-CN`. */
function primary(tag) {
  return tag.split("-")[0].toLowerCase();
}

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    // A browser may refuse storage.
    return null;
  }
}

/** The language of the page: a key of `LANGUAGES`. */
export const language = [chosen(), ...navigator.languages].map((tag) => primary(tag ?? "")).find((one) => Object.hasOwn(LANGUAGES, one)) ?? "en";

/** For numbers and dates: the browser's own variety of the language, if it has one. */
export const locale = navigator.languages.find((tag) => primary(tag) === language) ?? TAGS[language];

document.documentElement.lang = TAGS[language];

export const { texts } = await import(`./texts.${language}.js`);

/** Keeps the choice and loads the page again in that language. */
export function chooseLanguage(name) {
  localStorage.setItem(KEY, name);
  location.reload();
}

/** A text with its placeholders replaced: `{n}` by `values.n`. */
export function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (gap, name) => values[name] ?? gap);
}
