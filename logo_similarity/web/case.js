// A case: what was kept, dismissed and noted. Pure functions; `store.js` keeps cases.

const FORMAT = "logo-similarity case 1";
const DECISIONS = ["kept", "dismissed"];
const COLUMNS = ["decision", "id", "text", "company", "office", "status", "nice_classes", "vienna_codes", "application_date", "year", "band", "expect", "score", "note", "decided"];

/** A new case without entries. */
export function newCase(name) {
  const now = new Date().toISOString();
  return { id: randomId(), name, created: now, changed: now, items: {} };
}

/** The case with another entry for a logo; `entry` null removes it. */
export function withItem(value, id, entry) {
  const items = { ...value.items };
  if (entry === null) delete items[id];
  else items[id] = entry;
  return { ...value, items, changed: new Date().toISOString() };
}

/** The entry of a hit, with the decision and note of an earlier one. Null if neither remains. */
export function entryOf(hit, earlier, { decision, note, query }) {
  const next = { decision: decision === undefined ? earlier?.decision ?? null : decision, note: note === undefined ? earlier?.note ?? "" : note };
  if (next.decision === null && !next.note) return null;
  const { extra, ...metadata } = hit.metadata;
  return {
    ...next, decided: new Date().toISOString(), query: query ?? earlier?.query ?? "",
    band: hit.band ?? earlier?.band ?? null, expect: hit.expect ?? earlier?.expect ?? null, score: hit.score ?? earlier?.score ?? null,
    metadata: { ...metadata, ...(extra ? { extra } : {}) },
  };
}

/** The number of entries with each decision. */
export function countDecisions(value) {
  const entries = Object.values(value.items);
  return { kept: entries.filter(({ decision }) => decision === "kept").length, dismissed: entries.filter(({ decision }) => decision === "dismissed").length };
}

/** A case as a file. `pictures`: {digest, name, data}, data as a data URL. */
export function toJson(value, catalog, pictures) {
  return JSON.stringify({ format: FORMAT, exported: new Date().toISOString(), catalog, case: value, pictures }, null, 1);
}

/**
 * The case and the pictures in a file.
 *
 * @throws {Error} The text is not the export of a case.
 */
export function fromJson(text) {
  const document = JSON.parse(text);
  if (document?.format !== FORMAT || typeof document.case?.items !== "object" || document.case.items === null) throw new Error("not a case");
  const items = {};
  for (const [id, item] of Object.entries(document.case.items)) {
    if (typeof item !== "object" || item === null || typeof item.metadata !== "object" || item.metadata === null) throw new Error("not a case");
    items[id] = {
      decision: DECISIONS.includes(item.decision) ? item.decision : null, note: String(item.note ?? "").slice(0, 4000), decided: String(item.decided ?? ""), query: String(item.query ?? ""),
      band: typeof item.band === "string" ? item.band : null, expect: numberOrNull(item.expect), score: numberOrNull(item.score), metadata: item.metadata,
    };
  }
  const now = new Date().toISOString();
  const value = { id: randomId(), name: String(document.case.name ?? "").slice(0, 200), created: String(document.case.created ?? now), changed: now, items };
  const pictures = (Array.isArray(document.pictures) ? document.pictures : []).filter(({ data }) => typeof data === "string" && data.startsWith("data:image/"));
  return { value, pictures };
}

/** A case as a table: kept first, then dismissed, then notes alone. */
export function toCsv(value) {
  const order = (entry) => [...DECISIONS, null].indexOf(entry.decision);
  const rows = Object.entries(value.items).sort(([, one], [, other]) => order(one) - order(other))
    .map(([id, entry]) => COLUMNS.map((column) => ({ id, ...entry.metadata, ...entry })[column]));
  return table(COLUMNS, rows);
}

/** Results as a table. */
export function hitsToCsv(hits) {
  const columns = COLUMNS.filter((column) => !["decision", "note", "decided"].includes(column));
  return table(columns, hits.map((hit) => columns.map((column) => ({ ...hit.metadata, ...hit })[column])));
}

/** CSV with a byte order mark, which spreadsheets need for UTF-8. */
function table(columns, rows) {
  return `\ufeff${[columns, ...rows].map((row) => row.map(field).join(",")).join("\r\n")}\r\n`;
}

function field(value) {
  let text = Array.isArray(value) ? value.join(" ") : String(value ?? "");
  // A spreadsheet would run a text that begins with one of these as a formula.
  if (typeof value !== "number" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const numberOrNull = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

const randomId = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
