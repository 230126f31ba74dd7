// Requests to the service: the API key, waiting while it is busy or not reachable, and errors.

const KEY = "api-key";
const LONGEST_WAIT = 60; // seconds; a server that asks for more is not waited for
const MOST_TRIES = 6;
const OFFLINE_SECONDS = 5;

/** An error that the service answered. */
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
    this.title = problem.title ?? "";
    this.detail = problem.detail ?? "";
    this.retryAfter = retryAfter;
  }
}

const listeners = { wait: () => {}, ready: () => {}, askKey: async () => null };
let asking = null;

/**
 * Register what happens while a request cannot go on.
 *
 * @param {(reason: "busy" | "offline", seconds: number) => void} options.wait It is tried again after these seconds.
 * @param {() => void} options.ready An answer came.
 * @param {(wrong: boolean) => Promise<string | null>} options.askKey Asks the user for a key; null: none.
 */
export function onTrouble(options) {
  Object.assign(listeners, options);
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** Forget the key. */
export function forgetKey() {
  sessionStorage.removeItem(KEY);
}

/** GET a JSON document. `parameters`: pairs of name and value. */
export function get(path, parameters = [], { signal, quiet = false } = {}) {
  const query = new URLSearchParams(parameters).toString();
  return request(`${path}${query ? `?${query}` : ""}`, { signal }, quiet);
}

/** POST a form; `pairs` of name and value. The answer is a JSON document, or a file (a Blob) with `file`. */
export function post(path, pairs, { signal, query = [], quiet = false, file = false } = {}) {
  const form = new FormData();
  for (const [name, value] of pairs) form.append(name, value);
  const suffix = query.length ? `?${new URLSearchParams(query)}` : "";
  return request(`${path}${suffix}`, { method: "POST", body: form, signal }, quiet, file);
}

/** DELETE a resource. */
export function drop(path) {
  return request(path, { method: "DELETE" }, false);
}

/**
 * The answer to a request. A missing key is asked for; a busy service or a lost connection is waited for.
 *
 * `quiet`: a request in the background. It waits for nothing and asks for nothing.
 */
async function request(path, options, quiet, file = false) {
  for (let attempt = 1; ; attempt += 1) {
    const key = sessionStorage.getItem(KEY);
    let response;
    try {
      // Relative, so that it works below a path prefix of a proxy.
      response = await fetch(new URL(path, document.baseURI), {
        ...options, headers: key === null ? {} : { "X-API-Key": encodeKey(key) },
      });
    } catch (error) {
      if (error.name === "AbortError" || quiet) throw error;
      await pause("offline", OFFLINE_SECONDS, options.signal);
      continue;
    }
    if (response.ok) {
      listeners.ready();
      if (response.status === 204) return null;
      return file ? response.blob() : response.json();
    }
    const error = new ApiError(response.status, await problemOf(response), Number(response.headers.get("Retry-After")) || null);
    if (error.status === 401 && !quiet) {
      if (await renewKey(key)) continue;
    } else if ((error.status === 503 || error.status === 429) && !quiet) {
      const seconds = error.retryAfter ?? 2;
      if (seconds <= LONGEST_WAIT && attempt < MOST_TRIES) {
        await pause("busy", seconds, options.signal);
        continue;
      }
    }
    listeners.ready();
    throw error;
  }
}

/** A header holds bytes: a key outside ASCII is sent as UTF-8. */
function encodeKey(key) {
  return String.fromCharCode(...new TextEncoder().encode(key));
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return { title: response.statusText }; // not from the service, but from a proxy before it
  }
}

/** Ask for a key, once for all requests that need one. Returns whether there is another one than `refused`. */
async function renewKey(refused) {
  if (sessionStorage.getItem(KEY) !== refused) return true; // renewed since the request was sent
  asking ??= listeners.askKey(refused !== null).finally(() => { asking = null; });
  const key = await asking;
  if (key === null) return false;
  sessionStorage.setItem(KEY, key);
  return true;
}

function pause(reason, seconds, signal) {
  listeners.wait(reason, seconds);
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    if (reason === "offline") addEventListener("online", done);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      reject(new DOMException("a newer request replaced this one", "AbortError"));
    }, { once: true });
  });
}
