// The server's pushes (GET /api/v1/me/events, spec/ui.md §5.3): one stream a browser, whichever tab has it tells the others;
// none for a tab that nobody looks at for a minute.
import { untilLeaving } from './api';

export interface Push {
  /** balance, key, model, notice; or `open` and `lost`: whether pushes come. */
  event: string;
  data: Record<string, unknown>;
  /** Another tab has the stream and told of it: what came before this tab listened was not heard here. */
  relayed?: boolean;
}

const address = '/api/v1/me/events';
const events = ['balance', 'key', 'model', 'notice'];
const lockName = 'lumen-live';
const hiddenMs = 60_000;
const beatMs = 10_000;
const retryMs = 15_000;

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Holds a stream open until `signal`; begins anew when the server refused it. */
function stream(tell: (push: Push) => void, signal: AbortSignal): void {
  let source: EventSource;
  const connect = () => {
    if (signal.aborted) return;
    source = new EventSource(address);
    source.onopen = () => tell({ event: 'open', data: {} });
    source.onerror = () => {
      tell({ event: 'lost', data: {} });
      // A stream that ended is taken up again by the browser itself, one that was refused is not.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, retryMs);
    };
    for (const event of events) source.addEventListener(event, (message) => tell({ event, data: parsed((message as MessageEvent<string>).data) }));
  };
  connect();
  signal.addEventListener('abort', () => source.close());
}

/** As the browser's one leader, if it can be one: then the other tabs hear of everything. Ends with `signal`. */
function lead(tell: (push: Push) => void, channel: BroadcastChannel | null, signal: AbortSignal): void {
  if (!channel || !('locks' in navigator)) return stream(tell, signal);  // plain http: each tab has its own
  const holding = async () => {
    let state = 'lost';
    const tellAll = (push: Push) => {
      if (push.event === 'open' || push.event === 'lost') state = push.event;
      tell(push);
      channel.postMessage(push);
    };
    stream(tellAll, signal);
    const beat = setInterval(() => channel.postMessage({ event: state, data: {} }), beatMs);
    await new Promise<void>((done) => signal.addEventListener('abort', () => done()));
    clearInterval(beat);
  };
  navigator.locks.request(lockName, { signal }, holding).catch(() => undefined);  // gave up waiting
}

/** Tells of every push while the page is looked at. */
export function listen(tell: (push: Push) => void): void {
  const channel = 'BroadcastChannel' in window ? new BroadcastChannel(lockName) : null;
  let silence: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => tell({ event: 'lost', data: {} }), 3 * beatMs);
  };
  channel?.addEventListener('message', (message: MessageEvent<Push>) => {
    heard();
    tell({ ...message.data, relayed: true });
  });
  let turn = new AbortController();
  lead(tell, channel, turn.signal);
  untilLeaving.addEventListener('abort', () => turn.abort());
  let hiding: ReturnType<typeof setTimeout> | undefined;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(() => turn.abort(), hiddenMs);
    } else if (turn.signal.aborted && !untilLeaving.aborted) {
      turn = new AbortController();
      lead(tell, channel, turn.signal);
    }
  });
}
