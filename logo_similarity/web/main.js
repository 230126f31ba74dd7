// The page: its state, the search, the case, and what each control does.

import { forgetKey, get, hasKey, onTrouble, post } from "./api.js";
import { arrange, countBands } from "./arrange.js";
import { countDecisions, entryOf, fromJson, hitsToCsv, newCase, toCsv, toJson, withItem } from "./case.js";
import { createCaseBox } from "./casebox.js";
import { BANDS, nameOf } from "./describe.js";
import { createDetail, fetchLogo } from "./detail.js";
import { $, debounce, download, fill, h, icon } from "./dom.js";
import { createFilters } from "./filters.js";
import { createGrid } from "./grid.js";
import { LANGUAGES, currentLanguage, date, number, preferredLanguage, setLanguage, t } from "./i18n.js";
import { logoImage, pathOf, rememberLinks } from "./images.js";
import { listenToKeys, showHelp } from "./keys.js";
import { announce, clearMessage, describeError, showMessage, showWaiting, toast } from "./messages.js";
import { addPicture, findPicture, pictureNow } from "./pictures.js";
import { createQuery, dropZone } from "./query.js";
import { UnreadablePicture, countOthers, recordSearch } from "./report.js";
import { EMPTY, GROUPS, MOST_PICTURES, SORTS, TOPS, fromAddress, hasQuery, pictureParameters, searchKey, toAddress } from "./state.js";
import { deleteCase, isLasting, readCases, saveCase } from "./store.js";
import { createWatches } from "./watch.js";

const TYPING_PAUSE = 400;
const LOOK_MINUTES = 5; // between checks for a new version of the register

let state = EMPTY;
let catalog = null;
let names = {};
let answer = null; // the latest answer to a search, with its results
let answered = null; // {state, at}: what it is an answer to, and when it came
let hits = []; // results, or the logos that pass the filters if there is no query
let passed = null;
let queryLogo = null;
let hidden = new Set(); // bands that are not shown
let cases = [];
let current = null; // the case
let lasting = true;
let sequence = 0;
let searching = new AbortController();
let focusResults = false; // the user finished the query: the keyboard moves on to the results
const undoable = [];

// What is looked at, decided and noted ---------------------------------------------------------------------------------

const decisionOf = (id) => current?.items[id]?.decision ?? null;
const noteOf = (id) => current?.items[id]?.note ?? "";

const grid = createGrid($("grid"), {
  open: ({ hit, members }) => openHit(hit, members),
  decide, like, decisionOf, noteOf,
  more: (top) => change({ top }),
});
const detail = createDetail({
  close: closeHit,
  step: (by) => step(by),
  show: (hit, members) => openHit(hit, members),
  decide, like, decisionOf, noteOf,
  note: (hit, note) => record(hit, { note }, t("undo.note", { name: nameOf(hit) })),
  nameOfValue: (field, value) => filters.nameOfValue(field, value),
  sharedWith,
});
const query = createQuery($("query"), {
  choose: (add) => choosePicture(add),
  clear: () => change({ pictures: [], logo: "", crop: null, invert: false, greyscale: false, turned: false, part: false }),
  remove: (digest) => change({ pictures: state.pictures.filter((one) => one !== digest) }),
  change: (patch) => change(patch),
});
const filters = createFilters($("filters"), { change: (value, typing) => change({ filters: value }, typing ? "replace" : "push") });
const caseBox = createCaseBox($("case"), {
  rename: (name) => keepCase({ ...current, name, changed: new Date().toISOString() }),
  pick: (id) => useCase(cases.find((one) => one.id === id)),
  start: () => useCase(newCase("")),
  remove: removeCase,
  show: (hit) => openHit(hit, [hit]),
  import: () => chooseFile(".json,application/json", false, ([file]) => importCase(file)),
});

const watches = createWatches($("watches"), $("watch-dialog"), {
  pairs: () => (hasQuery(state) ? searchPairs(state) : null),
  name: () => state.words || (queryLogo && nameOf(queryLogo)) || pictureNow(state.pictures[0])?.name || t("watch.unnamed"),
  show: (hit) => change({ hit: hit.id }),
  done: (text) => { toast(text); announce(text); },
  fail: showError,
});

// State and address ----------------------------------------------------------------------------------------------------

