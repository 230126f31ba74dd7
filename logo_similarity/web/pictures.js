// Pictures of the user, by their digests.

import { readPicture, savePicture } from "./store.js";

const loaded = new Map(); // digest -> {blob, name, url}

/** Take a picture in. Returns its digest, by which the address names it. */
export async function addPicture(blob, name) {
  const digest = await digestOf(blob);
  if (!loaded.has(digest)) loaded.set(digest, { blob, name, url: URL.createObjectURL(blob) });
  await savePicture(digest, blob, name);
  return digest;
}

/** The picture with this digest, {blob, name, url}; null if it is not on this computer. */
export async function findPicture(digest) {
  if (!loaded.has(digest)) {
    const kept = await readPicture(digest);
    if (kept === undefined) return null;
    loaded.set(digest, { blob: kept.blob, name: kept.name, url: URL.createObjectURL(kept.blob) });
  }
  return loaded.get(digest);
}

/** The same for a picture that is already in memory. */
export const pictureNow = (digest) => loaded.get(digest) ?? null;

async function digestOf(blob) {
  const bytes = await blob.arrayBuffer();
  if (crypto.subtle) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return [...hash.slice(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return weakDigest(new Uint8Array(bytes)); // browsers offer SHA-256 over HTTPS only
}

/** 64 bits of FNV-1a in two halves: enough to tell the pictures of one user apart. */
function weakDigest(bytes) {
  let one = 0x811c9dc5;
  let other = 0x01000193 ^ bytes.length;
  for (const byte of bytes) {
    one = Math.imul(one ^ byte, 0x01000193);
    other = Math.imul(other ^ byte, 0x85ebca6b);
  }
  return [one, other].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}
