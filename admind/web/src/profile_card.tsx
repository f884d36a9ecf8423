// The card: who it is, and the six tiles (spec/ui.md P7–P23).
import { useEffect, useState } from 'preact/hooks';
import type { Budget, Coins, Me } from './api';
import * as format from './format';
import { Amount, Moment } from './shell';

/** `span`: wide = two of three columns; third = one, but a whole row on phones; full = a whole row. */
function Tile({ name, span = '', children }: { name: string; span?: string; children: preact.ComponentChildren }) {
  return (
    <div class={`tile ${span}`}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Share of `limit`, 0…1, for the width of a bar only. */
function share(part: bigint, limit: bigint): number {
  if (limit <= 0n || part <= 0n) return 0;
  return part >= limit ? 1 : Number((part * 10_000n) / limit) / 10_000;
}

function Meter({ budget }: { budget: Budget }) {
  if (!budget.limit || BigInt(budget.limit.nano) <= 0n || !budget.available) return null;
  const limit = BigInt(budget.limit.nano);
  const available = BigInt(budget.available.nano);
  const free = BigInt((budget.free ?? budget.available).nano);
  const shown = share(available, limit);
  return (
    <div
      class="meter"
      role="meter"
      aria-label="Coins available"
      aria-valuemin={0}
      aria-valuemax={1}
      aria-valuenow={shown}
      aria-valuetext={`${format.coins(budget.available)} of ${format.coins(budget.limit)} coins`}
    >
      <span class="held" style={{ width: `${shown * 100}%` }} />
      <span class="free" style={{ width: `${share(free, limit) * 100}%` }} />
    </div>
  );
}

function isPositive(amount: Coins | null): boolean {
  return amount !== null && BigInt(amount.nano) > 0n;
}

function Balance({ budget }: { budget: Budget }) {
  if (budget.state === 'unlimited') return <span class="big">Unlimited</span>;
  if (budget.state === 'none' || !budget.available) {
    return (
      <span class="big" role="img" aria-label="No budget has been set up for your account">
        —
      </span>
    );
  }
  const low = budget.limit && BigInt(budget.available.nano) * 5n <= BigInt(budget.limit.nano);
  const exhausted = budget.state === 'blocked' || !isPositive(budget.available);
  return (
    <>
      <span class="big">
        <Amount value={budget.available} />
        {budget.limit && (
          <>
            {' / '}
            <Amount value={budget.limit} />
          </>
        )}
      </span>
      <Meter budget={budget} />
      {exhausted ? (
        <small class="bad">
          Budget exhausted. {isPositive(budget.refill_per_hour) ? 'A refill comes on the hour.' : 'Ask an admin for more.'}
        </small>
      ) : (
        <small>
          {low && <strong>low · </strong>}
          {budget.free && <Amount value={budget.free} />} free
          {isPositive(budget.held) && budget.held && (
            <>
              {' · '}
              <Amount value={budget.held} /> held by running requests
            </>
          )}
        </small>
      )}
    </>
  );
}

/** Counts by the server's clock: `skewMs` is what the client's clock is ahead. At zero it asks for fresh data. */
function Refill({ budget, skewMs, onDue }: { budget: Budget; skewMs: number; onDue: () => void }) {
  const [now, setNow] = useState(() => Date.now() - skewMs);
  const due = budget.next_refill_at ? Date.parse(budget.next_refill_at) : null;
  useEffect(() => {
    if (due === null) return;
    const timer = setInterval(() => {
      const serverNow = Date.now() - skewMs;
      setNow(serverNow);
      if (serverNow >= due) onDue();
    }, 1000);
    return () => clearInterval(timer);
  }, [due, skewMs]);
  if (budget.state !== 'limited' || !isPositive(budget.refill_per_hour) || !budget.refill_per_hour) return <>—</>;
  return (
    <>
      <span class="big">
        +<Amount value={budget.refill_per_hour} /> / hour
      </span>
      {due !== null && <small role="timer">next in {format.countdown(due - now)}</small>}
    </>
  );
}

export function ProfileCard({ me, onRefillDue }: { me: Me; onRefillDue: () => void }) {
  const skewMs = Date.now() - Date.parse(me.now);
  const initials = me.name
    .split(/\s+/)
    .slice(0, 2)
    .map((word) => Array.from(word)[0] ?? '')
    .join('')
    .toUpperCase();
  const groups = me.groups.filter((group) => group !== 'default').sort();
  return (
    <section class="card" aria-label="Account">
      <div class="person">
        <span class="avatar" aria-hidden="true">
          {initials}
        </span>
        <strong>
          <bdi>{me.name}</bdi>
        </strong>
        <bdi class="muted">{me.email}</bdi>
      </div>
      <dl class="tiles">
        <Tile name="Coins Available" span="wide">
          <Balance budget={me.budget} />
        </Tile>
        <Tile name="Refill Rate" span="third">
          <Refill budget={me.budget} skewMs={skewMs} onDue={onRefillDue} />
        </Tile>
        <Tile name="Coins Used">
          <Amount value={me.coins_used} />
        </Tile>
        <Tile name="Tokens Used">{format.count(me.tokens_used.total)}</Tile>
        <Tile name="Favorite Model" span="third">{me.favorite_model ? <bdi>{me.favorite_model}</bdi> : '—'}</Tile>
        <Tile name="Groups" span="full">
          {groups.length === 0
            ? '—'
            : groups.map((group) => (
                <bdi class="badge" key={group}>
                  {group}
                </bdi>
              ))}
        </Tile>
      </dl>
    </section>
  );
}

export function WebChat({ chat }: { chat: Me['chat'] }) {
  return (
    <section>
      <h2>Web Chat</h2>
      <dl class="row">
        <Tile name="Conversations">{format.count(chat.conversations)}</Tile>
        <Tile name="Requests">{format.count(chat.requests)}</Tile>
        <Tile name="Tokens">{format.count(chat.tokens)}</Tile>
        <Tile name="Coins">
          <Amount value={chat.coins} />
        </Tile>
        <Tile name="Last Used">
          <Moment at={chat.last_used_at} never="—" />
        </Tile>
      </dl>
    </section>
  );
}
