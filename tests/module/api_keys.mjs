// API keys that nobody was given, in the form of ours (lumen_core/api_key.h).
import { randomBytes } from 'node:crypto';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

function base62(value, digits) {
  let text = '';
  for (let rest = value; text.length < digits; rest /= 62n) text = BASE62[Number(rest % 62n)] + text;
  return text;
}

/// CRC-32 (IEEE), bit by bit.
function crc32(text) {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/// A key whose checksum verifies.
export function ownKey() {
  const body = `sk_${base62(BigInt(`0x${randomBytes(32).toString('hex')}`), 43)}`;
  return body + base62(BigInt(crc32(body)), 6);
}
