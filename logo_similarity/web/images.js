// Pictures of logos. A signed link expires after some minutes; a new one is fetched when a picture fails to load.

import { get } from "./api.js";
import { h } from "./dom.js";

const MOST_AT_ONCE = 4;
const renewed = new Map(); // id -> the latest link
const waiting = [];
let running = 0;

/** The latest link of a logo. */
const linkOf = (logo) => renewed.get(logo.id) ?? logo.image_url;

/** An <img> of a logo; `properties` as of `h`. The picture is decoration: its tile or panel names the logo. */
export function logoImage(logo, properties = {}) {
  const image = h("img", { alt: "", decoding: "async", draggable: "false", ...properties });
  if (!logo.image_url && !renewed.has(logo.id)) {
    image.hidden = true;
    return image;
  }
  let tries = 0;
  image.addEventListener("error", async () => {
    tries += 1;
    const link = tries > 2 ? null : await renew(logo, image.src);
    if (link === null) image.classList.add("missing");
    else image.src = link;
  });
  image.src = linkOf(logo);
  return image;
}

/** A link that is newer than `failed`; null: there is none. */
async function renew(logo, failed) {
  const known = renewed.get(logo.id);
  if (known && known !== failed) return known;
  if (running >= MOST_AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
  running += 1;
  try {
    const { image_url: link } = await get(`v1/logos/${pathOf(logo.id)}`, [], { quiet: true });
    if (link) renewed.set(logo.id, link);
    return link;
  } catch {
    return null; // the service is not reachable, or the logo is no longer in the register
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

/** Remember the links of an answer: they are newer than all earlier ones. */
export function rememberLinks(logos) {
  for (const logo of logos) if (logo.image_url) renewed.set(logo.id, logo.image_url);
}

/** An id as the rest of a path: its slashes stay. */
export const pathOf = (id) => id.split("/").map(encodeURIComponent).join("/");
