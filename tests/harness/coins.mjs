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

/// What a request costs: Σ count × price, rounded up to a whole nano-coin once. Cached tokens are part of the input,
/// reasoning tokens of the output. Prices are coins as text, per million tokens; `cached` and `reasoning` default to
/// `input` and `output`.
export function costOf({ input = 0, cached = 0, output = 0, reasoning = 0 }, price) {
  const perMillion = [
    [input - cached, price.input ?? '0'],
    [cached, price.cached ?? price.input ?? '0'],
    [output - reasoning, price.output ?? '0'],
    [reasoning, price.reasoning ?? price.output ?? '0'],
  ];
  const sum = perMillion.reduce((total, [count, coins]) => total + BigInt(count) * parseCoins(coins), 0n);
  return (sum + 999_999n) / 1_000_000n + (price.request ? parseCoins(price.request) : 0n);
}
