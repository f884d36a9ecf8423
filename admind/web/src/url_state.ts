// What a person would want to share of a page's state lives in its address: sort, search, filters (style.md, rule 21).
import { useState } from 'preact/hooks';

function read(name: string): string {
  return new URLSearchParams(location.search).get(name) ?? '';
}

function write(name: string, value: string): void {
  const parameters = new URLSearchParams(location.search);
  if (value) parameters.set(name, value);
  else parameters.delete(name);
  const query = parameters.toString();
  history.replaceState(history.state, '', location.pathname + (query && `?${query}`) + location.hash);
}

/** Like useState, kept in the parameter `name`; '' is left out. */
export function useUrlState(name: string): [string, (value: string) => void] {
  const [value, setValue] = useState(() => read(name));
  return [
    value,
    (next: string) => {
      write(name, next);
      setValue(next);
    },
  ];
}
