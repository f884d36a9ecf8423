// How numbers and times read (spec/ui.md P24, P30). Money stays text and bigint: no float ever holds an amount.
import type { Coins } from './api';

const nanoPerCoin = 1_000_000_000n;
const hourMs = 3_600_000;

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
  return nano < 0n ? '>−0.0001' : '<0.0001';
}

/** A price is told exactly: "0.15", "0.075", "12.00". */
export function price(amount: Coins): string {
  const [whole = '0', decimals = ''] = amount.coins.split('.');
  return `${grouped(whole)}.${decimals.padEnd(2, '0')}`;
}

/** As text that is read out: "50", "12.45". */
export function spoken(amount: Coins): string {
  return coins(amount).replace(/\.00$/, '');
}

export function isPositive(amount: Coins | null): amount is Coins {
  return amount !== null && BigInt(amount.nano) > 0n;
}

export function count(n: number): string {
  return grouped(String(n));
}

export function plural(n: number, one: string): string {
  return `${count(n)} ${one}${n === 1 ? '' : 's'}`;
}

// Formatters are slow to make and quick to use; a table has hundreds of times.
const clockTime = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });
const dayOfYear = new Intl.DateTimeFormat([], { day: 'numeric', month: 'short' });
const anyDay = new Intl.DateTimeFormat([], { dateStyle: 'medium' });
const dayAndHour = new Intl.DateTimeFormat([], { weekday: 'short', day: 'numeric', month: 'short' });
const hourOfDay = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });

/** Today: the time; this year: day and month; else the date. In the viewer's zone. */
export function time(iso: string): string {
  const at = new Date(iso);
  const now = new Date();
  if (at.getFullYear() !== now.getFullYear()) return anyDay.format(at);
  return at.getDate() === now.getDate() && at.getMonth() === now.getMonth() ? clockTime.format(at) : dayOfYear.format(at);
}

/** "Wed 25 Nov, about 06:00": to the hour. */
export function toTheHour(iso: string): string {
  const at = new Date(Math.round(Date.parse(iso) / hourMs) * hourMs);
  return `${dayAndHour.format(at)}, about ${hourOfDay.format(at)}`;
}

/** "2026-11-26 02:57:30 UTC". */
export function exactUtc(iso: string): string {
  return `${iso.slice(0, 19).replace('T', ' ')} UTC`;
}

/** "42 min 17 s", "17 s"; never negative. */
export function countdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

/** "12 min", "3 h 12 min", "2 days 4 h": never less than a minute. */
export function wait(ms: number): string {
  const minutes = Math.max(1, Math.ceil(ms / 60_000));
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${plural(Math.floor(hours / 24), 'day')} ${hours % 24} h`;
}

/** "2 minutes ago", for one moment in a sentence. */
export function ago(iso: string, nowMs: number): string {
  const minutes = Math.floor((nowMs - Date.parse(iso)) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${plural(minutes, 'minute')} ago`;
  if (minutes < 48 * 60) return `${plural(Math.floor(minutes / 60), 'hour')} ago`;
  return `on ${time(iso)}`;
}
