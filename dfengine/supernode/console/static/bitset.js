// Sets of pieces as the API has them: piece i is bit i % 8, from the lowest, of byte i >> 3; bytes that are missing are 0.

export function decode(text, size) {
  const raw = atob(text);
  const bytes = new Uint8Array(Math.max(raw.length, Math.ceil(Math.max(0, size) / 8)));
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// A row's set, decoded when it is needed first: a thousand of them at once would hold up a frame.
export function bits(row, size) {
  row.have ??= decode(row.packed, size);
  return row.have;
}

export const has = (bytes, n) => n >> 3 < bytes.length && (bytes[n >> 3] >> (n & 7)) & 1;

// The set, which may have to grow, with these pieces toggled.
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
