// The filters: one group for each field of the catalog that can be filtered by, with live counts.

import { get } from "./api.js";
import { debounce, fill, h, iconButton } from "./dom.js";
import { fieldLabel } from "./describe.js";
import { number, percent, t } from "./i18n.js";
import { choiceOf, withChoice } from "./state.js";

const PAUSE = 150; // ms after the last keystroke
const SHOWN = 8; // values of a field before "more"
const MOST_VALUES = 50;
const MOST_PROPOSED = 5;
const OPEN = new Set(["nice_classes", "vienna_codes", "status", "office"]);

/** How a field is chosen from: a list of values, a range, or a text. */
export function formOf(field) {
  const operators = field.operators ?? [];
  if (operators.includes("words")) return "text";
  if (operators.includes("between") && !isList(field)) return "range";
  return "list";
}

const isList = (field) => ["vienna_codes", "nice_classes"].includes(field.name) || /codes|numbers|keywords|list/i.test(field.kind ?? "");
const isTree = (field) => field.name === "vienna_codes" || /codes/i.test(field.kind ?? "");
const inputType = (field) => (/date/i.test(field.kind ?? "") ? "date" : "number");

/**
 * The filters in the rail.
 *
 * @param {(filters: [string, string][], typing: boolean) => void} change `typing`: the next change replaces it in the history.
 */
