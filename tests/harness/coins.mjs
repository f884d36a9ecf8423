// Exact coins in scripts and tests: nano-coins as BigInt, and the price formula of spec/config.md written a second time,
// from the document and not from lumen_core, so that a mistake there does not confirm itself here.
const NANO = 1_000_000_000n;

/// "0.15", "-2" → nano-coins. From text, never through a float.
export function parseCoins(text) {
  const match = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(String(text));
  if (!match) throw new Error(`not an amount of coins: ${text}`);
  const [, sign, whole, decimals = ''] = match;
  const nano = BigInt(whole) * NANO + BigInt(decimals.padEnd(9, '0'));
  return sign ? -nano : nano;
}

/// Always nine decimals.
export function formatCoins(nano) {
  const size = nano < 0n ? -nano : nano;
  return `${nano < 0n ? '-' : ''}${size / NANO}.${String(size % NANO).padStart(9, '0')}`;
}

/// What a request costs: Σ count × price over one denominator, rounded up to a whole nano-coin once. Cached and
/// cache_write tokens are part of the input, reasoning tokens of the output. Prices are coins as text: per million tokens
/// or characters, per hour of audio, per image, per request; `cached`, `cacheWrite` and `reasoning` default to `input` and
/// `output`.
export function costOf({ input = 0, cached = 0, cacheWrite = 0, output = 0, reasoning = 0, characters = 0, audioMs = 0, images = 0 }, price) {
  const PER_MILLION = 36n;
  const PER_AUDIO_MS = 10n;
  const PER_PIECE = 36_000_000n;
  const terms = [
    [input - cached - cacheWrite, price.input, PER_MILLION],
    [cached, price.cached ?? price.input, PER_MILLION],
    [cacheWrite, price.cacheWrite ?? price.input, PER_MILLION],
    [output - reasoning, price.output, PER_MILLION],
    [reasoning, price.reasoning ?? price.output, PER_MILLION],
    [characters, price.characters, PER_MILLION],
    [audioMs, price.audioHour, PER_AUDIO_MS],
    [images, price.image, PER_PIECE],
    [1, price.request, PER_PIECE],
  ];
  const sum = terms.reduce((total, [count, coins, scale]) => total + BigInt(count) * parseCoins(coins ?? '0') * scale, 0n);
  return (sum + PER_PIECE - 1n) / PER_PIECE;
}
