// How numbers and times read (spec/ui.md P24, P30). Money stays text and bigint: no float ever holds an amount.
import type { Coins } from './api';

const nanoPerCoin = 1_000_000_000n;

function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** ≥ 0.01: two decimals, grouped; smaller: four; below that "<0.0001"; never "0.00" for what is not zero. Cut, not rounded up. */
export function coins(amount: Coins): string {
  const nano = BigInt(amount.nano);
  const size = nano < 0n ? -nano : nano;
  const sign = nano < 0n ? '−' : '';
  const whole = grouped((size / nanoPerCoin).toString());
  const decimals = (size % nanoPerCoin).toString().padStart(9, '0');
  if (size === 0n) return '0.00';
  if (size >= nanoPerCoin / 100n) return `${sign}${whole}.${decimals.slice(0, 2)}`;
  if (size >= nanoPerCoin / 10_000n) return `${sign}0.${decimals.slice(0, 4)}`;
  return `${sign}<0.0001`;
}

export function count(n: number): string {
  return grouped(String(n));
}

/** Today: the time; this year: day and month; else the date. In the viewer's zone. */
export function time(iso: string, now: Date): string {
  const at = new Date(iso);
  const sameDay = at.toDateString() === now.toDateString();
  if (sameDay) return at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const sameYear = at.getFullYear() === now.getFullYear();
  return at.toLocaleDateString([], sameYear ? { day: 'numeric', month: 'short' } : { dateStyle: 'medium' });
}

/** "42 min 17 s", "17 s"; never negative. */
export function countdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
