// The map of a swarm: a row for the supernode's copy and for each download, a column for one piece or several, filled as they arrive.
//
// Each cell is one pixel of a canvas, which the browser scales. Only changed rows are painted, for BUDGET milliseconds of a frame at most;
// the others follow in the next frames.

import { bits, has } from "./bitset.js";

const BUDGET = 6;
const FRESH = 900; // milliseconds for which a piece that has just arrived is highlighted
const MAX_COLUMNS = 2560;
const MAX_FEEDS = 600;
const LATE = 1500; // milliseconds after which the arcs are painted even if rows wait

const KEYS = ["empty", "have", "done", "slow", "quiet", "new", "copy"];

// "#rrggbb" of a CSS variable -> a pixel of the canvas (little-endian RGBA).
function pixel(text) {
  const value = parseInt(text.trim().slice(1), 16);
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

function blend(under, over, part) {
  let found = 0xff000000;
  for (const shift of [0, 8, 16]) {
    const a = (under >> shift) & 0xff;
    found |= Math.round(a + (((over >> shift) & 0xff) - a) * part) << shift;
  }
  return found >>> 0;
}

export class PieceMap {
  constructor(canvas, feeds) {
    this.canvas = canvas;
    this.feeds = feeds;
    this.rows = []; // {have, kind, fresh: Map(piece -> time), n}
    this.pieces = 0;
    this.dirty = new Set();
    this.frame = 0;
    this.timer = 0;
    this.links = [];
    this.spent = []; // milliseconds of the latest frames
    this.height = 0;
    this.look = { wants: false, at: 0 };
    this.recolour();
  }

  recolour() {
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(KEYS.map((key) => [key, pixel(style.getPropertyValue(`--cell-${key}`))]));
    this.line = { peer: style.getPropertyValue("--feed").trim(), node: style.getPropertyValue("--feed-node").trim() };
    this.shades = {};
    for (const kind of ["have", "done", "slow", "quiet", "copy"]) {
      this.shades[kind] = Array.from({ length: 17 }, (_, at) => blend(this.colours.empty, this.colours[kind], at / 16));
    }
    this.all();
  }

  // rows: in order. pieces: number of pieces of the task.
  set(rows, pieces) {
    const room = Math.floor(this.canvas.clientWidth * Math.min(2, devicePixelRatio || 1));
    const columns = Math.max(1, Math.min(pieces, MAX_COLUMNS, Math.max(room, 64)));
    const resized = this.canvas.width !== columns || this.canvas.height !== Math.max(1, rows.length);
    this.pieces = pieces;
    this.rows = rows;
    if (resized || !this.cells) {
      this.canvas.width = columns;
      this.canvas.height = Math.max(1, rows.length);
      this.image = new ImageData(columns, 1);
      this.cells = new Uint32Array(this.image.data.buffer);
      this.context = this.canvas.getContext("2d", { alpha: false });
    }
    const height = rows.length <= 26 ? 20 : rows.length <= 80 ? 10 : rows.length <= 300 ? 5 : 3;
    this.height = height;
    this.canvas.style.height = `${rows.length * height}px`;
    this.all();
  }

  all() {
    this.rows.forEach((_, at) => this.dirty.add(at));
    this.wake();
  }

  touch(at) {
    this.dirty.add(at);
    this.wake();
  }

  draw_feeds(links) {
    this.links = links;
    this.look.wants = true;
    this.wake();
  }

  wake() {
    if (!this.frame && !this.closed) this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.frame = 0;
    const begun = performance.now();
    if (this.look.wants && (!this.dirty.size || begun - this.look.at > LATE)) {
      this.look = { wants: false, at: begun };
      this.paint_feeds();
    }
    for (const at of this.dirty) {
      if (performance.now() - begun > BUDGET) break;
      this.dirty.delete(at);
      if (at < this.rows.length) this.paint_row(at, begun);
    }
    this.spent.push(performance.now() - begun);
    if (this.spent.length > 600) this.spent.shift();
    if (this.dirty.size || this.look.wants) this.wake();
  }

  paint_row(at, now) {
    const row = this.rows[at];
    const { cells, pieces } = this;
    const columns = cells.length;
    const shades = this.shades[row.kind];
    const have = bits(row, pieces);
    if (columns === pieces) {
      const [none, all] = [this.colours.empty, shades[16]];
      for (let n = 0; n < columns; n++) cells[n] = has(have, n) ? all : none;
    } else {
      for (let column = 0; column < columns; column++) {
        const first = Math.floor((column * pieces) / columns);
        const past = Math.max(first + 1, Math.floor(((column + 1) * pieces) / columns));
        let got = 0;
        for (let n = first; n < past; n++) got += has(have, n);
        cells[column] = shades[Math.floor((16 * got) / (past - first))];
      }
    }
    for (const [piece, since] of row.fresh ?? []) {
      if (now - since > FRESH) row.fresh.delete(piece);
      else cells[Math.floor((piece * columns) / pieces)] = this.colours.new;
    }
    this.context.putImageData(this.image, 0, at);
    if (row.fresh?.size && !this.timer) {
      this.timer = setTimeout(() => {
        this.timer = 0;
        this.rows.forEach((each, index) => each.fresh?.size && this.dirty.add(index));
        this.wake();
      }, FRESH);
    }
  }

  // Paints arcs from the row of a source to the row of its receiver.
  paint_feeds() {
    const { feeds, links, height } = this;
    const scale = Math.min(2, devicePixelRatio || 1);
    const [width, tall] = [feeds.clientWidth, Math.min(this.rows.length * height, 16000)];
    if (feeds.width !== Math.round(width * scale) || feeds.height !== Math.round(tall * scale)) {
      feeds.width = Math.round(width * scale);
      feeds.height = Math.round(tall * scale);
      feeds.style.height = `${tall}px`;
    }
    const context = feeds.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, tall);
    context.lineWidth = 1;
    for (const [colour, chosen] of [[this.line.peer, (from) => from > 0], [this.line.node, (from) => from === 0]]) {
      context.beginPath();
      context.strokeStyle = colour;
      context.globalAlpha = links.length > 150 ? 0.35 : 0.75;
      for (const [from, to] of links.slice(0, MAX_FEEDS)) {
        if (!chosen(from)) continue;
        const [a, b] = [(from + 0.5) * height, (to + 0.5) * height];
        const reach = Math.min(width - 4, 10 + Math.abs(b - a) * 0.35);
        context.moveTo(2, a);
        context.bezierCurveTo(reach, a, reach, b, 2, b);
      }
      context.stroke();
    }
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
  }
}