/** Change the state; the address follows. `history`: "push" for a new entry, "replace" for the same. */
function change(patch, history = "push") {
  const next = { ...state, ...patch };
  const otherQuery = JSON.stringify([next.pictures, next.logo]) !== JSON.stringify([state.pictures, state.logo]);
  if (otherQuery && !("crop" in patch)) next.crop = null;
  if (searchKey(next) !== searchKey(state) && !("hit" in patch)) next.hit = "";
  if (otherQuery || patch.words !== undefined || patch.filters !== undefined) hidden = new Set();
  const address = toAddress(next);
  if (address !== toAddress(state)) globalThis.history[history === "push" ? "pushState" : "replaceState"](null, "", address);
  apply(next);
}

/** Show a state. A new search only if the answer depends on what changed. */
function apply(next) {
  const before = state;
  state = next;
  if ($("words").value.trim() !== state.words) $("words").value = state.words;
  if (JSON.stringify(before.filters) !== JSON.stringify(state.filters)) filters.update(state.filters);
  if (before.logo !== state.logo) queryLogo = null;
  const again = searchKey(before) !== searchKey(state);
  if (before.hit !== state.hit) showHit();
  renderQuery();
  renderBar();
  if (again) search();
  else if (before.sort !== state.sort || before.group !== state.group) renderResults(false);
}

// Search ---------------------------------------------------------------------------------------------------------------

/** Search for the state. An older search is abandoned, and its answer never shown. */
async function search() {
  searching.abort();
  searching = new AbortController();
  sequence += 1;
  const mine = sequence;
  const { signal } = searching;
  const wanted = state;
  if (!hasQuery(wanted) && wanted.filters.length === 0) {
    setBusy(false);
    showAnswer(null, [], null);
    return;
  }
  setBusy(true);
  try {
    if (wanted.logo && queryLogo?.id !== wanted.logo) {
      fetchLogo(`v1/logos/${pathOf(wanted.logo)}`, signal).then((logo) => {
        if (mine !== sequence) return;
        queryLogo = logo;
        rememberLinks([logo]);
        renderQuery();
        renderBar();
      }).catch(() => {}); // the search itself reports why
    }
    const found = hasQuery(wanted) ? await findLike(wanted, signal) : await browse(wanted, signal);
    if (mine !== sequence || found === null) return;
    noticeVersion(found.catalog, true);
    answered = { state: wanted, at: new Date().toISOString() };
    showAnswer(found.results ? found : null, found.results ?? found.logos, found.passed ?? null);
  } catch (error) {
    if (mine !== sequence || error.name === "AbortError") return;
    showAnswer(null, [], null, false);
    showError(error);
  } finally {
    if (mine === sequence) setBusy(false);
  }
}

async function findLike(wanted, signal) {
  const pairs = await searchPairs(wanted);
  if (pairs === null) return null;
  if (!wanted.words && wanted.pictures.length > 0 && catalog?.reads_words) pairs.push(["read_words", "true"]);
  if (wanted.pictures.length > 0 || wanted.logo) pairs.push(["propose", "true"]);
  return post("v1/search", [...pairs, ["top_k", String(wanted.top)]], { signal });
}

/** The form of a search; null if the browser no longer has one of its pictures. */
async function searchPairs(wanted) {
  const pairs = [];
  for (const digest of wanted.pictures) {
    const picture = await findPicture(digest);
    if (picture === null) {
      showAnswer(null, [], null, false);
      showMessage({ kind: "info", title: t("missing.title"), text: t("missing.text"), actions: [[t("drop.choose"), () => choosePicture(false)]] });
      return null;
    }
    pairs.push(["file", new File([picture.blob], picture.name, { type: picture.blob.type })]);
  }
  if (wanted.logo) pairs.push(["logo_id", wanted.logo]);
  if (wanted.words) pairs.push(["words", wanted.words]);
  if (wanted.pictures.length > 0) pairs.push(...pictureParameters(wanted));
  return [...pairs, ...wanted.filters.filter(([name]) => name !== "propose")];
}

const browse = (wanted, signal) => get("v1/logos", [...wanted.filters, ["limit", String(wanted.top)]], { signal });

/** Show results. `searched`: whether they are an answer, so that none at all has to be explained. */
function showAnswer(newAnswer, newHits, newPassed, searched = true) {
  answer = newAnswer;
  hits = newHits;
  passed = newPassed;
  filters.propose(answer?.proposed ?? null);
  rememberLinks(hits);
  clearMessage();
  renderResults(true, searched);
  renderQuery();
  if (state.hit && detail.hit()?.id !== state.hit) showHit();
  takeFocus();
}

