// The supernode's API: requests with the token, and one live stream, which is opened again when it ends.

import { Parser } from "./sse.js";

const KEY = "dfengine-console-token";
const API = "/api/v2";

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

function headers() {
  return token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
}

async function refusal(answer) {
  const text = await answer.text();
  try {
    return new Refused(answer.status, JSON.parse(text).detail);
  } catch {
    return new Refused(answer.status, text.trim() || answer.statusText);
  }
}

export async function ask(path, { method = "GET", body } = {}) {
  const answer = await fetch(API + path, {
    method,
    headers: body === undefined ? headers() : { ...headers(), "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
  });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined && value !== false);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

const PAUSES = [500, 1000, 2000, 5000];

// Milliseconds that each of the latest chunks of a stream took, what it changed in the page included.
export const spent = [];

// One stream. watch: path and query below /api/v2, "" for none. hear(event, data); state("live" | "lost" | "locked", detail).
export class Live {
  constructor(watch, hear, state) {
    this.watch = watch;
    this.hear = hear;
    this.state = state;
    this.last = "";
    this.stopper = new AbortController();
    this.run();
  }

  close() {
    this.stopper.abort();
  }

  async run() {
    for (let tries = 0; !this.stopper.signal.aborted; tries++) {
      try {
        await this.read(() => (tries = 0));
        this.state("lost", "the stream ended");
      } catch (error) {
        if (this.stopper.signal.aborted) return;
        if (error instanceof Refused && error.status === 401) return this.state("locked", error.message);
        this.state("lost", error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(tries, PAUSES.length - 1)]));
    }
  }

  async read(begun) {
    const answer = await fetch(`${API}/live${query({ watch: this.watch && API + this.watch, after: this.last || undefined })}`, {
      headers: headers(),
      signal: this.stopper.signal,
      cache: "no-store",
      credentials: "omit",
    });
    if (!answer.ok) throw await refusal(answer);
    begun();
    this.state("live", "");
    const parser = new Parser((event, data, id) => {
      if (id) this.last = id;
      if (!this.stopper.signal.aborted) this.hear(event, data);
    });
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const begun = performance.now();
      parser.feed(value);
      spent.push(performance.now() - begun);
      if (spent.length > 2000) spent.shift();
    }
  }
}
