// Figures and names for people.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

// Three digits, by powers of 1000, as the commands print them.
export function bytes(value) {
  if (value === null || value === undefined || value < 0) return "–";
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value.toFixed(unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2)} ${UNITS[unit]}`;
}

export const rate = (value) => (value === null || value === undefined ? "–" : `${bytes(value)}/s`);

export const count = (value) => value.toLocaleString("en-US");

export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export function span(seconds) {
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export const ago = (unix) => (unix ? `${span(Math.max(0, Date.now() / 1000 - unix))} ago`.replace("now ago", "now") : "–");

export const percent = (part, whole) => (whole > 0 ? `${Math.floor((100 * part) / whole)} %` : "–");

// The last part of a URL, which identifies the file best; the whole URL is in the tooltip.
export function name(url) {
  const path = url.split("?")[0].replace(/\/+$/, "");
  return path.slice(path.lastIndexOf("/") + 1) || url;
}

export const short = (task) => task.slice(0, 12);

// Shortens a text that a host reports about itself.
export const brief = (text, most = 48) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