function takeFocus() {
  if (focusResults && hits.length > 0) grid.focus();
  focusResults = false;
}

function setBusy(busy) {
  document.body.toggleAttribute("data-busy", busy);
  $("grid").setAttribute("aria-busy", String(busy));
}

function showError(error) {
  const { title, text } = describeError(error, catalog);
  const actions = [[t("error.again"), search]];
  if (error.status === 401 || error.status === 403) actions.unshift([t("key.other"), () => { forgetKey(); start(); }]);
  showMessage({ kind: "error", title, text, actions });
}

// What is on the screen ------------------------------------------------------------------------------------------------

function renderQuery() {
  query.render({ state, answer, logo: queryLogo, catalog });
}

function renderBar() {
  const counts = countBands(hits);
  const chips = BANDS.filter((band) => counts.get(band) > 0 && band !== "unknown");
  fill($("bands"), chips.map((band) => h("button", { type: "button", class: "band-chip", data: { band }, "aria-pressed": String(!hidden.has(band)), title: t("bands.toggle"), on: { click: () => toggleBand(band) } },
    t(`band.${band}`), " ", h("span", { class: "count" }, number(counts.get(band))))),
    chips.length === 0 && hits.length > 0 && h("span", { class: "quiet data" }, hasQuery(state) ? t("grid.count", { n: hits.length }) : t("grid.browse", { n: passed ?? hits.length })));
  fill($("sort"), SORTS.map((sort) => h("option", { value: sort, selected: sort === state.sort }, t(`sort.${sort}`))));
  fill($("group"), GROUPS.map((group) => h("option", { value: group, selected: group === state.group }, t(`group.${group}`))));
  const described = filters.describe();
  fill($("chips"), described.map(({ text, rest }) => h("button", { type: "button", class: "chip", "aria-label": t("chips.drop", { text }), on: { click: () => change({ filters: rest }) } }, text, icon("close"))),
    described.length > 1 && h("button", { type: "button", class: "link", on: { click: () => change({ filters: [] }) } }, t("filters.clear")));
  const active = state.filters.length;
  const picture = pictureNow(state.pictures[0]);
  const thumb = queryLogo ? logoImage(queryLogo) : picture && h("img", { src: picture.url, alt: "" });
  fill($("rail-button"), thumb && h("span", { class: "thumb" }, thumb), t("rail.open"), active > 0 && h("span", { class: "badge" }, number(active)));
}

function renderResults(isNew, searched = isNew) {
  renderBar();
  const nothing = !hasQuery(state) && state.filters.length === 0;
  $("start").hidden = !nothing;
  $("query").hidden = nothing; // the first visit has a larger place for the mark
  $("grid").hidden = nothing || hits.length === 0;
  $("bar").classList.toggle("empty", nothing || hits.length === 0);
  const sections = arrange(hits, { sort: state.sort, group: state.group, hidden });
  const more = hits.length >= state.top ? TOPS.filter((top) => top > state.top) : [];
  grid.show(sections, { total: hits.length, more, scroll: isNew });
  if (!searched || nothing) return;
  const counts = [...countBands(hits)].filter(([band, count]) => count > 0 && band !== "unknown").map(([band, count]) => `${number(count)} ${t(`band.${band}`)}`);
  announce([t("grid.count", { n: hits.length }), ...counts].join(", "));
  if (hits.length === 0) showNothing();
}

/** No results: which filter empties them, and one click to drop it. */
async function showNothing() {
  const mine = sequence;
  showMessage({ kind: "info", title: t("nothing.title"), text: t(state.filters.length ? "nothing.looking" : "nothing.text") });
  if (state.filters.length === 0) return;
  const culprits = await filters.culprits(searching.signal).catch(() => []);
  if (mine !== sequence || hits.length > 0) return;
  showMessage({
    kind: "info", title: t("nothing.title"), text: t(culprits.length ? "nothing.filters" : "nothing.all"),
    actions: [...culprits.map(({ text, rest, passed: some }) => [t("nothing.drop", { text, n: some }), () => change({ filters: rest })]), [t("filters.clear"), () => change({ filters: [] })]],
  });
}

