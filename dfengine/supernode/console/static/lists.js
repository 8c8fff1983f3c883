// The pages with lists: tasks, hosts, origins, preheats, copies, cluster. Each watches its resource, and receives it after each change.

import { el, say } from "./dom.js";
import { ago, brief, bytes, count, counted, name, percent, rate, short, span } from "./format.js";
import { query } from "./api.js";
import { Table, bar, link, mark } from "./table.js";

const STATES = { SUCCESS: ["copied", "good"], RUNNING: ["fetching", "accent"], WAITING: ["waiting", "warn"], FAILED: ["failed", "bad"] };
const JOBS = { SUCCESS: ["done", "good"], RUNNING: ["running", "accent"], WAITING: ["waiting", "warn"], FAILED: ["failed", "bad"] };
const TRUST = { trusted: ["trusted", "good"], unproved: ["unproved", "warn"], isolated: ["isolated", "bad"], silent: ["serves no pieces", ""] };
const LIMIT = 100;

// kind: {title, path, columns, key, empty, parameters, filters, search, open, extra(page)}
export class ListPage {
  constructor(context, kind) {
    this.context = context;
    this.kind = kind;
    this.parameters = { ...kind.parameters, limit: LIMIT, offset: 0 };
    const columns = kind.columns(this);
    this.table = new Table({ columns, key: kind.key, empty: kind.empty, open: kind.open, sort: kind.sortable === false ? null : (by) => this.sort(by) });
    this.table.sorted(this.parameters.sort, this.parameters.order);
    this.head = el("div", { class: "head" }, el("h1", { text: kind.title }), ...this.filters());
    this.place = el("span", { "aria-live": "polite" });
    this.before = el("button", { type: "button", class: "small", text: "Previous", onclick: () => this.turn(-LIMIT) });
    this.next = el("button", { type: "button", class: "small", text: "Next", onclick: () => this.turn(LIMIT) });
    this.more = el("div");
    this.node = el("div", {}, this.head, this.more, this.table.node, el("div", { class: "pager" }, this.place, this.before, this.next));
    this.show({ items: [], total: 0 });
    this.table.none.textContent = "…";
  }

  get watch() {
    return this.kind.path + (this.kind.plain ? "" : query(this.parameters));
  }

  filters() {
    const found = [];
    if (this.kind.search) {
      let timer = 0;
      found.push(el("input", {
        type: "search", placeholder: this.kind.search, "aria-label": this.kind.searches ?? this.kind.search, title: this.kind.searches, maxlength: "200",
        oninput: (event) => {
          clearTimeout(timer);
          timer = setTimeout(() => this.change({ q: event.target.value, offset: 0 }), 250);
        },
      }));
    }
    for (const [parameter, label, words] of this.kind.filters ?? []) {
      found.push(el("select", { "aria-label": label, onchange: (event) => this.change({ [parameter]: event.target.value, offset: 0 }) },
        ...words.map(([value, text]) => el("option", { value, text }))));
    }
    return [...found, el("span", { class: "grow" }), ...(this.kind.buttons?.(this) ?? [])];
  }

  sort(by) {
    const { sort, order } = this.parameters;
    this.change({ sort: by, order: by === sort ? (order === "asc" ? "desc" : "asc") : this.kind.ascending?.includes(by) ? "asc" : "desc", offset: 0 });
  }

  turn(by) {
    this.change({ offset: Math.max(0, this.parameters.offset + by) });
  }

  change(parameters) {
    Object.assign(this.parameters, parameters);
    this.table.sorted(this.parameters.sort, this.parameters.order);
    this.context.watch();
  }

  hear(event, data) {
    if (event === "resource") this.show(data);
    else if (event === "gone") this.context.notice(data.detail);
  }

  show(data) {
    this.told = data;
    this.table.none.textContent = this.kind.empty;
    this.table.update(data.items);
    this.kind.extra?.(this, data);
    const first = this.parameters.offset;
    say(this.place, data.total ? `${count(first + 1)}–${count(first + data.items.length)} of ${count(data.total)}` : "");
    this.before.hidden = this.next.hidden = this.kind.plain || (data.total <= LIMIT && first === 0);
    this.before.disabled = first === 0;
    this.next.disabled = first + data.items.length >= data.total;
  }

