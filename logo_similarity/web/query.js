// The query: its picture with a crop box, what the engine saw in it, and the words that were read.

import { fill, h, icon, iconButton, overlay } from "./dom.js";
import { t } from "./i18n.js";
import { logoImage } from "./images.js";
import { findPicture } from "./pictures.js";
import { nameOf } from "./describe.js";
import { MOST_PICTURES } from "./state.js";

const SMALLEST = 0.02; // side of a crop box, as a share of the picture; a smaller drag is a click
const STEP = 0.02;

/**
 * The query in the rail.
 *
 * @param {object} actions `choose()` opens the file dialog; `remove(digest)`, `clear()`, `change(patch)`.
 */
export function createQuery(root, actions) {
  let drawn = ""; // what the frame shows, so that it is rebuilt for another picture only
  const frame = h("div", { class: "frame" });
  const below = h("div", { class: "below" });

  async function render({ state, answer, logo, catalog }) {
    const title = h("div", { class: "section-title" },
      h("h2", {}, t("query.title")),
      (state.pictures.length > 0 || state.logo) && h("button", { type: "button", class: "link", on: { click: actions.clear } }, t("query.clear")));
    if (state.pictures.length === 0 && !state.logo) {
      drawn = "";
      fill(root, title, dropZone(actions));
      return;
    }
    if (root.firstChild === null || !root.contains(frame)) fill(root, title, frame, below);
    else root.firstChild.replaceWith(title);
    const wanted = JSON.stringify([state.pictures, state.logo, logo?.id]);
    if (drawn !== wanted) {
      drawn = wanted;
      await drawPicture(state, logo);
    }
    drawBoxes(state, answer);
    drawBelow(state, answer, logo, catalog);
  }

  async function drawPicture(state, logo) {
    if (state.logo) {
      fill(frame, h("div", { class: "canvas" }, logo && logoImage(logo)));
      return;
    }
    const picture = await findPicture(state.pictures[0]);
    if (picture === null) {
      fill(frame, h("p", { class: "quiet" }, t("query.elsewhere")));
      return;
    }
    const image = h("img", { alt: t("query.picture", { name: picture.name }), draggable: "false" });
    const canvas = h("div", { class: "canvas" }, image);
    image.addEventListener("error", () => fill(frame, h("p", { class: "quiet" }, t("query.unseen", { name: picture.name }))));
    image.src = picture.url;
    if (state.pictures.length === 1) allowCrop(canvas);
    fill(frame, canvas);
  }

  /** Drag a box on the picture; on a touch screen too. */
  function allowCrop(canvas) {
    let start = null;
    const point = (event) => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
    };
    const boxTo = ([x, y]) => [Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)];
    canvas.classList.add("croppable");
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest(".crop-box")) return;
      event.preventDefault();
      start = point(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (start !== null) showCrop(canvas, boxTo(point(event)));
    });
    canvas.addEventListener("pointerup", (event) => {
      if (start === null) return;
      const box = boxTo(point(event));
      start = null;
      if (box[2] - box[0] < SMALLEST || box[3] - box[1] < SMALLEST) showCrop(canvas, null);
      else actions.change({ crop: box.map(round) });
    });
    canvas.addEventListener("pointercancel", () => { start = null; });
  }

  function showCrop(canvas, box) {
    canvas.querySelector(".crop")?.remove();
    if (box) canvas.append(cropOverlay(box));
  }

  function drawBoxes(state, answer) {
    const canvas = frame.querySelector(".canvas");
    if (canvas === null) return;
    canvas.querySelectorAll(".overlay, .crop-box").forEach((old) => old.remove());
    const seen = answer?.pictures?.[0];
    if (seen) {
      const boxes = (seen.parts ?? []).map((box, index) => ({ box, class: "part", "data-part": index }));
      if (seen.content && !state.crop) boxes.unshift({ box: seen.content, class: "content" });
      canvas.append(overlay(boxes, { class: "overlay seen" }));
    }
    if (state.crop) canvas.append(cropOverlay(state.crop), cropHandle(state.crop));
  }

  /** A crop box that can be moved and resized by keyboard. */
  function cropHandle(crop) {
    let box = crop;
    const search = () => {
      if (box === crop) return;
      crop = box; // the search removes this element, which then loses the focus
      actions.change({ crop: box.map(round) });
    };
    const place = (element) => {
      const [left, top, right, bottom] = box.map((value) => `${value * 100}%`);
      Object.assign(element.style, { left, top, width: `calc(${right} - ${left})`, height: `calc(${bottom} - ${top})` });
    };
    const handle = h("div", { class: "crop-box", tabindex: 0, role: "group", "aria-label": t("crop.label"), title: t("crop.help"), on: {
      keydown: (event) => {
        const [x, y] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key] ?? [0, 0];
        if (event.key === "Escape" || event.key === "Delete") actions.change({ crop: null });
        else if (event.key === "Enter") search();
        else if (x || y) {
          box = event.shiftKey ? resized(box, x, y) : moved(box, x, y);
          place(handle);
          handle.parentElement.querySelector(".crop").replaceWith(cropOverlay(box));
        } else return;
        event.preventDefault();
        event.stopPropagation();
      },
      blur: search,
    } });
    place(handle);
    return handle;
  }

  function drawBelow(state, answer, logo, catalog) {
    const seen = answer?.pictures?.[0];
    const parts = seen?.parts ?? [];
    const single = state.pictures.length === 1;
    const light = (index, on) => frame.querySelector(`[data-part="${index}"]`)?.classList.toggle("lit", on);
    fill(below,
      logo && h("p", { class: "data" }, nameOf(logo), " ", h("span", { class: "quiet" }, logo.id)),
      state.pictures.length > 0 && h("div", { class: "views" },
        state.pictures.length > 1 && state.pictures.map((digest) => viewThumb(digest)),
        state.pictures.length < MOST_PICTURES && h("button", { type: "button", class: "link", on: { click: () => actions.choose(true) } }, t("query.another"))),
      answer?.pictures?.some(({ damage }) => damage) && h("p", {}, t("query.damage")),
      state.pictures.length > 0 && h("div", { class: "toggles" },
        toggle("query.invert", state.invert, () => actions.change({ invert: !state.invert })),
        toggle("query.greyscale", state.greyscale, () => actions.change({ greyscale: !state.greyscale })),
        single && toggle("query.turned", state.turned, () => actions.change({ turned: !state.turned })),
        single && toggle("query.part.of.mark", state.part, () => actions.change({ part: !state.part })),
        single && h("button", { type: "button", class: "toggle", "aria-pressed": String(state.crop !== null), on: { click: () => {
          actions.change({ crop: state.crop ? null : seen?.content ?? [0.1, 0.1, 0.9, 0.9] });
        } } }, t(state.crop ? "crop.remove" : "crop.start"))),
      single && parts.length > 0 && h("p", { class: "parts" }, h("span", { class: "quiet" }, t("query.parts")), parts.map((box, index) =>
        h("button", { type: "button", class: "toggle", title: t("query.part", { n: index + 1 }), "aria-label": t("query.part", { n: index + 1 }), on: {
          click: () => actions.change({ crop: box.map(round) }),
          mouseenter: () => light(index, true), mouseleave: () => light(index, false),
          focus: () => light(index, true), blur: () => light(index, false),
        } }, String(index + 1)))),
      !state.words && answer?.words && h("p", { class: "read" }, h("span", { class: "quiet" }, t("query.read")), h("q", {}, answer.words),
        h("button", { type: "button", class: "link", on: { click: () => actions.change({ words: answer.words.slice(0, 200) }) } }, t("query.use"))),
      !state.words && answer && !answer.words && catalog?.reads_words && state.pictures.length > 0 && h("p", { class: "quiet" }, t("query.unread")));
  }

  function viewThumb(digest) {
    const image = h("img", { alt: "" });
    findPicture(digest).then((picture) => { if (picture) image.src = picture.url; });
    return h("span", { class: "view-thumb" }, image, iconButton("close", t("query.remove"), () => actions.remove(digest)));
  }

  return { render };
}