export function createFilters(root, { change }) {
  let catalog = null;
  let filters = [];
  let facets = {};
  let names = {}; // scheme -> {code: name}
  let passed = null;
  let proposed = {}; // field -> codes that many of the nearest results have, [{value, share}]
  let sequence = 0;
  let abort = new AbortController();
  const groups = new Map(); // parameter -> {field, form, body, count, expanded, matchAll, more}
  const summary = h("span", { class: "quiet data" });
  const clear = h("button", { type: "button", class: "link", on: { click: () => change([], false) } });
  const typed = debounce((parameter, choice) => set(parameter, choice, true), PAUSE);

  function set(parameter, choice, typing = false) {
    const group = groups.get(parameter);
    change(withChoice(filters, parameter, group.form, choice), typing);
  }

  /** Make the groups for the fields of a catalog. */
  function build(newCatalog, newNames) {
    catalog = newCatalog;
    names = newNames;
    groups.clear();
    clear.textContent = t("filters.clear");
    const usable = catalog.fields.filter((field) => (field.operators ?? []).length > 0);
    fill(root,
      h("div", { class: "section-title" }, h("h2", {}, t("filters.title")), summary, clear),
      usable.length === 0 && h("p", { class: "quiet" }, t("filters.none")),
      usable.map((field) => {
        const form = formOf(field);
        const body = h("div", { class: "group-body" });
        const count = h("span", { class: "badge" });
        const details = h("details", { open: OPEN.has(field.name), title: null },
          h("summary", {}, h("span", {}, fieldLabel(field.name)), count), body);
        groups.set(field.parameter, { field, form, body, count, details, expanded: new Map(), matchAll: false, more: false, search: "" });
        return details;
      }));
    draw();
  }

  /** Show other filters, and count again. */
  function update(newFilters) {
    filters = newFilters;
    if (catalog === null) return;
    draw();
    refresh();
  }

  /**
   * Counts of all values. A field with a choice is counted without its own filter: the counts say what one more value would
   * add.
   */
  const refresh = debounce(async () => {
    abort.abort();
    abort = new AbortController();
    sequence += 1;
    const mine = sequence;
    const { signal } = abort;
    const chosen = [...groups.values()].filter(({ field, form }) => field.facet && form !== "text" && filters.some(([name]) => name === field.parameter));
    try {
      const answers = await Promise.all([
        get("v1/facets", [...filters, ["limit", MOST_VALUES]], { signal, quiet: true }),
        ...chosen.map(({ field }) => get("v1/facets", [...without(field.parameter), ["field", field.parameter], ["limit", MOST_VALUES]], { signal, quiet: true })),
      ]);
      if (mine !== sequence) return;
      passed = answers[0].passed;
      facets = Object.assign({}, ...answers.map((answer) => answer.facets));
      for (const group of groups.values()) for (const code of group.expanded.keys()) await expand(group, code, signal);
      draw();
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 404) summary.textContent = "";
    }
  }, PAUSE);

  /** Show the codes that an answer proposes, above those of the register; null: none. */
  function propose(codes) {
    proposed = codes ?? {};
    if (catalog !== null) draw();
  }

  const without = (parameter) => filters.filter(([name]) => name !== parameter);

  async function expand(group, code, signal) {
    const { field } = group;
    const answer = await get("v1/facets", [...without(field.parameter), ["field", field.parameter], ["under", code], ["limit", 200]], { signal, quiet: true });
    group.expanded.set(code, answer.facets[field.name] ?? []);
  }

  function draw() {
    const focused = document.activeElement?.dataset?.focus;
    summary.textContent = filters.length > 0 && passed !== null ? t("filters.passed", { n: passed }) : "";
    clear.hidden = filters.length === 0;
    for (const group of groups.values()) {
      const choice = choiceOf(filters, group.field.parameter, group.form);
      const chosen = choice.is.length + choice.not.length + (choice.text ? 1 : 0) + (choice.from || choice.to ? 1 : 0);
      group.count.textContent = chosen ? number(chosen) : "";
      if (choice.all) group.matchAll = true;
      choice.all = group.matchAll;
      if (group.body.contains(document.activeElement) && document.activeElement.matches("input:not([type=checkbox])")) {
        if (group.form !== "list") continue; // never under the user's hands
      }
      fill(group.body, { text: textForm, range: rangeForm, list: listForm }[group.form](group, choice));
    }
    if (focused) root.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  function textForm(group, choice) {
    const { field } = group;
    const values = (facets[field.name] ?? []).slice(0, group.more ? MOST_VALUES : 5);
    return [
      h("input", { type: "search", value: choice.text, "aria-label": t("filters.contains", { field: fieldLabel(field.name) }), placeholder: t("filters.words"), on: {
        input: (event) => typed(field.parameter, { ...choice, text: event.target.value.trim() }),
      } }),
      values.length > 0 && h("ul", {}, values.map(({ value, count }) => h("li", {},
        h("button", { type: "button", class: "value", "data-focus": `${field.parameter}:${value}`, on: { click: () => set(field.parameter, { ...choice, text: choice.text === value ? "" : value }) } },
          h("span", { class: "name" }, String(value)), h("span", { class: "count" }, number(count)))))),
    ];
  }

  function rangeForm(group, choice) {
    const { field } = group;
    const type = inputType(field);
    const input = (end) => h("input", {
      type, value: choice[end], min: field.min ?? null, max: field.max ?? null, placeholder: type === "number" ? String(field[end === "from" ? "min" : "max"] ?? "") : null,
      "aria-label": t(`filters.${end}`, { field: fieldLabel(field.name) }),
      on: { input: (event) => {
        if (!event.target.validity.badInput) typed(field.parameter, { ...choiceOf(filters, field.parameter, "range"), [end]: event.target.value });
      } },
    });
    return [
      field.facet && histogram(field, choice),
      h("div", { class: "range" }, input("from"), h("span", { class: "quiet" }, "–"), input("to")),
    ];
  }

  /** A bar for each value of a numeric field, such as the years. */
  function histogram(field, choice) {
    const values = (facets[field.name] ?? []).map(({ value, count }) => ({ value: Number(value), count })).sort((one, other) => one.value - other.value);
    if (values.length < 2) return null;
    const most = Math.max(...values.map(({ count }) => count));
    const chosen = (value) => (!choice.from || value >= Number(choice.from)) && (!choice.to || value <= Number(choice.to));
    return h("div", { class: "histogram", "aria-hidden": "true" }, values.map(({ value, count }) => {
      const bar = h("i", { title: `${value}: ${number(count)}`, class: chosen(value) ? "" : "out", on: { click: () => set(field.parameter, { ...choice, from: String(value), to: String(value) }) } });
      bar.style.height = `${Math.max(6, (count / most) * 100)}%`;
      return bar;
    }));
  }

  function listForm(group, choice) {
    const { field } = group;
    const tree = isTree(field);
    const known = facets[field.name] ?? [];
    const missing = [...choice.is, ...choice.not].filter((value) => !known.some((one) => String(one.value) === value) && !(tree && value.includes(".")));
    const isChosen = ({ value }) => choice.is.includes(String(value)) || choice.not.includes(String(value));
    // A choice beyond the first values comes first, so that it can be seen and taken back.
    const late = known.slice(SHOWN).filter(isChosen);
    const values = [...missing.map((value) => ({ value, count: 0 })), ...late, ...known.filter((one) => !late.includes(one))];
    const shown = group.more ? values : values.slice(0, SHOWN);
    return [
      proposals(group, choice),
      group.field.name === "vienna_codes" && Object.keys(names.vienna ?? {}).length > 0 && codeSearch(group, choice),
      choice.is.length > 1 && isList(field) && h("div", { class: "any-all", role: "group", "aria-label": t("filters.combine") }, [false, true].map((all) =>
        h("button", { type: "button", class: "toggle", "aria-pressed": String(choice.all === all), on: { click: () => { group.matchAll = all; set(field.parameter, { ...choice, all }); } } },
          t(all ? "filters.all" : "filters.any")))),
      values.length === 0 && h("p", { class: "quiet" }, t("filters.empty")),
      h("ul", {}, shown.map((value) => valueRow(group, choice, value, tree))),
      values.length > SHOWN && h("button", { type: "button", class: "link", on: { click: () => { group.more = !group.more; draw(); } } },
        group.more ? t("filters.fewer") : t("filters.more", { n: values.length - SHOWN })),
    ];
  }

  /** Codes of the nearest results: a help for filtering, and nothing that the service claims about the query. */
  function proposals(group, choice) {
    const { field } = group;
    const codes = (proposed[field.name] ?? []).slice(0, MOST_PROPOSED);
    if (codes.length === 0) return null;
    return h("section", { class: "proposed", "aria-label": t("filters.proposed") },
      h("p", { class: "quiet" }, t("filters.proposed")),
      h("ul", {}, codes.map(({ value, share }) => {
        const name = nameAbove(field, value);
        return h("li", {}, h("button", { type: "button", class: "value", title: t("filters.proposed.help", { code: name ? `${value} ${name}` : value, share: percent(share) }), "aria-pressed": String(choice.is.includes(value)), "data-focus": `proposed:${value}`, on: { click: () => set(field.parameter, flipped(choice, "is", value)) } },
          h("span", { class: "name" }, h("span", { class: "code" }, value), name), h("span", { class: "count" }, percent(share))));
      })),
      h("p", { class: "quiet" }, t("filters.proposed.note")));
  }

  function valueRow(group, choice, { value: raw, count }, tree) {
    const { field } = group;
    const value = String(raw);
    const name = nameOfValue(field, value);
    const is = choice.is.includes(value);
    const not = choice.not.includes(value);
    const open = group.expanded.has(value);
    const label = name ? `${value} ${name}` : value;
    const depth = value.split(".").length;
    return h("li", { class: not ? "excluded" : "" },
      h("div", { class: "row" },
        tree && (depth < 3
          ? h("button", { type: "button", class: `plain fold${open ? " open" : ""}`, "aria-expanded": String(open), "aria-label": t(open ? "filters.fold" : "filters.unfold", { code: label }), "data-focus": `fold:${value}`, on: { click: () => unfold(group, value) } }, "›")
          : h("span", { class: "fold" })),
        h("label", { title: label },
          h("input", { type: "checkbox", checked: is, "data-focus": `${field.parameter}:${value}`, on: { change: () => set(field.parameter, flipped(choice, "is", value)) } }),
          h("span", { class: "name" }, name && h("span", { class: "code" }, value), name || value),
          h("span", { class: "count" }, number(count))),
        iconButton("not", t("filters.exclude", { value: label }), () => set(field.parameter, flipped(choice, "not", value)),
          { class: "plain exclude", "aria-pressed": String(not), "data-focus": `not:${field.parameter}:${value}` })),
      open && h("ul", {}, group.expanded.get(value).map((child) => valueRow(group, choice, child, tree))));
  }

  async function unfold(group, code) {
    if (group.expanded.delete(code)) {
      draw();
      return;
    }
    try {
      await expand(group, code);
    } catch {
      return; // the counts are not reachable at the moment; the next click tries again
    }
    draw();
  }

  /** A code by its name. The list is the browser's own. */
  function codeSearch(group, choice) {
    const id = `codes-${group.field.parameter}`;
    const list = h("datalist", { id });
    const input = h("input", { type: "search", list: id, placeholder: t("filters.find"), "aria-label": t("filters.find"), "data-focus": id, value: group.search, on: {
      input: () => {
        group.search = input.value;
        const code = input.value.match(/^\d+(\.\d+)*(?= |$)/)?.[0];
        if (code && names.vienna[code] && input.value.includes(names.vienna[code])) {
          group.search = "";
          input.value = "";
          set(group.field.parameter, flipped(choice, "is", code));
          return;
        }
        const wanted = input.value.trim().toLowerCase();
        const matches = wanted.length < 2 ? [] : Object.entries(names.vienna).filter(([one, name]) => one.startsWith(wanted) || name.toLowerCase().includes(wanted));
        fill(list, matches.slice(0, 40).map(([one, name]) => h("option", { value: `${one} ${name}` })));
      },
      keydown: (event) => {
        if (event.key === "Enter" && /^\d+(\.\d+)*$/.test(input.value.trim())) {
          const code = input.value.trim();
          group.search = "";
          input.value = "";
          set(group.field.parameter, flipped(choice, "is", code));
        }
      },
    } });
    return [input, list];
  }

  function nameOfValue(field, value) {
    if (field.name === "vienna_codes") return names.vienna?.[value] ?? "";
    if (field.name === "nice_classes") return names.nice?.[value] ?? "";
    return "";
  }

  /** The name of a code, or of the nearest code above it that has one. */
  function nameAbove(field, value) {
    const levels = value.split(".");
    while (levels.length > 0) {
      const name = nameOfValue(field, levels.join("."));
      if (name) return name;
      levels.pop();
    }
    return "";
  }

  /** What each condition says, as texts for chips, with the filters without it. */
  function describe() {
    return filters.map(([parameter, expression], index) => {
      const group = groups.get(parameter);
      const field = group?.field ?? { name: parameter };
      const not = expression.startsWith("-");
      const values = (not ? expression.slice(1) : expression).split(group?.form === "list" ? "," : "\u0000");
      const named = values.map((value) => {
        const name = nameOfValue(field, value);
        return name ? `${value} ${name.length > 32 ? `${name.slice(0, 31)}…` : name}` : value.replace("..", " – ");
      });
      return { text: `${fieldLabel(field.name)}: ${not ? `${t("filters.not")} ` : ""}${named.join(` ${t("filters.or")} `)}`, rest: filters.filter((_, other) => other !== index) };
    });
  }

  /** The conditions without which something would pass, and how many. */
  async function culprits(signal) {
    const candidates = await Promise.all(describe().map(async (condition) => {
      const answer = await get("v1/facets", [...condition.rest, ...countedField(), ["limit", 1]], { signal, quiet: true }).catch(() => null);
      return { ...condition, passed: answer?.passed ?? 0 };
    }));
    return candidates.filter(({ passed: some }) => some > 0).sort((one, other) => other.passed - one.passed);
  }

  /** One field is enough to learn how many logos pass. */
  function countedField() {
    const field = catalog.fields.find((one) => one.facet);
    return field ? [["field", field.parameter]] : [];
  }

  /** Open the first group and set the focus there. */
  function focus() {
    root.querySelector("details")?.setAttribute("open", "");
    root.querySelector("summary")?.focus();
  }

  return { build, update, propose, describe, culprits, focus, nameOfValue };
}

/** The choice with this value added to `is` or `not`, or removed if it is there. */
function flipped(choice, list, value) {
  const other = list === "is" ? "not" : "is";
  const present = choice[list].includes(value);
  return {
    ...choice,
    [list]: present ? choice[list].filter((one) => one !== value) : [...choice[list], value],
    [other]: choice[other].filter((one) => one !== value),
  };
}
