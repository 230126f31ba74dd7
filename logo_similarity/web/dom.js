// Elements are made here and nowhere from markup: register data and file names stay text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `properties` are attributes; `on` has listeners, `data` data attributes, and `false` or null leaves one out.
 * Children are elements and texts; null is left out.
 */
export function h(tag, properties = {}, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function s(tag, properties = {}, ...children) {
  return build(document.createElementNS(SVG, tag), properties, children);
}

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (["value", "checked", "disabled", "hidden", "selected"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
}

const PATHS = {
  add: "M8 3v10M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  down: "M4 6l4 4 4-4",
  external: "M6 3H3v10h10v-3M9 3h4v4M13 3L7 9",
  keep: "M4 2.5h8v11l-4-3-4 3z",
  dismiss: "M4 4l8 8M12 4l-8 8",
  like: "M7 12A5 5 0 1 1 7 2a5 5 0 0 1 0 10zM10.5 10.5L14 14",
  not: "M8 14A6 6 0 1 1 8 2a6 6 0 0 1 0 12zM4 8h8",
  note: "M3 13l1-3 7-7 2 2-7 7z",
  previous: "M10 3L5 8l5 5",
  next: "M6 3l5 5-5 5",
  theme: "M8 14A6 6 0 1 1 8 2a6 6 0 0 1 0 12zM8 2a6 6 0 0 1 0 12z",
  upload: "M8 11V3M4.5 6.5L8 3l3.5 3.5M3 13h10",
};

/** An icon of 16 pixels in the colour of the text; decoration, so the control needs a name of its own. */
export function icon(name, filled = false) {
  return s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" },
    s("path", { d: PATHS[name], fill: filled || name === "theme" ? "currentColor" : "none", "fill-opacity": name === "theme" ? 0.35 : 1 }));
}

/** A button with an icon and a name that is read out and shown as a tooltip. */
export function iconButton(name, label, click, properties = {}) {
  return h("button", { type: "button", class: "plain", "aria-label": label, title: label, on: { click }, ...properties }, icon(name));
}

/** Calls `action` once the last call is `milliseconds` ago. */
export function debounce(action, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}

/** Save a text or a Blob as a file of the user. */
export function download(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Boxes over a picture: fractions left, top, right, bottom. */
export function overlay(boxes, properties = {}) {
  return s("svg", { class: "overlay", viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true", ...properties },
    boxes.map(({ box: [left, top, right, bottom], ...more }) =>
      s("rect", { x: left * 1000, y: top * 1000, width: (right - left) * 1000, height: (bottom - top) * 1000, ...more })));
}
