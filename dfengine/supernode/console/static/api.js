// Requests to the supernode's API, with the token.

const KEY = "dfengine-console-token";
export const API = "/api/v2";

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

export class Refused extends Error {
  // after: milliseconds to wait before the next request (Retry-After); 0: not stated.
  constructor(status, detail, after = 0) {
    super(detail);
    this.status = status;
    this.after = after;
  }
}

async function refusal(answer) {
  const text = await answer.text();
  const after = 1000 * (Number(answer.headers.get("Retry-After")) || 0);
  try {
    return new Refused(answer.status, JSON.parse(text).detail, after);
  } catch {
    return new Refused(answer.status, text.trim() || answer.statusText, after);
  }
}

// Returns the response before its body is read. shown: the token. Throws Refused, and TypeError if the supernode is unreachable.
export async function request(path, { method = "GET", body, shown = token.get(), signal } = {}) {
  const answer = await fetch(API + path, {
    method,
    headers: { ...(shown ? { Authorization: `Bearer ${shown}` } : {}), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    cache: "no-store",
    credentials: "omit",
  });
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

export const ask = async (path, options) => (await request(path, options)).json();

export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined && value !== false);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
