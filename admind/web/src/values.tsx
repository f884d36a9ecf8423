// An amount, a moment, a model's name: each is shown the same way everywhere.
import type { Coins } from './api';
import * as format from './format';

/** The exact value shows on hover and on focus: `stop` makes it a stop of the Tab key, otherwise a click or tap does. */
export function Amount({ value, stop = false }: { value: Coins; stop?: boolean }) {
  const shown = format.coins(value);
  return (
    <data class="number exact" value={value.coins} title={`${value.coins} coins`} data-exact={`${value.coins} coins`} tabIndex={stop ? 0 : -1}>
      {shown}
    </data>
  );
}

/** In the viewer's zone; exact UTC on hover and focus (P30). */
export function Moment({ at, never, stop = false }: { at: string | null; never: string; stop?: boolean }) {
  if (!at) return <>{never}</>;
  const exact = format.exactUtc(at);
  return (
    <time class="exact" dateTime={at} title={exact} data-exact={exact} tabIndex={stop ? 0 : -1}>
      {format.time(at)}
    </time>
  );
}

/** Names may hold anything but a space; "/" stays as it is, as paths of models end with the name. */
export function modelPath(name: string): string {
  return `/models/${name.split('/').map(encodeURIComponent).join('/')}`;
}

export function ModelLink({ name }: { name: string }) {
  return (
    <a href={modelPath(name)}>
      <bdi>{name}</bdi>
    </a>
  );
}

export function StatusBadge({ status, label = status }: { status: string; label?: string }) {
  return <span class={`badge ${status}`}>{label}</span>;
}
