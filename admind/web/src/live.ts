// Keeps an open page up to date without a reload (spec/ui.md §5.3): pushes where they come, and else the page asks every
// 15 s for what it shows, as long as somebody can see it. What is shown stays when the network goes, and says so.
import { useEffect, useRef, useState } from 'preact/hooks';
import { untilLeaving } from './api';
import { listen, type Push } from './live_stream';

export interface Freshness {
  /** `live`: pushed; `polled`: asked for; `lost`: neither came lately. */
  state: 'live' | 'polled' | 'lost';
  /** When what is shown was true. */
  at: string;
}

const pollMs = 15_000;
/** With pushes, for what is not pushed. */
const pollsWhenLive = 4;
/** A refill is credited within seconds of the hour; these are the looks after it. */
const afterRefillMs = [300, 1_500, 4_000, 9_000];

/** `load` fetches and shows, and throws if it could not; `onPush` shows what was pushed, true: it wants a `load`. */
export function useFresh(load: () => Promise<void>, onPush: (push: Push) => boolean): [Freshness, () => void] {
  const [freshness, setFreshness] = useState<Freshness>(() => ({ state: 'polled', at: new Date().toISOString() }));
  const pushed = useRef(false);
  const running = useRef(false);
  const again = useRef(false);
  const take = useRef(onPush);
  take.current = onPush;

  const fresh = () => setFreshness({ state: pushed.current ? 'live' : 'polled', at: new Date().toISOString() });

  async function refresh() {
    again.current = running.current;
    if (running.current || untilLeaving.aborted) return;
    running.current = true;
    try {
      await load();
      fresh();
    } catch {
      if (!untilLeaving.aborted) setFreshness(({ at }) => ({ state: 'lost', at }));
    } finally {
      running.current = false;
      if (again.current) void refresh();
    }
  }

  useEffect(() => {
    listen((push) => {
      if (push.event === 'open' || push.event === 'lost') {
        if (pushed.current === (push.event === 'open')) return;
        pushed.current = push.event === 'open';
        // A stream begins with the balance, but it told that to the tab that has it.
        if (pushed.current && !push.relayed) fresh();
        else void refresh();
        return;
      }
      if (take.current(push)) void refresh();
      if (pushed.current) fresh();
    });
    let polls = 0;
    setInterval(() => {
      polls++;
      if (!document.hidden && (!pushed.current || polls % pollsWhenLive === 0)) void refresh();
    }, pollMs);
    const look = () => {
      if (!document.hidden) void refresh();
    };
    document.addEventListener('visibilitychange', look);
    addEventListener('online', look);
  }, []);

  return [freshness, () => afterRefillMs.forEach((ms) => setTimeout(() => void refresh(), ms))];
}
