// The message above the results: errors, waiting, and what to do.

import { $, fill, h } from "./dom.js";
import { t } from "./i18n.js";

let countdown = 0;

/**
 * Show a message.
 *
 * @param {{kind: string, title: string, text?: string, actions?: [string, () => void][], extra?: Node[]}} message
 */
export function showMessage({ kind, title, text = "", actions = [], extra = [] }) {
  clearInterval(countdown);
  const box = $("message");
  box.dataset.kind = kind;
  box.setAttribute("role", kind === "error" ? "alert" : "status");
  fill(box,
    h("p", { class: "title" }, title),
    text && h("p", {}, text),
    extra,
    actions.length > 0 && h("p", { class: "actions" }, actions.map(([label, click]) => h("button", { type: "button", on: { click } }, label))));
  box.hidden = false;
}

/** Remove the message, if it is of this kind; without a kind, any. */
export function clearMessage(kind = null) {
  const box = $("message");
  if (kind !== null && box.dataset.kind !== kind) return;
  clearInterval(countdown);
  box.hidden = true;
  box.dataset.kind = "";
}

/** Say that a request is tried again after these seconds, and count them down. */
export function showWaiting(reason, seconds) {
  let left = Math.ceil(seconds);
  showMessage({ kind: "wait", title: t(`wait.${reason}`), text: t("wait.again", { n: left }) });
  const text = $("message").querySelector("p:nth-child(2)");
  text.setAttribute("aria-live", "off");
  countdown = setInterval(() => {
    left -= 1;
    text.textContent = left > 0 ? t("wait.again", { n: left }) : t("wait.now");
  }, 1000);
}

/** A quiet line at the foot for some seconds, with one action. */
export function toast(text, label = "", action = null) {
  clearTimeout(toast.timer);
  fill($("toast"), h("span", {}, text), action && h("button", { type: "button", on: { click: () => { hideToast(); action(); } } }, label));
  $("toast").classList.add("shown");
  toast.timer = setTimeout(hideToast, 8000);
}

function hideToast() {
  $("toast").classList.remove("shown");
  fill($("toast"));
}

/** Tell a screen reader. */
export function announce(text) {
  $("live").textContent = text;
}

/** Title and text of an error of a request. */
export function describeError(error, catalog) {
  const { status, code, detail = "" } = error;
  const key = [`error.${code}`, `error.${status}`].find((one) => t(one) !== one);
  if (key === undefined) return { title: error.title || t("error.unknown"), text: detail || error.message };
  const values = { detail, accepts: catalog?.accepts ?? "", megabytes: Math.floor((catalog?.max_upload_bytes ?? 25e6) / 1e6) };
  const help = t(`${key}.help`, values);
  return { title: t(key, values), text: help === `${key}.help` ? detail : help };
}