function toggleBand(band) {
  if (!hidden.delete(band)) hidden.add(band);
  renderResults(false);
  $("bands").querySelector(`[data-band="${band}"]`)?.focus();
}

/** The first visit: a place for the mark, three marks to try, and what is in the register. */
async function renderStart() {
  const samples = h("div", { class: "samples" });
  fill($("start"),
    dropZone({ choose: () => choosePicture(false) }, true),
    samples,
    catalog && h("dl", { class: "facts" },
      fact("start.logos", number(catalog.logos)),
      catalog.created && fact("start.built", date(catalog.created)),
      catalog.newest && fact("start.newest", date(catalog.newest)),
      fact("start.by", [t("start.pictures"), catalog.parts && t("start.parts"), catalog.words && t("start.words")].filter(Boolean).join(", "))));
  try {
    const { logos } = await get("v1/logos", [["limit", "60"]], { quiet: true });
    const pictured = logos.filter((logo) => logo.image_url);
    const named = pictured.filter((logo) => logo.metadata.text);
    const usable = named.length >= 3 ? named : pictured;
    const chosen = [0.15, 0.5, 0.85].map((share) => usable[Math.floor(share * usable.length)]).filter((logo, index, all) => logo && all.indexOf(logo) === index);
    if (chosen.length === 0) return;
    fill(samples, h("p", { class: "quiet" }, t("start.samples")), h("div", { class: "row" }, chosen.map((logo) =>
      h("button", { type: "button", class: "sample", on: { click: () => like(logo) } }, h("span", { class: "mark" }, logoImage(logo)), h("span", { class: "name" }, nameOf(logo))))));
  } catch {
    // Samples are an offer; without them the page works the same.
  }
}

const fact = (key, value) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, value));

function renderFrame() {
  document.title = "logo-similarity";
  const other = LANGUAGES[(LANGUAGES.indexOf(currentLanguage()) + 1) % LANGUAGES.length];
  fill($("language-button"), other.toUpperCase());
  $("language-button").setAttribute("aria-label", `${other.toUpperCase()}: ${t("language.change")}`);
  $("language-button").title = t("language.change");
  fill($("theme-button"), icon("theme"));
  const theme = document.documentElement.dataset.theme ?? "system";
  const label = t("theme.change", { theme: t(`theme.${theme}`) });
  $("theme-button").setAttribute("aria-label", label);
  $("theme-button").title = label;
  if (catalog) {
    const values = { n: catalog.logos, date: catalog.created ? date(catalog.created) : "" };
    $("register").textContent = t(catalog.created ? "register.dated" : "register.undated", values);
    $("scope").textContent = t("foot.scope", { ...values, version: catalog.version });
  }
}

function renderCase() {
  caseBox.render(current, cases, lasting);
}

// One hit --------------------------------------------------------------------------------------------------------------

function openHit(hit, members = [hit]) {
  const wasOpen = state.hit !== "";
  const same = state.hit === hit.id;
  detail.show({ hit, members, state, queryLogo, catalog });
  if (!same) {
    const next = { ...state, hit: hit.id };
    history[wasOpen ? "replaceState" : "pushState"](null, "", toAddress(next));
    state = next;
  }
}

/** Show the hit of the state, which came from the address or the history. */
async function showHit() {
  if (!state.hit) {
    detail.hide();
    return;
  }
  if (detail.hit()?.id === state.hit) return;
  const id = state.hit;
  const tile = grid.tileOf(id);
  const known = tile?.members.find((hit) => hit.id === id);
  try {
    const hit = known ?? await fetchLogo(`v1/logos/${pathOf(id)}`);
    if (state.hit === id) openHit(hit, tile?.members ?? [hit]);
  } catch (error) {
    if (error.status === 404) toast(t("detail.gone", { id }));
  }
}

function closeHit() {
  const { hit } = state;
  detail.hide();
  change({ hit: "" }, "replace");
  grid.setActiveId(hit);
  grid.focus();
}

function step(by) {
  const tile = grid.neighbour(detail.hit()?.id, by);
  if (tile) openHit(tile.hit, tile.members);
}

/** Values that the query or the filters have, by field: a code counts for all codes below it. */
function sharedWith() {
  const shared = {};
  for (const { name, parameter } of catalog?.fields ?? []) {
    const chosen = state.filters.filter(([one, expression]) => one === parameter && !expression.startsWith("-")).flatMap(([, expression]) => expression.split(","));
    const own = queryLogo?.metadata[name];
    shared[name] = [...chosen, ...(Array.isArray(own) ? own.map(String) : [])];
  }
  return shared;
}

