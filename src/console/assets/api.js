// The console's API. Every request has the header of this page, and no response is cached.

const BASE = "api/";

/** A failed call: `code` is a key of `texts.errors`. */
export class Refused extends Error {
  constructor(code, status) {
    super(code);
    this.code = code;
    this.status = status;
  }
}

let onLoggedOut = () => {};

/** Called when the server reports that the session has ended. */
export function whenLoggedOut(handler) {
  onLoggedOut = handler;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(BASE + path, {
      ...options,
      headers: { "X-Visavis-Console": "1", ...options.headers },
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch {
    throw new Refused("unreachable", 0);
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const refused = new Refused(body.error ?? "internal", response.status);
  if (refused.code === "loggedOut") onLoggedOut();
  throw refused;
}

export function get(path) {
  return request(path, { method: "GET" });
}

export function post(path, body = {}) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}
