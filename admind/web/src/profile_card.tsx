// The card: who it is, and the six tiles (P7–P23). Below it, web chat in one row (P26–P30).
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { call, textOf, type Me } from './api';
import { Balance, Outlook, Refill, useNow } from './balance';
import * as format from './format';
import type { Freshness } from './live';
import type { ServerClock } from './server_clock';
import { Amount, ModelLink, Moment } from './values';

function Tile({ name, area = '', beside, children }: { name: string; area?: string; beside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <div class={`tile ${area}`}>
      <dt>
        {name}
        {beside}
      </dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Is what is shown of this moment? */
function Fresh({ freshness }: { freshness: Freshness }) {
  if (freshness.state === 'lost') {
    return (
      <span class="live lost" role="status">
        updated {format.time(freshness.at)}, reconnecting
      </span>
    );
  }
  return (
    <span class="live" title={freshness.state === 'live' ? 'Changes show at once' : 'Looked at every 15 seconds'}>
      <span class="dot" aria-hidden="true" /> {freshness.state === 'live' ? 'live' : 'up to date'}
    </span>
  );
}

/** Gravatar or initials, always from this site; the server asks Gravatar, never the browser (P8, P9). */
function Avatar({ me, onChanged }: { me: Me; onChanged: () => void }) {
  const [error, setError] = useState('');
  const other = me.avatar === 'gravatar' ? 'initials' : 'gravatar';
  async function change() {
    try {
      await call('PATCH', '/me', { avatar: other });
      onChanged();
    } catch (failure) {
      setError(textOf(failure));
    }
  }
  return (
    <>
      <img class="avatar" src={me.avatar_url} alt="" width="80" height="80" />
      <strong class="name">
        <bdi>{me.name}</bdi>
      </strong>
      <bdi class="muted email">{me.email}</bdi>
      {me.avatar_choice && (
        <button class="quiet small" onClick={() => void change()}>
          {other === 'initials' ? 'Use initials' : 'Use Gravatar'}
        </button>
      )}
      <p class="bad" role="alert">
        {error}
      </p>
    </>
  );
}

interface Properties {
  me: Me;
  clock: ServerClock;
  freshness: Freshness;
  onRefillDue: () => void;
  onAvatarChanged: () => void;
}

export function ProfileCard({ me, clock, freshness, onRefillDue, onAvatarChanged }: Properties) {
  const now = useNow(clock, me.budget.next_refill_at, onRefillDue);
  const groups = me.groups.filter((group) => group !== 'default');
  return (
    <section class="card" aria-label="Account">
      <div class="person">
        <Avatar me={me} onChanged={onAvatarChanged} />
      </div>
      <dl class="tiles">
        <Tile name="Coins Available" area="available" beside={<Fresh freshness={freshness} />}>
          <Balance budget={me.budget} now={now} />
          <Outlook forecast={me.forecast} budget={me.budget} />
        </Tile>
        <Tile name="Refill Rate" area="refill">
          <Refill budget={me.budget} now={now} />
        </Tile>
        <Tile name="Coins Used">
          <p class="mid">
            <Amount value={me.coins_used} stop />
          </p>
        </Tile>
        <Tile name="Tokens Used">
          <p class="mid number" title={`${format.count(me.tokens_used.input)} input + ${format.count(me.tokens_used.output)} output`}>
            {format.count(me.tokens_used.total)}
          </p>
        </Tile>
        <Tile name="Favorite Model" area="favorite">
          <p class="mid">{me.favorite_model ? <ModelLink name={me.favorite_model} /> : '—'}</p>
        </Tile>
        <Tile name="Groups" area="groups">
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
    <section aria-labelledby="chat-title">
      <div class="heading">
        <h2 id="chat-title">Web Chat</h2>
      </div>
      <dl class="row">
        <Tile name="Conversations">{format.count(chat.conversations)}</Tile>
        <Tile name="Requests">{format.count(chat.requests)}</Tile>
        <Tile name="Tokens">{format.count(chat.tokens)}</Tile>
        <Tile name="Coins">
          <Amount value={chat.coins} stop />
        </Tile>
        <Tile name="Last Used">
          <Moment at={chat.last_used_at} never="—" stop />
        </Tile>
      </dl>
    </section>
  );
}