function like(hit) {
  rememberLinks([hit]);
  change({ ...EMPTY, filters: state.filters, sort: state.sort, group: state.group, top: state.top, logo: hit.id });
  queryLogo = hit.metadata ? hit : null;
  renderQuery();
}

// The case -------------------------------------------------------------------------------------------------------------

function decide(hit, decision) {
  const undone = decisionOf(hit.id) === decision;
  record(hit, { decision: undone ? null : decision }, t(undone ? "undo.undecided" : `undo.${decision}`, { name: nameOf(hit) }));
}

/** Change the entry of a hit. It can be undone. */
function record(hit, patch, label) {
  const earlier = current.items[hit.id] ?? null;
  if (patch.note !== undefined && patch.note === (earlier?.note ?? "")) return;
  const id = hit.id;
  undoable.push({ label, undo: () => keepCase(withItem(current, id, earlier)) });
  keepCase(withItem(current, id, entryOf(hit, earlier, { ...patch, query: toAddress({ ...state, hit: "" }) })));
  toast(label, t("undo.do"), undo);
  announce(label);
}

function undo() {
  const last = undoable.pop();
  if (!last) {
    toast(t("undo.nothing"));
    return;
  }
  last.undo();
  toast(t("undo.done", { label: last.label }));
}

/** Show the case, and store it. */
async function keepCase(value) {
  current = value;
  cases = [current, ...cases.filter(({ id }) => id !== current.id)];
  localStorage.setItem("case", current.id);
  renderCase();
  grid.repaint();
  detail.repaint();
  $("case").setAttribute("aria-busy", "true");
  try {
    await saveCase(value);
  } catch {
    toast(t("case.unsaved"));
  } finally {
    if (current === value) $("case").setAttribute("aria-busy", "false");
  }
}

function useCase(value) {
  const before = current;
  undoable.push({ label: t("undo.case"), undo: () => keepCase(cases.find(({ id }) => id === before.id) ?? before) });
  return keepCase(value);
}

async function removeCase() {
  const removed = current;
  await deleteCase(removed.id);
  cases = cases.filter(({ id }) => id !== removed.id);
  const label = t("undo.deleted", { name: removed.name || t("case.unnamed") });
  undoable.push({ label, undo: () => keepCase(removed) });
  toast(label, t("undo.do"), undo);
  await keepCase(cases[0] ?? newCase(""));
}

async function exportCase() {
  const digests = new Set([...state.pictures, ...Object.values(current.items).flatMap(({ query: address }) => fromAddress(address).pictures)]);
  const pictures = [];
  for (const digest of digests) {
    const picture = await findPicture(digest);
    if (picture) pictures.push({ digest, name: picture.name, data: await dataUrl(picture.blob) });
  }
  download(`${fileName()}.json`, "application/json", toJson(current, catalog && { version: catalog.version, logos: catalog.logos }, pictures));
}

/** The search on the screen with its decisions, as the service and the command line take it; null if there is none. */
async function recordedSearch(most) {
  if (answer === null) {
    toast(t("report.nothing"));
    return null;
  }
  const found = { answer, ...answered };
  const pictures = (await Promise.all(found.state.pictures.map(findPicture))).filter((picture) => picture !== null);
  return recordSearch(current, found, catalog, pictures, most);
}

/** Make a file of the recorded search. `make` returns the file, which is saved under the name of the case. */
async function exportRecord(most, type, extension, make) {
  try {
    const others = answer && countOthers(current, answer);
    const record = await recordedSearch(most);
    if (record === null) return;
    download(`${fileName()}.${extension}`, type, await make(new Blob([JSON.stringify(record)], { type: "application/json" })));
    toast([t("report.saved"), others > 0 && t("report.others", { n: others })].filter(Boolean).join(" "));
  } catch (error) {
    const { title, text } = error instanceof UnreadablePicture
      ? { title: t("report.failed"), text: t("report.picture", { name: error.message }) }
      : describeError(error, catalog);
    const close = [t("message.close"), () => clearMessage()];
    const instead = [t("export.record"), () => { clearMessage(); exportSearch(); }];
    showMessage({ kind: "error", title, text, actions: error.code === "reports_unavailable" ? [instead, close] : [close] });
  }
}

