// Texts of the page, one file per language, and the formats of numbers and dates.

export const LANGUAGES = ["en", "de"];

let language = "en";
let locale = "en"; // of numbers and dates: the browser's, if it is of the language
let texts = {};
let plural = new Intl.PluralRules("en");

/** The language that the user chose, or the first of the browser's that the page has. */
export function preferredLanguage() {
  const chosen = localStorage.getItem("language");
  if (LANGUAGES.includes(chosen)) return chosen;
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => LANGUAGES.includes(tag));
  return known ?? "en";
}

/** Load the texts of a language and set it as that of the page. */
export async function setLanguage(chosen) {
  const answer = await fetch(new URL(`./${chosen}.json`, import.meta.url));
  texts = await answer.json();
  language = chosen;
  locale = navigator.languages.find((tag) => tag.startsWith(chosen) && isLocale(tag)) ?? chosen;
  plural = new Intl.PluralRules(chosen);
  document.documentElement.lang = chosen;
  translate(document);
}

/** Browsers take their languages from the system, which also has names such as "en-US@posix". */
function isLocale(tag) {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}

export const currentLanguage = () => language;

/**
 * A text with its `{values}` filled in. A text with several forms is chosen by the value `n`. The key itself if there is no
 * such text.
 */
export function t(key, values = {}) {
  let text = texts[key] ?? key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? number(value) : value;
  });
}

/** Whether there is such a text. */
export const has = (key) => key in texts;

/** Fill in the texts of elements with `data-t`, `data-t-label`, `data-t-title` and `data-t-placeholder`. */
function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of root.querySelectorAll("[data-t-title]")) element.title = t(element.dataset.tTitle);
  for (const element of root.querySelectorAll("[data-t-placeholder]")) element.placeholder = t(element.dataset.tPlaceholder);
}

export const number = (value) => new Intl.NumberFormat(locale).format(value);

/** A number with two significant digits: 0.0251 is 0.025, 41.7 is 42. */
export const rounded = (value) => new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 }).format(value);

/** A share as a whole percentage: 0.4 is 40 %. */
export const percent = (value) => new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 }).format(value);

/** A date of the register ("2023-01-31") as people write it. */
export function date(iso) {
  const day = new Date(iso);
  if (Number.isNaN(day.getTime())) return iso;
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: iso.length > 10 ? undefined : "UTC" }).format(day);
}