  again() {
    this.table.update(this.told.items);
  }

  close() {}
}

function actions(page, made) {
  return {
    title: "", kind: "buttons",
    draw(cell, item) {
      if (!cell.firstChild) cell.append(el("div", { class: "actions" }));
      const holder = cell.firstChild;
      const wanted = page.context.may_change() ? made(item) : [];
      if (holder.children.length === wanted.length && wanted.every(([text], at) => holder.children[at].textContent === text)) return;
      holder.replaceChildren(...wanted.map(([text, act, tone]) => el("button", { type: "button", class: `small ${tone ?? ""}`, text, onclick: act })));
    },
  };
}

export const tasks = {
  title: "Tasks", path: "/tasks", key: (row) => row.task, empty: "No task is in memory. The first download of a file creates one.",
  parameters: { q: "", active: "", sort: "unfinished", order: "desc" }, search: "Search URL or task", ascending: ["idle", "url"],
  filters: [["active", "Which tasks", [["", "All"], ["true", "Active"]]], ["state", "State of the copy", [["", "Any state"], ...Object.entries(STATES).map(([key, [text]]) => [key, text])]]],
  open: (row) => (location.hash = `#/tasks/${row.task}`),
  columns: () => [
    { title: "File", name: "url", draw: (cell, row) => link(cell, name(row.url), `#/tasks/${row.task}`, `${short(row.task)}${row.kind === "file" ? "" : ` · ${row.kind}`}${row.pinned ? " · pinned" : ""}`, row.url) },
    { title: "Copy", draw: (cell, row) => mark(cell, row.waits ? "waits for origin" : row.leader && row.state === "RUNNING" ? "follows" : STATES[row.state][0], row.waits ? "warn" : STATES[row.state][1], row.waits || row.error || (row.leader ? `from supernode ${row.leader}` : "")) },
    { title: "Copied", draw: (cell, row) => bar(cell, row.pieces > 0 ? row.cached / row.pieces : 0, percent(row.cached, row.pieces)) },
    { title: "Downloads", name: "unfinished", draw: (cell, row) => bar(cell, row.downloads ? 1 - row.unfinished / row.downloads : 0, `${count(row.downloads - row.unfinished)} / ${count(row.downloads)}`) },
    { title: "Size", name: "length", num: true, text: (row) => bytes(row.length) },
    { title: "Rate", name: "rate", num: true, text: (row) => rate(row.rate) },
    { title: "Origin", name: "origin_bytes", num: true, text: (row) => bytes(row.origin_bytes) },
    { title: "Delivered", name: "delivered_bytes", num: true, text: (row) => bytes(row.delivered_bytes) },
    { title: "Saved", name: "saved_bytes", num: true, text: (row) => bytes(row.saved_bytes), small: (row) => percent(row.saved_bytes, row.delivered_bytes) },
    { title: "Last used", name: "idle", num: true, text: (row) => `${span(row.idle)} ago`.replace("now ago", "now") },
  ],
};

export const hosts = {
  title: "Hosts", path: "/hosts", key: (row) => `${row.address} ${row.ip} ${row.host}`, empty: "No download is registered.",
  parameters: { q: "", trust: "", sort: "host", order: "asc" }, search: "Search", searches: "Search host, address, version, location",
  ascending: ["host", "address", "version", "location", "seen"],
  filters: [["trust", "Trust as a source", [["", "Any trust"], ...Object.entries(TRUST).map(([key, [text]]) => [key, text])]]],
  columns: () => [
    { title: "Host", name: "host", text: (row) => brief(row.host) || "?", hint: (row) => row.host, small: (row) => (row.ip === row.address ? row.ip : `${row.ip} from ${row.address}`) },
    { title: "As a source", draw: (cell, row) => mark(cell, ...TRUST[row.trust]) },
    { title: "Version", name: "version", text: (row) => brief(row.version) || "–", hint: (row) => row.version, small: (row) => brief(row.system) },
    { title: "Location", name: "location", text: (row) => brief(row.location) || "–", hint: (row) => row.location },
    { title: "Downloads", name: "unfinished", num: true, text: (row) => `${count(row.downloads - row.unfinished)} / ${count(row.downloads)}` },
    { title: "Down", name: "down_rate", num: true, text: (row) => rate(row.down_rate), small: (row) => counted(row.receiving, "piece") },
    { title: "Up", name: "up_rate", num: true, text: (row) => rate(row.up_rate), small: (row) => counted(row.sending, "piece") },
    { title: "Blocked by", name: "blocked_by", num: true, text: (row) => count(row.blocked_by) },
    { title: "Last seen", name: "seen", num: true, text: (row) => `${span(row.seen)} ago`.replace("now ago", "now") },
  ],
};

