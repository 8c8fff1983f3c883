// Sets of pieces in the API's form: piece i is bit i % 8, from the lowest, of byte i >> 3; missing bytes are 0.

export function decode(text, size) {
  const raw = atob(text);
  const bytes = new Uint8Array(Math.max(raw.length, Math.ceil(Math.max(0, size) / 8)));
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// Returns a row's set, decoded at its first use: decoding a thousand sets at once would delay a frame.
export function bits(row, size) {
  row.have ??= decode(row.packed, size);
  return row.have;
}

export const has = (bytes, n) => n >> 3 < bytes.length && (bytes[n >> 3] >> (n & 7)) & 1;

// Returns the set with these pieces toggled; it may be a new, longer array.
export function toggle(bytes, pieces) {
  const last = pieces.reduce((most, n) => Math.max(most, n), 0);
  if (last >> 3 >= bytes.length) {
    const grown = new Uint8Array((last >> 3) + 1);
    grown.set(bytes);
    bytes = grown;
  }
  for (const n of pieces) bytes[n >> 3] ^= 1 << (n & 7);
  return bytes;
}
