// One hit beside the query: matched regions on both, register data, why, and the decision.

import { get, post } from "./api.js";
import { $, fill, h, icon, iconButton, overlay } from "./dom.js";
import { chanceText, evidence, fieldLabel, nameOf, valueText } from "./describe.js";
import { t } from "./i18n.js";
import { logoImage } from "./images.js";
import { findPicture } from "./pictures.js";
import { cropOverlay } from "./query.js";
import { pictureParameters } from "./state.js";

const MOST_REGIONS = 5;

/**
 * The panel.
 *
 * @param {object} actions `close()`, `step(1 | -1)`, `show(hit)`, `decide(hit, decision)`, `note(hit, text)`, `like(hit)`,
 *   `decisionOf(id)`, `noteOf(id)`, `nameOfValue(field, value)`, `sharedWith()`: codes and classes of the query.
 */
export function createDetail(actions) {
  const panel = $("detail");
  let shown = null; // {hit, members, state, queryLogo, catalog}
  let abort = new AbortController();
  const decision = h("div", { class: "decide" });
  const pair = h("div", { class: "pair" });

  /** Show a hit. The regions follow when the service has explained it. */
  function show(next) {
    abort.abort();
    abort = new AbortController();
    const again = shown !== null;
    shown = next;
    const { hit, members, catalog } = shown;
    fill(panel,
      h("header", {},
        h("h2", { id: "detail-title", tabindex: -1 }, nameOf(hit)),
        h("p", { class: "quiet data" }, [hit.id, hit.metadata.office, hit.metadata.status].filter(Boolean).join(" · ")),
        h("div", { class: "steps" },
          iconButton("previous", t("detail.previous"), () => actions.step(-1)),
          iconButton("next", t("detail.next"), () => actions.step(1)),
          iconButton("close", t("detail.close"), actions.close))),
      pair, decision,
      why(hit),
      members.length > 1 && h("section", {}, h("h3", {}, t("detail.members", { n: members.length })),
        h("ul", { class: "members" }, members.map((member) => h("li", {},
          h("button", { type: "button", "aria-label": nameOf(member), "aria-current": member.id === hit.id ? "true" : null, title: `${nameOf(member)} · ${member.id}`, on: { click: () => actions.show(member, members) } },
            logoImage(member)))))),
      registerData(hit, catalog));
    repaint();
    drawPair([]);
    panel.hidden = false;
    panel.scrollTop = 0;
    if (!again) $("detail-title").focus({ preventScroll: true });
    explain(abort.signal);
  }

  function hide() {
    abort.abort();
    shown = null;
    panel.hidden = true;
    fill(panel);
  }

  /** The two pictures at the same scale; regions are numbered, and have the same colour on both. */
  async function drawPair(regions, caption = "") {
    const { hit, state, queryLogo } = shown;
    const current = shown;
    const query = await queryImage(state, queryLogo);
    if (shown !== current) return;
    const light = (index, on) => pair.querySelectorAll(`[data-region="${index}"]`).forEach((one) => one.classList.toggle("lit", on));
    const boxes = (side) => regions.slice(0, MOST_REGIONS).map((region, index) => ({ box: region[side], class: `region r${index}`, "data-region": index }));
    const figure = (image, side, label) => {
      const drawn = overlay(boxes(side), { class: "overlay" });
      drawn.addEventListener("pointerover", (event) => { if (event.target.dataset.region) light(event.target.dataset.region, true); });
      drawn.addEventListener("pointerout", (event) => { if (event.target.dataset.region) light(event.target.dataset.region, false); });
      return h("figure", {}, h("div", { class: "sheet" }, h("div", { class: "canvas" }, image, side === "query_box" && state.crop && cropOverlay(state.crop), drawn)), h("figcaption", {}, label));
    };
    fill(pair,
      query && figure(query, "query_box", t("detail.query")),
      figure(logoImage(hit), "hit_box", t("detail.hit")),
      h("p", { class: "legend" }, regions.length > 0
        ? [h("span", { class: "quiet" }, t("detail.regions")), regions.slice(0, MOST_REGIONS).map((_, index) =>
          h("button", { type: "button", class: `toggle r${index}`, "aria-label": t("detail.region", { n: index + 1 }), on: {
            mouseenter: () => light(index, true), mouseleave: () => light(index, false), focus: () => light(index, true), blur: () => light(index, false),
          } }, String(index + 1)))]
        : h("span", { class: "quiet" }, caption)));
  }

  async function queryImage(state, queryLogo) {
    if (queryLogo) return logoImage(queryLogo);
    if (state.pictures.length === 0) return null;
    const picture = await findPicture(state.pictures[0]);
    return picture && h("img", { src: picture.url, alt: "" });
  }

  async function explain(signal) {
    const { hit, state } = shown;
    const own = hit.matched ? [hit.matched] : [];
    drawPair(own);
    try {
      const regions = await fetchRegions(hit, state, signal);
      const parts = regions?.filter((region) => !(isWhole(region.query_box) && isWhole(region.hit_box)));
      if (regions !== null && !signal.aborted) drawPair(parts.length > 0 ? parts : regions, t("detail.no-regions"));
    } catch (error) {
      if (error.name !== "AbortError" && !signal.aborted) drawPair(own, t("detail.unexplained"));
    }
  }

  /** Regions of the query and of a hit that resemble each other; null for a query without a picture. */
  async function fetchRegions(hit, state, signal) {
    if (state.logo) {
      const { regions } = await get("v1/explain", [["logo_id", state.logo], ["hit_id", hit.id]], { signal, quiet: true });
      return regions;
    }
    const picture = state.pictures.length > 0 ? await findPicture(state.pictures[0]) : null;
    if (picture === null) return null;
    const query = [["hit_id", hit.id], ...pictureParameters(state)];
    const { regions } = await post("v1/explain", [["file", picture.blob]], { query, signal, quiet: true });
    return regions;
  }

  function why(hit) {
    const chance = chanceText(hit.expect);
    const lines = [...evidence(hit), chance].filter(Boolean);
    return (hit.band || lines.length > 0) && h("section", { class: "why", data: { band: hit.band ?? "" } },
      h("h3", {}, t("detail.why")),
      hit.band && h("p", {}, h("span", { class: "band" }, t(`band.${hit.band}`)), " ", h("span", { class: "quiet" }, t(`band.${hit.band}.help`))),
      h("ul", {}, lines.map((line) => h("li", {}, line))));
  }

  function registerData(hit, catalog) {
    const shared = actions.sharedWith();
    const names = Object.keys(hit.metadata).filter((name) => name !== "extra");
    const other = shown.queryLogo?.metadata ?? null;
    const ofHit = Object.fromEntries(names.map((name) => [name, [hit.metadata[name]].flat().map(String)]));
    const row = (label, name, value, against) => h("tr", {}, h("th", { scope: "row" }, label), other && h("td", {}, cell(name, against, ofHit)), h("td", {}, cell(name, value, shared)));
    const filled = names.filter((name) => valueText(name, hit.metadata[name]) || (other && valueText(name, other[name])));
    const extra = Object.entries(hit.metadata.extra ?? {}).filter(([, value]) => valueText("", value));
    const office = officeLink(catalog?.record_url, hit);
    return h("section", {},
      h("h3", {}, t("detail.register")),
      h("table", { class: other ? "register compared" : "register" },
        other && h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, t("detail.query")), h("th", { scope: "col" }, t("detail.hit")))),
        h("tbody", {},
          row(t("field.id"), "id", hit.id, shown.queryLogo?.id),
          filled.map((name) => row(fieldLabel(name), name, hit.metadata[name], other?.[name])),
          extra.map(([name, value]) => row(fieldLabel(name), "", value, other?.extra?.[name])))),
      office && h("p", {}, h("a", { href: office, target: "_blank", rel: "noreferrer noopener" }, t("detail.office"), " ", icon("external"))));
  }

  /** A value; codes and classes with their names, and marked if the query or its filters have them too. */
  function cell(name, value, shared) {
    if (!Array.isArray(value) || value.length === 0) return linked(valueText(name, value));
    return h("ul", { class: "codes" }, value.map((code) => {
      const known = shared[name]?.some((one) => String(code) === one || String(code).startsWith(`${one}.`));
      return h("li", {}, h(known ? "mark" : "span", { title: known ? t("detail.shared") : null }, String(code)), " ", h("span", { class: "quiet" }, actions.nameOfValue({ name, kind: "" }, String(code))));
    }));
  }

  /** The decision and the note; drawn again when they change. */
  function repaint() {
    if (shown === null) return;
    const { hit } = shown;
    const current = actions.decisionOf(hit.id);
    const note = decision.querySelector("textarea");
    if (note && decision.dataset.id === hit.id && document.activeElement === note) {
      decision.querySelectorAll("[data-decision]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.decision === current)));
      return;
    }
    const focused = decision.contains(document.activeElement) ? document.activeElement.dataset.decision : null;
    decision.dataset.id = hit.id;
    const button = (value, key, name) => h("button", { type: "button", "aria-pressed": String(current === value), data: { decision: value }, on: { click: () => actions.decide(hit, value) } }, icon(name, current === value && name === "keep"), t(key));
    fill(decision,
      h("div", { class: "buttons" }, button("kept", "decide.keep", "keep"), button("dismissed", "decide.dismiss", "dismiss"),
        h("button", { type: "button", on: { click: () => actions.like(hit) } }, icon("like"), t("decide.like"))),
      h("label", {}, h("span", { class: "hidden" }, t("note.label")),
        h("textarea", { id: "note", rows: 2, maxlength: 4000, placeholder: t("note.placeholder"), value: actions.noteOf(hit.id) ?? "", on: {
          change: (event) => actions.note(hit, event.target.value.trim()),
          keydown: (event) => { if (event.key === "Escape") { event.stopPropagation(); event.target.blur(); $("detail-title").focus({ preventScroll: true }); } },
        } })));
    if (focused) decision.querySelector(`[data-decision="${focused}"]`)?.focus();
  }

  return {
    show, hide, repaint,
    hit: () => shown?.hit ?? null,
    focusNote: () => $("note")?.focus(),
  };
}

/** The whole record of a logo: {id, image_url, metadata}. */
export const fetchLogo = (path, signal) => get(path, [], { signal });

const isWhole = (box) => box.join() === "0,0,1,1";

/** The page of the office for a logo; null if there is no template, or it is not an HTTP address. */
function officeLink(template, { id, metadata }) {
  if (!template) return null;
  try {
    const url = new URL(template.replaceAll("{id}", encodeURIComponent(id)).replaceAll("{office}", encodeURIComponent(metadata.office ?? "")));
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function linked(text) {
  return /^https?:\/\/[^\s]+$/.test(text) ? h("a", { href: text, target: "_blank", rel: "noreferrer noopener" }, text) : text;
}