/** A place to drop, paste or choose a picture. */
export function dropZone(actions, large = false) {
  return h("button", { type: "button", class: large ? "drop large" : "drop", on: { click: () => actions.choose(false) } },
    icon("upload"), h("strong", {}, t("drop.title")), h("span", { class: "quiet" }, t("drop.text")));
}

/** Everything outside the box is dimmed. */
export function cropOverlay([left, top, right, bottom]) {
  return overlay([
    { box: [0, 0, 1, top], class: "shade" },
    { box: [0, bottom, 1, 1], class: "shade" },
    { box: [0, top, left, bottom], class: "shade" },
    { box: [right, top, 1, bottom], class: "shade" },
    { box: [left, top, right, bottom], class: "edge" },
  ], { class: "overlay crop" });
}

function toggle(key, pressed, click) {
  return h("button", { type: "button", class: "toggle", "aria-pressed": String(pressed), on: { click } }, t(key));
}

function moved([left, top, right, bottom], x, y) {
  const [dx, dy] = [Math.max(-left, Math.min(1 - right, x)), Math.max(-top, Math.min(1 - bottom, y))];
  return [left + dx, top + dy, right + dx, bottom + dy];
}

function resized([left, top, right, bottom], x, y) {
  return [left, top, Math.max(left + SMALLEST, Math.min(1, right + x)), Math.max(top + SMALLEST, Math.min(1, bottom + y))];
}

const clamp = (value) => Math.max(0, Math.min(1, value));
const round = (value) => Number(value.toFixed(4));