const exportSearch = () => exportRecord(undefined, "application/json", "case.json", (record) => record);

function exportReport() {
  return exportRecord(catalog?.max_upload_bytes, "application/pdf", "pdf", (record) => {
    toast(t("report.making"));
    return post("v1/report", [["case", new File([record], "case.json", { type: "application/json" })]], { query: [["format", "pdf"]], file: true });
  });
}

async function importCase(file) {
  try {
    const { value, pictures } = fromJson(await file.text());
    for (const { name, data } of pictures) await addPicture(await blobOf(data), String(name));
    await useCase(value);
    toast(t("case.imported", { n: Object.keys(value.items).length, ...countDecisions(value) }), t("undo.do"), undo);
  } catch {
    showMessage({ kind: "error", title: t("case.bad"), text: t("case.bad.help", { name: file.name }), actions: [[t("message.close"), () => clearMessage()]] });
  }
}

const fileName = () => (current.name || t("case.unnamed")).replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 60);

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** A picture of an export. Not by `fetch`, which the page's policy allows for this service only. */
function blobOf(data) {
  const [head, base64] = data.split(",");
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}

// Pictures come in -----------------------------------------------------------------------------------------------------

async function takeFiles(files, add = false) {
  const all = [...files];
  if (all.length === 0) return;
  if (all.length === 1 && /\.json$/i.test(all[0].name)) {
    await importCase(all[0]);
    return;
  }
  const limit = catalog?.max_upload_bytes ?? Infinity;
  if (all.reduce((sum, file) => sum + file.size, 0) > limit) {
    const { title, text } = describeError({ code: "image_too_large", status: 413 }, catalog);
    showMessage({ kind: "error", title, text, actions: [[t("message.close"), () => clearMessage()]] });
    return;
  }
  const digests = [];
  for (const file of all.slice(0, MOST_PICTURES)) digests.push(await addPicture(file, file.name || t("query.pasted")));
  const pictures = [...new Set([...(add ? state.pictures : []), ...digests])].slice(0, MOST_PICTURES);
  closeRail();
  focusResults = true;
  if (JSON.stringify(pictures) === JSON.stringify(state.pictures)) search(); // the same picture again: a shared link, or a retry
  else change({ pictures, logo: "", crop: null, turned: false, part: false });
}

const choosePicture = (add) => chooseFile("image/*,.pdf", true, (files) => takeFiles(files, add));

function chooseFile(accept, multiple, take) {
  const input = h("input", { type: "file", accept, multiple, hidden: true, on: {
    change: () => { input.remove(); take([...input.files]); },
    cancel: () => input.remove(),
  } });
  document.body.append(input); // an element outside the document may be collected before the dialog closes
  input.click();
}

/** The `v` key: browsers hand the clipboard over after a permission, or only with Ctrl+V. */
async function pasteByKey() {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((one) => one.startsWith("image/"));
      if (type) {
        await takeFiles([new File([await item.getType(type)], t("query.pasted"), { type })]);
        return;
      }
    }
    toast(t("paste.empty"));
  } catch {
    toast(t("paste.help"));
  }
}

function listenToDrops() {
  let depth = 0;
  const over = (on) => document.body.toggleAttribute("data-drop", on);
  document.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  document.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) over(false); });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const id = event.dataTransfer.getData("application/x-logo-id");
    if (id) {
      if (event.target.closest("#query, #start")) like(hits.find((hit) => hit.id === id) ?? { id });
    } else takeFiles(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) {
      event.preventDefault();
      takeFiles(files);
    }
  });
}

// Controls around the results ------------------------------------------------------------------------------------------

