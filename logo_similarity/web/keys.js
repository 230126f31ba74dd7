// The keyboard: one table of shortcuts, and the sheet that lists them.

import { fill, h } from "./dom.js";
import { t } from "./i18n.js";

const SHEET = [
  ["search", [["/", "words"], ["u", "upload"], ["v", "paste"], ["f", "filters"], ["w", "watches"]]],
  ["results", [["← → ↑ ↓", "move"], ["Enter", "open"], ["Esc", "close"], ["g", "group"], ["e", "export"]]],
  ["decisions", [["k", "keep"], ["x", "dismiss"], ["n", "note"], ["m", "like"], ["Ctrl Z", "undo"]]],
];
const SWITCH = "single-keys"; // in localStorage: "off" for people whose speech software types letters

/** Listen to the keyboard. `actions` by key: "k", "Enter", "ArrowLeft", "undo", ... An action returns false to let the key pass. */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
    let name = event.key;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && name.toLowerCase() === "z") name = "undo";
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing && name !== "Escape") return;
    if (name.length === 1 && localStorage.getItem(SWITCH) === "off") return;
    if (["Enter", " "].includes(name) && event.target.closest("button, a, summary, input, label")) return;
    if (name.startsWith("Arrow") && event.target.closest("[role=menu], .crop-box")) return;
    if (actions[name]?.(event) !== false && actions[name]) event.preventDefault();
  });
}

/** Fill and open the sheet of shortcuts. */
export function showHelp(dialog) {
  const single = h("input", { type: "checkbox", checked: localStorage.getItem(SWITCH) !== "off", on: { change: (event) => localStorage.setItem(SWITCH, event.target.checked ? "on" : "off") } });
  fill(dialog,
    h("h2", {}, t("help.title")),
    h("div", { class: "sheet-columns" }, SHEET.map(([group, rows]) => h("section", {}, h("h3", {}, t(`help.${group}`)),
      h("dl", {}, rows.map(([key, name]) => h("div", {}, h("dt", {}, key.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, t(`help.${name}`)))))))),
    h("p", {}, h("label", {}, single, " ", t("help.single"))),
    h("p", { class: "actions" }, h("button", { type: "button", on: { click: () => dialog.close() } }, t("help.done"))));
  dialog.showModal();
}