export const origins = {
  title: "Origins", path: "/origins", key: (row) => row.origin, empty: "No request was sent to an origin yet.",
  parameters: { q: "", sort: "origin", order: "asc" }, search: "Search origin", ascending: ["origin"],
  columns: () => [
    { title: "Origin", name: "origin", text: (row) => row.origin, small: (row) => (row.waits ? row.waits : "") },
    { title: "State", draw: (cell, row) => mark(cell, ...(row.waits ? [`retried in ${span(Math.max(0, row.asks_at - Date.now() / 1000))}`, "warn"] : row.reading ? ["being read", "accent"] : ["idle", ""])) },
    { title: "Tasks", name: "tasks", num: true, text: (row) => count(row.tasks) },
    { title: "Requests", name: "requests", num: true, text: (row) => count(row.requests), small: (row) => (row.retries ? `${count(row.retries)} retried` : "") },
    { title: "Bytes", name: "bytes", num: true, text: (row) => bytes(row.bytes) },
    { title: "Rate", name: "rate", num: true, text: (row) => rate(row.rate) },
    { title: "Direct downloads", num: true, text: (row) => count(row.direct) },
    { title: "Errors", name: "errors", num: true, text: (row) => count(row.errors) },
    { title: "Last error", name: "last_error_at", text: (row) => row.last_error || "–", small: (row) => (row.last_error_at ? ago(row.last_error_at) : "") },
  ],
};

export const preheats = {
  title: "Preheats", path: "/preheats", key: (row) => row.id, empty: "There are no preheats.", sortable: false,
  parameters: { state: "" }, filters: [["state", "State", [["", "Any state"], ...Object.entries(JOBS).map(([key, [text]]) => [key, text])]]],
  buttons: (page) => [(page.start = el("button", { type: "button", class: "main", text: "New preheat …", onclick: () => page.context.start_preheat(), hidden: true }))],
  extra: (page) => (page.start.hidden = !page.context.may_change()),
  columns: (page) => [
    { title: "File or image", draw: (cell, row) => link(cell, name(row.url), `#/preheats/${row.id}`, row.url, row.url) },
    { title: "State", draw: (cell, row) => mark(cell, ...JOBS[row.state], row.error) },
    { title: "Supernode", text: (row) => row.supernode || "this supernode" },
    { title: "Parts", num: true, text: (row) => `${count(row.finished)} / ${count(row.parts)}` },
    { title: "Fetched", draw: (cell, row) => bar(cell, row.length ? row.here / row.length : 0, `${bytes(row.here)} of ${bytes(row.length)}`) },
    { title: "Started", num: true, text: (row) => ago(row.started), small: (row) => (row.ended ? `took ${span(row.ended - row.started)}`.replace("now", "0 s") : "") },
    { title: "Reason", kind: "long", text: (row) => row.error || "–" },
    actions(page, (row) => [[row.ended ? "Remove" : "Cancel", () => page.context.change(`/preheats/${row.id}`, { method: "DELETE" }), row.ended ? "" : "danger"]]),
  ],
};