function listenToControls() {
  const typed = debounce(() => change({ words: $("words").value.trim() }, "replace"), TYPING_PAUSE);
  $("words").addEventListener("input", typed);
  $("words-form").addEventListener("submit", (event) => {
    event.preventDefault();
    focusResults = true;
    change({ words: $("words").value.trim() });
    if (!document.body.hasAttribute("data-busy")) takeFocus(); // these words have been searched for already
  });
  $("sort").addEventListener("change", () => change({ sort: $("sort").value }, "replace"));
  $("group").addEventListener("change", () => change({ group: $("group").value }, "replace"));
  $("help-button").addEventListener("click", () => showHelp($("help")));
  $("language-button").addEventListener("click", () => useLanguage(LANGUAGES[(LANGUAGES.indexOf(currentLanguage()) + 1) % LANGUAGES.length]));
  $("theme-button").addEventListener("click", nextTheme);
  $("rail-button").addEventListener("click", () => { document.body.toggleAttribute("data-rail", true); $("rail-close").focus(); });
  $("rail-close").addEventListener("click", closeRail);
  $("export-button").addEventListener("click", () => toggleExport());
  document.addEventListener("click", (event) => { if (!event.target.closest("#export-button, #export-menu")) closeExport(); });
  addEventListener("popstate", () => apply(fromAddress(location.hash)));
  addEventListener("online", () => { if ($("message").dataset.kind === "wait") clearMessage("wait"); });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) lookAtVersion();
    else if (document.activeElement?.id === "note") document.activeElement.blur(); // keeps a note before the tab is closed
  });
  setInterval(() => { if (!document.hidden) lookAtVersion(); }, LOOK_MINUTES * 60_000);
}

function closeRail() {
  if (!document.body.hasAttribute("data-rail")) return;
  document.body.removeAttribute("data-rail");
  $("rail-button").focus();
}

function toggleExport() {
  const menu = $("export-menu");
  if (!menu.hidden) {
    closeExport();
    return;
  }
  const item = (key, action) => h("button", { type: "button", role: "menuitem", on: { click: () => { closeExport(); action(); } } }, t(key));
  fill(menu,
    item("export.report", exportReport),
    item("export.json", exportCase),
    item("export.csv", () => download(`${fileName()}.csv`, "text/csv", toCsv(current))),
    item("export.record", exportSearch),
    item("export.hits", () => download("results.csv", "text/csv", hitsToCsv(hits))),
    item("export.link", copyLink));
  menu.hidden = false;
  $("export-button").setAttribute("aria-expanded", "true");
  menu.firstChild.focus();
  menu.onkeydown = (event) => {
    const items = [...menu.children];
    const at = items.indexOf(document.activeElement);
    if (event.key === "ArrowDown") items[(at + 1) % items.length].focus();
    else if (event.key === "ArrowUp") items[(at + items.length - 1) % items.length].focus();
    else if (event.key === "Escape") { closeExport(); $("export-button").focus(); event.stopPropagation(); } else return;
    event.preventDefault();
  };
}

function closeExport() {
  $("export-menu").hidden = true;
  $("export-button").setAttribute("aria-expanded", "false");
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    toast(t(state.pictures.length ? "link.copied.picture" : "link.copied"));
  } catch {
    toast(t("link.failed"));
  }
}

function nextTheme() {
  const themes = ["system", "light", "dark"];
  const theme = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % themes.length];
  if (theme === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
  }
  renderFrame();
}

async function useLanguage(language) {
  localStorage.setItem("language", language);
  await setLanguage(language);
  await loadNames();
  renderAll();
}

function keyboard() {
  const withActive = (action) => () => {
    const hit = detail.hit() ?? grid.activeHit();
    if (!hit) return false;
    action(hit);
    return true;
  };
  const arrow = (key, by) => () => {
    if (!detail.hit()) return grid.move(key);
    if (key === "ArrowUp" || key === "ArrowDown") return false; // scrolls the panel
    return step(by);
  };
  listenToKeys({
    "/": () => { $("words").focus(); $("words").select(); },
    "?": () => showHelp($("help")),
    u: () => choosePicture(false),
    v: pasteByKey,
    f: () => { document.body.toggleAttribute("data-rail", true); filters.focus(); },
    w: () => { document.body.toggleAttribute("data-rail", true); watches.focus(); },
    g: () => change({ group: GROUPS[(GROUPS.indexOf(state.group) + 1) % GROUPS.length] }, "replace"),
    e: () => { if (detail.hit()) closeHit(); toggleExport(); }, // the panel covers the menu
    k: withActive((hit) => decide(hit, "kept")),
    x: withActive((hit) => decide(hit, "dismissed")),
    m: withActive(like),
    n: withActive((hit) => { if (!detail.hit()) openHit(hit, grid.tileOf(hit.id)?.members); detail.focusNote(); }),
    undo,
    Enter: () => { if (detail.hit()) return false; grid.openActive(); return true; },
    Escape: (event) => {
      if (!$("export-menu").hidden) closeExport();
      else if (event.target.matches("input, textarea, select")) event.target.blur();
      else if (document.body.hasAttribute("data-rail")) closeRail();
      else if (detail.hit()) closeHit();
      else return false;
      return true;
    },
    ArrowLeft: arrow("ArrowLeft", -1), ArrowRight: arrow("ArrowRight", 1), ArrowUp: arrow("ArrowUp", -1), ArrowDown: arrow("ArrowDown", 1),
    Home: () => (detail.hit() ? false : grid.move("Home")), End: () => (detail.hit() ? false : grid.move("End")),
  });
}

