// Shows whether the page receives messages from the supernode, and how old its figures are.

const OLD = 12000; // milliseconds after which figures are marked as old: a busy supernode sends them less often than each second
const SOON = 1500; // milliseconds for which a lost stream is not reported: it is reopened at once

const WORDS = {
  connecting: ["connecting", "warn"], live: ["live", "good"], polling: ["every 5 s", "warn"], lost: ["connecting", "warn"],
  locked: ["locked", "bad"], paused: ["paused", ""],
};

const clock = (unix) => new Date(unix).toLocaleTimeString("en-GB");

export class Connection {
  // badge: element for the state. trouble: element for a line about a problem.
  constructor(badge, trouble) {
    this.badge = badge;
    this.trouble = trouble;
    this.last = 0; // time of the last figures
    this.say("connecting", "");
    setInterval(() => this.show(), 1000);
  }

  heard() {
    this.last = Date.now();
    this.show();
  }

  say(state, detail) {
    if (state !== this.state) this.since = Date.now();
    Object.assign(this, { state, detail });
    this.show();
  }

  show() {
    const now = Date.now();
    const late = now - this.since > SOON;
    const old = this.last > 0 && (now - this.last > OLD || (this.state === "lost" && late));
    const silent = this.state === "live" && now - Math.max(this.last, this.since) > OLD;
    const [word, tone] = silent ? ["silent", "warn"] : this.state === "lost" && late ? ["no answer", "bad"] : WORDS[this.state];
    this.badge.textContent = word;
    this.badge.className = `badge ${tone}`;
    this.badge.title = this.detail;
    document.body.classList.toggle("old", old);
    const text = this.why(now, late, silent);
    const whole = text && old ? `${text} The figures are of ${clock(this.last)}.` : text;
    if (this.trouble.textContent !== whole) this.trouble.textContent = whole;
    this.trouble.hidden = !whole;
  }

  why(now, late, silent) {
    if (silent) return "The supernode sends nothing.";
    if (this.state === "lost") return late ? `The supernode does not answer (${this.detail}).` : "";
    if (this.state === "polling") return `No live stream for this page: ${this.detail}. The page polls every 5 s instead.`;
    if (this.state === "connecting" && now - this.since > 5000) {
      return "The supernode does not answer yet. A browser opens few connections to one server: other windows of this page may use them all.";
    }
    return "";
  }
}
