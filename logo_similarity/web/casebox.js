// The case in the rail: its name, what is kept, and the other cases.

import { fill, h } from "./dom.js";
import { countDecisions } from "./case.js";
import { nameOf } from "./describe.js";
import { t } from "./i18n.js";
import { logoImage } from "./images.js";

/** @param {object} actions `rename(name)`, `pick(id)`, `start()`, `remove()`, `show(hit)`, `import()`. */
export function createCaseBox(root, actions) {
  // One element for good: it is typed in while the case is drawn again.
  const name = h("input", { type: "text", maxlength: 200, on: { input: () => actions.rename(name.value) } });

  function render(current, cases, lasting) {
    const { kept, dismissed } = countDecisions(current);
    const typing = document.activeElement === name;
    if (name.value !== current.name) name.value = current.name;
    name.placeholder = t("case.name");
    name.setAttribute("aria-label", t("case.name"));
    const caret = [name.selectionStart, name.selectionEnd];
    const focused = root.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const hits = Object.entries(current.items).filter(([, entry]) => entry.decision === "kept")
      .map(([id, entry]) => ({ id, image_url: "", metadata: entry.metadata, band: entry.band, expect: entry.expect, score: entry.score }));
    fill(root,
      h("div", { class: "section-title" }, h("h2", {}, t("case.title")), h("span", { class: "quiet data", id: "case-count" }, t("case.count", { kept, dismissed }))),
      name,
      cases.length > 1 && h("select", { "aria-label": t("case.pick"), "data-focus": "pick", on: { change: (event) => actions.pick(event.target.value) } },
        cases.map((one) => h("option", { value: one.id, selected: one.id === current.id }, `${one.name || t("case.unnamed")} (${countDecisions(one).kept})`))),
      hits.length > 0 && h("ul", { class: "kept" }, hits.map((hit) => h("li", {},
        h("button", { type: "button", on: { click: () => actions.show(hit) } }, h("span", { class: "thumb" }, keptImage(hit)), h("span", { class: "name" }, nameOf(hit)), current.items[hit.id].note && h("span", { class: "quiet", title: current.items[hit.id].note }, "✎"))))),
      h("p", { class: "links" },
        h("button", { type: "button", class: "link", on: { click: actions.start } }, t("case.new")),
        h("button", { type: "button", class: "link", on: { click: actions.import } }, t("case.import")),
        h("button", { type: "button", class: "link", on: { click: actions.remove } }, t("case.delete"))),
      !lasting && h("p", { class: "quiet" }, t("case.memory")));
    if (typing) {
      name.focus();
      name.setSelectionRange(...caret);
    }
    if (focused) root.querySelector(`[data-focus="${focused}"]`)?.focus();
  }

  /** A kept mark has no link of its own: the latest one is used, or fetched. */
  const keptImage = (hit) => logoImage({ ...hit, image_url: "data:," }, { loading: "lazy" });

  return { render };
}