// One preheat: its files or blobs, at each host that fetches them.
export const parts = (id) => ({
  title: "Preheat", path: `/preheats/${id}`, plain: true, key: (row) => `${row.host} ${row.url}`, empty: "This preheat has no parts yet.",
  sortable: false, parameters: {},
  extra: (page, data) => {
    if (!data.url) return;
    data.total = data.parts;
    page.told_of ??= page.more.appendChild(el("p", { class: "quiet" }));
    say(page.told_of, `${data.url} · ${JOBS[data.state][0]} · ${data.finished} of ${counted(data.parts, "part")}${data.error ? ` · ${data.error}` : ""}`);
  },
  columns: () => [
    { title: "Part", draw: (cell, row) => (row.task ? link(cell, name(row.url), `#/tasks/${row.task}`, row.digest || row.url, row.url) : say(cell, row.digest || row.url)) },
    { title: "State", draw: (cell, row) => mark(cell, ...JOBS[row.state]) },
    { title: "Fetched by", text: (row) => brief(row.host) || "this supernode", hint: (row) => row.host },
    { title: "Fetched", draw: (cell, row) => bar(cell, row.length > 0 ? row.here / row.length : 0, `${bytes(row.here)} of ${bytes(row.length)}`) },
    { title: "Reason", kind: "long", text: (row) => row.error || "–" },
  ],
});

export const cache = {
  title: "Cache", path: "/cache", key: (row) => row.task, empty: "There are no copies on the disk.", sortable: false, parameters: {},
  extra: (page, data) => {
    if (!data.room) return;
    page.room ??= page.more.appendChild(el("p", { class: "quiet" }));
    say(page.room, `${bytes(data.room.free)} are free. Below ${bytes(data.room.low)}, unused copies are removed until ${bytes(data.room.high)} are free` +
      `${data.room.evictions ? `; last removal ${ago(data.room.evicted_at)}` : ""}${data.room.full ? "; no further copy can be removed now" : ""}.`);
  },
  columns: (page) => [
    { title: "File", draw: (cell, row) => link(cell, name(row.url), `#/tasks/${row.task}`, short(row.task), row.url) },
    { title: "State", draw: (cell, row) => mark(cell, row.pinned ? "pinned" : row.state === "IDLE" ? "unused" : STATES[row.state][0], row.pinned ? "accent" : row.state === "IDLE" ? "" : STATES[row.state][1]) },
    { title: "Complete", draw: (cell, row) => bar(cell, row.pieces > 0 ? row.here / row.pieces : 0, percent(row.here, row.pieces)) },
    { title: "Size", num: true, text: (row) => bytes(row.length) },
    { title: "On disk", num: true, text: (row) => bytes(row.taken) },
    { title: "Last used", num: true, text: (row) => ago(row.used) },
    { title: "Kept", num: true, text: (row) => (row.pinned ? "until unpinned" : row.until ? `for ${span(row.until - Date.now() / 1000)}` : "–") },
    actions(page, (row) => [
      [row.pinned ? "Unpin" : "Pin", () => page.context.change(`/cache/${row.task}`, { method: "PATCH", body: { pinned: !row.pinned } })],
      ["Evict", () => page.context.confirm(`Remove the copy of ${name(row.url)}? Downloads of it register again.`, () => page.context.change(`/cache/${row.task}`, { method: "DELETE" })), "danger"],
    ]),
  ],
};

export const cluster = {
  title: "Cluster", path: "/cluster", plain: true, key: (row) => row.address, empty: "This supernode is in no cluster (--cluster).",
  sortable: false, parameters: {},
  extra: (page, data) => {
    if (data.configured === undefined) return;
    page.redis ??= page.more.appendChild(el("p", { class: "quiet" }));
    say(page.redis, !data.configured ? "" : `Redis ${data.reached ? "answers" : "does not answer: the last known members and leaders are used"}; ` +
      `${counted(data.failures, "request")} failed since the start, notices and records refused: ${count(data.refused)}, notices to be sent: ${count(data.waiting)}.`);
  },
  columns: () => [
    { title: "Supernode", text: (row) => row.address, small: (row) => (row.own ? "this one" : "") },
    { title: "Leads", num: true, text: (row) => counted(row.leads, "task") },
  ],
};
