// The results as a grid of tiles: a listbox in which one tile is active.

import { fill, h, iconButton } from "./dom.js";
import { nameOf, statusKind } from "./describe.js";
import { number, t } from "./i18n.js";
import { logoImage } from "./images.js";

const FIRST = 24; // tiles that a screen shows: they are made at once, with their pictures; the others follow in idle time, so the first paint does not wait for them
const CHUNK = 120;

/**
 * The grid.
 *
 * @param {object} actions `open(tile)`, `decide(hit, decision)`, `like(hit)`, `more()`; `decisionOf(id)` and `noteOf(id)`.
 */
export function createGrid(root, actions) {
  const list = h("div", { id: "results", role: "listbox", tabindex: 0, "aria-label": t("grid.label") });
  const hover = h("div", { class: "hover-tools", hidden: true });
  const end = h("div", { class: "grid-end" });
  let tiles = []; // in the order on the screen: {hit, members, others, element, section}
  let active = -1;
  let hovered = -1;
  let filling = 0;
  fill(root, list, hover, end);

  list.addEventListener("click", (event) => {
    const index = indexOf(event.target);
    if (index < 0) return;
    setActive(index);
    actions.open(tiles[index]);
  });
  list.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "touch") showTools(indexOf(event.target));
  });
  root.addEventListener("pointerleave", () => showTools(-1));
  list.addEventListener("dragstart", (event) => {
    const index = indexOf(event.target);
    if (index >= 0) event.dataTransfer.setData("application/x-logo-id", tiles[index].hit.id);
  });
  list.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      event.preventDefault();
      openActive();
    }
  });
  list.addEventListener("focus", () => { if (active < 0 && tiles.length) setActive(0, false); });

  /** Show sections of tiles, as `arrange` returns them. */
  function show(sections, { total, more, scroll }) {
    const before = tiles[active]?.hit.id;
    cancelIdle(filling);
    tiles = [];
    showTools(-1);
    const queue = [];
    fill(list, sections.map(({ band, tiles: own }) => {
      const section = h("div", { role: "group", class: "section", "aria-label": band ? t("grid.section", { band: t(`band.${band}`), n: own.length }) : t("grid.label"), data: { band: band ?? "" } });
      const flow = h("div", { class: "flow", role: "presentation" });
      section.append(...[band && h("p", { class: "divider", "aria-hidden": "true" }, h("span", {}, t(`band.${band}`)), h("span", { class: "quiet" }, t(`band.${band}.help`))), flow].filter(Boolean));
      for (const tile of own) {
        const entry = { ...tile, element: null, flow };
        tiles.push(entry);
        queue.push(entry);
      }
      return section;
    }));
    tiles.forEach((tile, index) => { tile.index = index; });
    add(queue.splice(0, FIRST));
    const next = () => {
      add(queue.splice(0, CHUNK));
      if (queue.length) filling = idle(next);
    };
    if (queue.length) filling = idle(next);
    active = tiles.findIndex(({ hit }) => hit.id === before);
    if (active >= 0) mark(active, true);
    else list.removeAttribute("aria-activedescendant");
    list.setAttribute("aria-label", t("grid.count", { n: total }));
    fill(end, more.length > 0 && h("p", {}, h("span", { class: "quiet" }, t("grid.more")), more.map((top) =>
      h("button", { type: "button", on: { click: () => actions.more(top) } }, number(top)))));
    if (scroll) root.closest("main").scrollTo({ top: 0 });
  }

  function add(entries) {
    const parts = new Map();
    for (const entry of entries) {
      entry.element = makeTile(entry);
      if (!parts.has(entry.flow)) parts.set(entry.flow, []);
      parts.get(entry.flow).push(entry.element);
    }
    for (const [flow, elements] of parts) flow.append(...elements);
  }

  function makeTile({ hit, others, index }) {
    const { metadata } = hit;
    const element = h("div", { class: "tile", role: "option", id: `tile-${index}`, "aria-selected": "false", draggable: "true", data: { index, band: hit.band ?? "", status: statusKind(metadata.status) } },
      h("span", { class: "hidden" }, t("tile.mark")),
      h("div", { class: "mark" }, logoImage(hit, { loading: index < FIRST ? "eager" : "lazy" })),
      h("div", { class: "name" }, h("span", {}, nameOf(hit)), others > 0 && h("span", { class: "plus" }, `+${number(others)}`)),
      h("div", { class: "data" }, h("span", { class: "dot" }), h("span", { class: "id" }, hit.id), metadata.office && h("span", { class: "office" }, metadata.office)),
      h("span", { class: "hidden rest" }));
    paint(element, hit, others);
    return element;
  }

  /** The decision on a tile, in its look and in its name, which is its text: "Mark NAME NUMBER OFFICE, status, strong, kept". */
  function paint(element, hit, others) {
    const decision = actions.decisionOf(hit.id);
    const note = Boolean(actions.noteOf(hit.id));
    element.dataset.decision = decision ?? "";
    element.toggleAttribute("data-note", note);
    element.querySelector(".rest").textContent = [
      "", hit.metadata.status, hit.band && t(`band.${hit.band}`), decision && t(`decision.${decision}`), note && t("tile.note"),
      others > 0 && t("tile.more", { n: others }),
    ].filter((part) => part || part === "").join(", ");
  }

  /** Show the decisions again; those of one logo, or all. */
  function repaint(id = null) {
    for (const { hit, others, element } of tiles) if (element && (id === null || hit.id === id)) paint(element, hit, others);
    if (hovered >= 0) showTools(hovered);
  }

  function setActive(index, scroll = true) {
    if (index < 0 || index >= tiles.length || !tiles[index].element) return;
    if (active >= 0) mark(active, false);
    active = index;
    mark(active, true);
    if (scroll) tiles[active].element.scrollIntoView({ block: "nearest" });
  }

  function mark(index, on) {
    const { element } = tiles[index];
    if (!element) return;
    element.setAttribute("aria-selected", String(on));
    if (on) list.setAttribute("aria-activedescendant", element.id);
  }

  /** Move by keyboard: along the row, or to the nearest tile of the next row. */
  function move(key) {
    if (tiles.length === 0) return false;
    if (active < 0) setActive(0);
    else if (key === "ArrowLeft") setActive(active - 1);
    else if (key === "ArrowRight") setActive(active + 1);
    else if (key === "Home") setActive(0);
    else if (key === "End") setActive(tiles.length - 1);
    else setActive(inNextRow(key === "ArrowDown" ? 1 : -1));
    list.focus({ preventScroll: true });
    return true;
  }

  function inNextRow(direction) {
    const { offsetTop: row, offsetLeft: column } = tiles[active].element;
    let best = active;
    for (let index = active + direction, rowTop = null; tiles[index]?.element; index += direction) {
      const { offsetTop, offsetLeft } = tiles[index].element;
      if (offsetTop === row) continue;
      rowTop ??= offsetTop;
      if (offsetTop !== rowTop) break;
      if (best === active || Math.abs(offsetLeft - column) < Math.abs(tiles[best].element.offsetLeft - column)) best = index;
    }
    return best;
  }

  function openActive() {
    if (active >= 0) actions.open(tiles[active]);
  }

  /** The tile before or after that of a logo; null at the end. */
  function neighbour(id, step) {
    const index = tiles.findIndex(({ members }) => members.some((hit) => hit.id === id));
    const tile = tiles[index + step];
    if (index < 0 || !tile) return null;
    setActive(index + step);
    return tile;
  }

  function tileOf(id) {
    return tiles.find(({ members }) => members.some((hit) => hit.id === id)) ?? null;
  }

  /** Buttons over the tile under the pointer: one set for all tiles, outside the listbox. */
  function showTools(index) {
    hovered = index;
    hover.hidden = index < 0;
    if (index < 0) return;
    const { hit, element } = tiles[index];
    const decision = actions.decisionOf(hit.id);
    fill(hover,
      iconButton("keep", t("decide.keep"), () => actions.decide(hit, "kept"), { tabindex: -1, "aria-pressed": String(decision === "kept") }),
      iconButton("dismiss", t("decide.dismiss"), () => actions.decide(hit, "dismissed"), { tabindex: -1, "aria-pressed": String(decision === "dismissed") }),
      iconButton("like", t("decide.like"), () => actions.like(hit), { tabindex: -1 }));
    const box = element.getBoundingClientRect();
    const frame = root.getBoundingClientRect();
    hover.style.left = `${box.right - frame.left}px`;
    hover.style.top = `${box.top - frame.top}px`;
  }

  const indexOf = (target) => Number(target.closest?.(".tile")?.dataset.index ?? -1);

  return {
    show, repaint, move, openActive, neighbour, tileOf,
    activeHit: () => tiles[active]?.hit ?? null,
    focus: () => list.focus({ preventScroll: true }),
    setActiveId: (id) => setActive(tiles.findIndex(({ members }) => members.some((hit) => hit.id === id))),
  };
}

const idle = (action) => (globalThis.requestIdleCallback ? requestIdleCallback(action, { timeout: 200 }) : setTimeout(action, 16));
const cancelIdle = (handle) => (globalThis.cancelIdleCallback ? cancelIdleCallback(handle) : clearTimeout(handle));
