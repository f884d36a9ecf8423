// What a model is, in words: prices, status, modalities (M1, M4, D5, D6).
import type { ComponentChildren } from 'preact';
import type { Coins, PublicModel } from './api';
import * as format from './format';
import { StatusBadge } from './values';

export function Price({ of: amount }: { of: Coins | undefined }) {
  return <span class="number">{amount ? format.price(amount) : '0.00'}</span>;
}

export function isPriced(model: PublicModel, meter: string): boolean {
  return format.isPositive(model.prices[meter] ?? null);
}

/** P62's words, plus "no endpoints" (M2). */
export function ModelStatus({ model }: { model: PublicModel }) {
  if (model.endpoints === 0 && model.status !== 'disabled') return <StatusBadge status="down" label="no endpoints" />;
  return <StatusBadge status={model.status} />;
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

export function yesOrNo(known: boolean): string {
  return known ? '✓ yes' : '— no';
}

/** Prices beyond input and output, where there are any. */
export const otherMeters: [string, string][] = [
  ['cached_per_million', 'Cached input'],
  ['cache_write_per_million', 'Cache writes'],
  ['reasoning_per_million', 'Reasoning'],
  ['characters_per_million', 'Speech, 1M characters'],
  ['image', 'An image'],
  ['request', 'A request'],
];
