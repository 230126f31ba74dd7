// The record of one search and of the decisions on its results: the case that the service makes reports of. Its form is
// described in docs/reports.md. Unlike the case in the rail, it has one query and all results of it.

import { pictureParameters } from "./state.js";

const MOST_BYTES = 20_000_000; // of the document
const MOST_PICTURE_BYTES = 5_000_000;
const SPARE_BYTES = 20_000; // for the rest of the document and of the request
const SIDES = [2048, 1024, 512, 256];
const DRAWN_SIDE = 1024; // of a drawing, which has no pixels of its own
const LONGEST_TEXT = 200;
const HIT_KEYS = ["id", "score", "cosine", "copies", "expect", "band", "matched", "image_score", "word_similarity", "word_field", "metadata"];

/** A picture that this browser cannot convert. */
export class UnreadablePicture extends Error {}

/**
 * The document, as an object.
 *
 * @param {object} value The case in the rail: its name, decisions and notes.
 * @param {object} found `answer` of the service, the `state` that it answers, and `at`, when it came.
 * @param {object} catalog As `GET /v1/catalog` describes it.
 * @param {{blob: Blob, name: string}[]} pictures The pictures of the query.
 * @param {number} most Maximum number of bytes of the document.
 * @throws {UnreadablePicture} A picture is neither PNG nor JPEG, and cannot be converted.
 */
export async function recordSearch(value, { answer, state, at }, catalog, pictures, most = MOST_BYTES) {
  const same = catalog.version === answer.catalog.version; // it may have been replaced since
  const { filter, parameters } = readFilters(state.filters, catalog.fields);
  const hits = answer.results.map((hit) => {
    const entry = value.items[hit.id];
    return { ...Object.fromEntries(HIT_KEYS.map((key) => [key, hit[key]])), verdict: entry?.decision ?? null, note: entry?.note ?? "" };
  });
  const room = (Math.min(most, MOST_BYTES) - sizeOf(hits) - SPARE_BYTES) * 0.75; // base64
  const files = [];
  for (const picture of pictures) files.push(await fileOf(picture, Math.min(MOST_PICTURE_BYTES, room / pictures.length)));
  const looks = pictures.length > 0 ? new Map(pictureParameters(state)) : new Map();
  if (looks.has("turned")) parameters.turned = true;
  if (looks.has("part_of_mark")) parameters.part_of_mark = true;
  if (state.words) parameters.words = state.words;
  else if (pictures.length > 0 && catalog.reads_words) parameters.read_words = true;
  return {
    case: 1,
    title: cut(value.name),
    searched_at: at,
    engine: catalog.engine ?? "",
    catalog: { ...pick(answer.catalog, ["version", "logos", "fields"]), built: same ? catalog.created : null, newest: same ? catalog.newest : null },
    encoder: same && catalog.encoder ? pick(catalog.encoder, ["id", "sha256"]) : null,
    query: {
      pictures: files,
      logo_id: state.logo || null,
      crop: looks.has("crop") ? looks.get("crop").split(",").map(Number) : null,
      invert: looks.has("invert"),
      greyscale: looks.has("greyscale"),
      filter,
      parameters: { top_k: state.top, ...parameters },
    },
    searched: { ...pick(answer, ["passed", "exact", "reranked", "parts"]), words: answer.words ? cut(answer.words) : null },
    hits,
  };
}

/** How many decisions and notes of a case are about other marks than the results of this answer. */
export function countOthers(value, answer) {
  const ids = new Set(answer.results.map(({ id }) => id));
  return Object.keys(value.items).filter((id) => !ids.has(id)).length;
}

/**
 * The filters of a state as one tree of conditions, and other parameters, which a link may contain.
 *
 * An expression is read as by the service: `26.01,3.1`, `-25`, `2010..2015`, or words.
 */
export function readFilters(pairs, fields) {
  const conditions = [];
  const parameters = {};
  for (const [name, expression] of pairs) {
    const field = fields.find((one) => one.parameter === name || one.name === name);
    if (field) conditions.push(conditionOf(field, expression.trim()));
    else if (name === "filter") conditions.push(JSON.parse(expression));
    else if (name !== "propose") parameters[name] = plainValue(expression);
  }
  const filter = conditions.length > 1 ? { and: conditions } : conditions[0] ?? null;
  return { filter, parameters };
}

function conditionOf({ name, operators }, text) {
  const wanted = text.replace(/^-/, "");
  const condition = { field: name };
  if (operators.includes("words")) condition.words = [wanted];
  else if (operators.includes("between") && wanted.includes("..")) {
    const at = wanted.indexOf("..");
    condition.between = [wanted.slice(0, at), wanted.slice(at + 2)].map((end) => end.trim() || null);
  } else condition.is = wanted.split(",").map((one) => one.trim());
  return text.startsWith("-") ? { not: condition } : condition;
}

function plainValue(text) {
  if (text === "true" || text === "false") return text === "true";
  return Number.isNaN(Number(text)) ? text : Number(text);
}

/** The file itself if it is a PNG or JPEG file that is small enough, else a copy of it. */
async function fileOf({ blob, name }, most) {
  const kept = (await isPngOrJpeg(blob)) && blob.size <= most;
  return { data: await base64Of(kept ? blob : await copyOf(blob, name, most)), name: cut(name), complete: kept };
}

async function isPngOrJpeg(blob) {
  const head = [...new Uint8Array(await blob.slice(0, 8).arrayBuffer())].join();
  return head === "137,80,78,71,13,10,26,10" || head.startsWith("255,216,255");
}

/** A copy as PNG, or as JPEG if that is too large; the largest that has at most these bytes. */
async function copyOf(blob, name, most) {
  const url = URL.createObjectURL(blob);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const [width, height] = [image.naturalWidth || DRAWN_SIDE, image.naturalHeight || DRAWN_SIDE];
    const drawing = blob.type === "image/svg+xml";
    for (const side of SIDES) {
      const scale = drawing ? Math.min(side, DRAWN_SIDE) / Math.max(width, height) : Math.min(1, side / Math.max(width, height));
      for (const type of ["image/png", "image/jpeg"]) {
        const copy = await encode(image, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)), type);
        if (copy !== null && copy.size <= most) return copy;
      }
    }
  } catch {
    // Not a format of this browser, such as TIFF and PDF.
  } finally {
    URL.revokeObjectURL(url);
  }
  throw new UnreadablePicture(name);
}

function encode(image, width, height, type) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  if (type === "image/jpeg") { // has no transparency
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
  }
  context.drawImage(image, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, 0.9));
}

function base64Of(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

const sizeOf = (value) => new TextEncoder().encode(JSON.stringify(value)).length;
const pick = (value, keys) => Object.fromEntries(keys.map((key) => [key, value[key]]));

/** By characters: a cut through one that takes two units would not be valid text. */
const cut = (text) => [...text].slice(0, LONGEST_TEXT).join("");
