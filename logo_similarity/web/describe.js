// Results in plain words.

import { date, rounded, t } from "./i18n.js";

const EXTRA = "extra."; // before the name of a facet
export const BANDS = ["near-identical", "strong", "possible", "weak", "unknown"];

export const bandOf = (hit) => hit.band ?? "unknown";

/** The words of a mark, or that it has none. */
export const nameOf = (logo) => logo.metadata.text || t("mark.wordless");

/** How many unrelated marks look as close by chance, as a sentence; null if it is not known. */
export function chanceText(expect) {
  if (expect === null || expect === undefined) return null;
  if (expect >= 1.5) return t("chance.many", { x: rounded(expect) });
  if (expect >= 0.6) return t("chance.one");
  if (expect >= 1e-6) return t("chance.rare", { x: rounded(expect > 0.1 ? Math.round(1 / expect) : 1 / expect) });
  return t("chance.never");
}

/** What the picture says, and what the words say. */
export function evidence(hit) {
  const lines = [];
  if (hit.cosine !== null && hit.cosine !== undefined) lines.push(t(pictureKey(hit)));
  if (hit.damage) lines.push(t("why.damage"));
  if (hit.copies > 0) lines.push(t("why.copies", { n: hit.copies }));
  if (hit.word_similarity !== null && hit.word_similarity !== undefined) {
    const field = t(`word.${hit.word_field}`);
    lines.push(t(wordKey(hit.word_similarity), { field }));
  }
  return lines;
}

function pictureKey(hit) {
  if (hit.band === "near-identical") return "why.same";
  return hit.matched ? "why.part" : "why.whole";
}

function wordKey(similarity) {
  if (similarity >= 0.995) return "why.words.same";
  if (similarity >= 0.8) return "why.words.close";
  return similarity >= 0.55 ? "why.words.some" : "why.words.none";
}

/** A status of the register as one of: in force, pending, ended. Offices use many words; others are shown as pending. */
export function statusKind(status) {
  if (!status) return "none";
  if (/regist|active|live|in force|protected|granted|eingetragen/i.test(status)) return /de-?regist|not regist/i.test(status) ? "ended" : "live";
  if (/end|expire|cancel|refus|withdraw|surrender|dead|abandon|lapse|reject|invalid|revok|removed/i.test(status)) return "ended";
  return "pending";
}

/** A value of a register field as one text. */
export function valueText(name, value) {
  if (value === null || value === undefined || value.length === 0) return "";
  if (Array.isArray(value)) return value.join(", ");
  if (name.endsWith("_date")) return date(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The name of a register field: ours, or its own name in words; of a facet, the name that the source gives it. */
export function fieldLabel(name) {
  if (name.startsWith(EXTRA)) return name.slice(EXTRA.length);
  const key = `field.${name}`;
  const label = t(key);
  return label === key ? name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()) : label;
}
