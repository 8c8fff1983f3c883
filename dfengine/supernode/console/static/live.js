// Live figures: one stream, which is reopened when it ends; plain requests while the supernode has no place for a stream.

import { API, Refused, ask, query, request } from "./api.js";
import { Parser } from "./sse.js";

const PAUSES = [500, 1000, 2000, 5000];
const PACE = 5000; // milliseconds between plain requests
const LOOKS = 6; // plain requests before a stream is tried again
const PATIENCE = 30000; // milliseconds for a response, and between two messages of a stream, which are sent each second if the budget permits

// Milliseconds that each of the latest chunks of a stream took, including its changes of the page.
export const spent = [];

// watch: path and query below /api/v2, "" for none. hear(event, data). last: id of the newest received event.
// state(word, detail): "live"; "polling": there is no place for a stream; "lost"; "locked": the token is required, and this ends.
export class Live {
  constructor(watch, hear, state, last = "") {
    this.watch = watch;
    this.hear = (event, data) => this.stopper.signal.aborted || hear(event, data);
    this.state = (word, detail) => this.stopper.signal.aborted || state(word, detail);
    this.last = last;
    this.stopper = new AbortController();
    this.run();
  }

  close() {
    this.stopper.abort();
  }

  get closed() {
    return this.stopper.signal.aborted;
  }

  async run() {
    for (let tries = 0; !this.closed; tries++) {
      try {
        await this.read(() => (tries = 0));
        this.state("lost", "the stream ended");
      } catch (error) {
        if (this.closed) return;
        if (error.status === 401) return this.state("locked", error.message);
        if (error.status === 503) {
          if (!(await this.poll(error.message))) return;
          tries = -1;
          continue;
        }
        this.state("lost", error.message);
      }
      await this.pause(PAUSES[Math.min(tries, PAUSES.length - 1)]);
    }
  }

  pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.stopper.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }

  // Returns a signal that fires when this is closed, or when `more` was not called for PATIENCE.
  watchdog() {
    const silence = new AbortController();
    let timer = 0;
    const more = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(new Error(`no data for ${PATIENCE / 1000} s`)), PATIENCE);
    };
    more();
    return { signal: AbortSignal.any([this.stopper.signal, silence.signal]), more, end: () => clearTimeout(timer) };
  }

  async read(begun) {
    const { signal, more, end } = this.watchdog();
    try {
      const answer = await request(`/live${query({ watch: this.watch && API + this.watch, after: this.last || undefined })}`, { signal });
      begun();
      this.state("live", "");
      const parser = new Parser((event, data, id) => {
        if (id) this.last = id;
        this.hear(event, data);
      });
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        more();
        const since = performance.now();
        parser.feed(value);
        spent.push(performance.now() - since);
        if (spent.length > 2000) spent.shift();
      }
    } finally {
      end();
    }
  }

  // Sends LOOKS plain requests instead. Returns false if the token is required.
  async poll(why) {
    for (let look = 0; look < LOOKS && !this.closed; look++) {
      this.state("polling", why);
      let pause = PACE;
      try {
        await this.look();
      } catch (error) {
        if (this.closed) return false;
        if (error.status === 401) {
          this.state("locked", error.message);
          return false;
        }
        this.state(error instanceof Refused ? "polling" : "lost", error.message);
        pause = Math.max(PACE, error.after ?? 0);
      }
      await this.pause(pause);
    }
    return !this.closed;
  }

  async look() {
    const { signal, end } = this.watchdog();
    try {
      this.hear("overview", await ask("/overview", { signal }));
      const { items, last } = await ask(`/events${query({ after: this.last || undefined, limit: this.last ? 400 : 1 })}`, { signal });
      if (this.last) for (const item of items) this.hear("event", item);
      this.last = last;
      if (this.watch) this.hear(this.watch.endsWith("/swarm") ? "swarm" : "resource", await ask(this.watch, { signal }));
    } catch (error) {
      if (error.status !== 404) throw error;
      this.hear("gone", { status: 404, detail: error.message });
    } finally {
      end();
    }
  }
}
