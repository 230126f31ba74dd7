// Watches in the rail: what is watched, the alerts of each, and "watch this search".

import { drop, get, post } from "./api.js";
import { nameOf } from "./describe.js";
import { fill, h } from "./dom.js";
import { date, rounded, t } from "./i18n.js";
import { logoImage, rememberLinks } from "./images.js";

const LEFT_OUT = ["top_k", "propose", "read_words"]; // parameters that a watch cannot have, or has a value of its own for
const MOST_ALERTS = "100";

/**
 * @param {HTMLElement} root The section.
 * @param {HTMLDialogElement} dialog Shows the alerts of one watch.
 * @param {object} actions `pairs()`: the form of the search on the screen, null if there is none; `name()`: a name for it;
 * `show(hit)`; `done(text)`: says that something was done; `fail(error)`.
 */
export function createWatches(root, dialog, actions) {
  let watches = []; // null: the service has none

  /** Read the watches. A service without watches, or a key that may not have any, has no section. */
  async function load() {
    try {
      ({ watches } = await get("v1/watches", [["limit", "1000"]], { quiet: true }));
    } catch {
      watches = null;
    }
    render();
  }

  function render() {
    root.hidden = watches === null;
    if (watches === null) return;
    fill(root,
      h("div", { class: "section-title" }, h("h2", {}, t("watch.title"))),
      watches.length > 0 && h("ul", { class: "kept" }, watches.map((watch) => h("li", {},
        h("button", { type: "button", on: { click: () => open(watch) } },
          h("span", { class: "name" }, watch.name), h("span", { class: "quiet data" }, watch.problem ? t("watch.problem") : watch.alerts ? t("watch.alerts", { n: watch.alerts }) : t("watch.quiet")))))),
      h("p", { class: "links" }, h("button", { type: "button", class: "link", id: "watch-add", on: { click: add } }, t("watch.add"))));
  }

  async function add() {
    try {
      const pairs = await actions.pairs();
      if (pairs === null) {
        actions.done(t("watch.nothing"));
        return;
      }
      const watch = await post("v1/watches", [["name", actions.name()], ...pairs.filter(([name]) => !LEFT_OUT.includes(name))]);
      await load();
      actions.done(t("watch.added", { name: watch.name }));
    } catch (error) {
      actions.fail(error);
    }
  }

  async function open(watch) {
    try {
      const { alerts } = await get(`v1/watches/${watch.id}/alerts`, [["limit", MOST_ALERTS]]);
      const hits = alerts.map((alert) => ({ ...alert, id: alert.logo_id, metadata: alert.metadata ?? {} }));
      rememberLinks(hits);
      const close = h("button", { type: "button", on: { click: () => dialog.close() } }, t("help.done"));
      fill(dialog,
        h("h2", {}, watch.name),
        watch.problem && h("p", { class: "problem" }, watch.problem),
        hits.length === 0 && h("p", {}, t("watch.none", { date: date(watch.created) })),
        h("ul", { class: "kept" }, hits.map((hit) => h("li", {},
          h("button", { type: "button", disabled: hit.kind === "changed" && hit.after === null, on: { click: () => { dialog.close(); actions.show(hit); } } },
            h("span", { class: "thumb" }, logoImage(hit)), h("span", { class: "name" }, nameOf(hit)), h("span", { class: "quiet data" }, evidence(hit)), h("span", { class: "quiet data" }, date(hit.at)))))),
        h("p", { class: "actions" }, close, h("button", { type: "button", on: { click: () => remove(watch) } }, t("watch.delete"))));
      dialog.showModal();
      close.focus();
    } catch (error) {
      actions.fail(error);
    }
  }

  async function remove(watch) {
    dialog.close();
    try {
      await drop(`v1/watches/${watch.id}`);
      actions.done(t("watch.deleted", { name: watch.name }));
    } catch (error) {
      actions.fail(error);
    }
    await load();
    focus();
  }

  const focus = () => root.querySelector("button")?.focus();

  return { load, render, focus };
}

/** Why an alert was given, in a few words. */
function evidence(alert) {
  if (alert.kind === "similar") {
    return [
      t(`watch.${alert.reason}`),
      alert.band && t(`band.${alert.band}`),
      alert.expect !== null && t("watch.expect", { expect: rounded(alert.expect) }),
      alert.word_similarity !== null && t("watch.words"),
    ].filter(Boolean).join(" · ");
  }
  if (alert.after === null) return t("watch.gone");
  const before = alert.before ?? {};
  return Object.entries(alert.after).filter(([name, value]) => value !== before[name])
    .map(([, value]) => value ?? t("watch.empty")).join(", ");
}
