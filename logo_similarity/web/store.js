// Cases and pictures in IndexedDB: they survive a reload and never leave the browser by themselves.

const NAME = "logo-similarity";
const MOST_PICTURES = 60;

let opened = null;
const memory = { cases: new Map(), pictures: new Map() }; // where the browser blocks storage

function database() {
  opened ??= new Promise((resolve) => {
    let request;
    try {
      request = indexedDB.open(NAME, 1);
    } catch {
      resolve(null);
      return;
    }
    request.onupgradeneeded = () => {
      request.result.createObjectStore("cases", { keyPath: "id" });
      request.result.createObjectStore("pictures", { keyPath: "digest" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
  return opened;
}

async function run(store, mode, action, fallback) {
  const db = await database();
  if (db === null) return fallback(memory[store]);
  return new Promise((resolve, reject) => {
    const request = action(db.transaction(store, mode).objectStore(store));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Whether cases survive a reload. */
export const isLasting = async () => (await database()) !== null;

/** All cases, the one that was changed last first. */
export async function readCases() {
  const cases = await run("cases", "readonly", (store) => store.getAll(), (map) => [...map.values()]);
  return cases.sort((one, other) => other.changed.localeCompare(one.changed));
}

export const saveCase = (value) =>
  run("cases", "readwrite", (store) => store.put(structuredClone(value)), (map) => map.set(value.id, structuredClone(value)));

export const deleteCase = (id) => run("cases", "readwrite", (store) => store.delete(id), (map) => map.delete(id));

/** A picture by its digest: {digest, blob, name, used}; undefined if it is not on this computer. */
export const readPicture = (digest) =>
  run("pictures", "readonly", (store) => store.get(digest), (map) => map.get(digest));

/** Keep a picture. The ones that were used longest ago are deleted if there are too many. */
export async function savePicture(digest, blob, name) {
  const value = { digest, blob, name, used: new Date().toISOString() };
  await run("pictures", "readwrite", (store) => store.put(value), (map) => map.set(digest, value));
  const all = await run("pictures", "readonly", (store) => store.getAll(), (map) => [...map.values()]);
  const old = all.sort((one, other) => other.used.localeCompare(one.used)).slice(MOST_PICTURES);
  for (const { digest: unused } of old) {
    await run("pictures", "readwrite", (store) => store.delete(unused), (map) => map.delete(unused));
  }
}