// The service ----------------------------------------------------------------------------------------------------------

async function loadCatalog() {
  try {
    catalog = await get("v1/catalog");
  } catch (error) {
    if (error.status !== 404) throw error;
    const { catalog: served } = await get("readyz"); // an older service
    catalog = { version: served.version, logos: served.logos, fields: [], created: null, newest: null };
  }
}

/** Names of Vienna codes and Nice classes; bare codes if the service has none. */
async function loadNames() {
  const load = (scheme) => get(`v1/classification/${scheme}`, [["language", currentLanguage()]], { quiet: true }).then(({ codes }) => codes, () => ({}));
  const [vienna, nice] = await Promise.all([load("vienna"), load("nice")]);
  names = { vienna, nice };
}

/** A quiet line if the register was updated since the results came. `fresh`: the results are of this version. */
async function noticeVersion(served, fresh) {
  if (!catalog || !served || served.version === catalog.version) return;
  if (fresh) {
    await loadCatalog();
    renderFrame();
    filters.build(catalog, names);
    filters.update(state.filters);
  } else if ($("message").hidden) {
    showMessage({ kind: "info", title: t("updated.title"), actions: [[t("updated.again"), async () => { await loadCatalog(); renderAll(); search(); }]] });
  }
}

async function lookAtVersion() {
  if (!catalog || (hasKey() === false && $("key-dialog").open)) return;
  try {
    noticeVersion(await get("v1/catalog", [], { quiet: true }), false);
    watches.load();
  } catch {
    // Not reachable at the moment: the next search says so.
  }
}

/** Ask for a key. It is kept for this tab only. Resolves to null if the user has none. */
function askKey(wrong) {
  const dialog = $("key-dialog");
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "key", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "key-help" });
    const finish = (value) => { dialog.close(); resolve(value); };
    fill(dialog, h("h2", {}, t("key.title")),
      wrong && h("p", { class: "problem", role: "alert" }, t("key.wrong")),
      h("p", { id: "key-help" }, t("key.text")),
      h("form", { on: { submit: (event) => { event.preventDefault(); if (input.value.trim()) finish(input.value.trim()); } } },
        h("label", { for: "key" }, t("key.label")), input,
        h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, t("key.use")), h("button", { type: "button", on: { click: () => finish(null) } }, t("key.cancel")))));
    dialog.oncancel = (event) => { event.preventDefault(); finish(null); };
    dialog.showModal();
    input.focus();
  });
}

// Start ----------------------------------------------------------------------------------------------------------------

function renderAll() {
  renderFrame();
  renderStart();
  if (catalog) filters.build(catalog, names);
  filters.update(state.filters);
  renderQuery();
  renderCase();
  watches.render();
  renderResults(false);
  const open = detail.hit();
  if (open) openHit(open, grid.tileOf(open.id)?.members ?? [open]);
}

async function openCases() {
  lasting = await isLasting();
  cases = await readCases();
  current = cases.find(({ id }) => id === localStorage.getItem("case")) ?? cases[0] ?? newCase("");
}

/** Load the register, then show what the address says. */
async function start() {
  try {
    await loadCatalog();
  } catch (error) {
    showError(error);
    $("start").hidden = false;
    return;
  }
  clearMessage();
  await loadNames();
  renderAll();
  watches.load();
  state = EMPTY;
  apply(fromAddress(location.hash));
  if (!hasQuery(state) && state.filters.length === 0) renderResults(true);
}

await Promise.all([setLanguage(preferredLanguage()), openCases()]);
onTrouble({ wait: showWaiting, ready: () => clearMessage("wait"), askKey });
listenToControls();
listenToDrops();
keyboard();
renderFrame();
renderQuery();
renderCase();
await start();
