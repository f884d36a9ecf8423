// The API keys of the account: table, new, delete (P42–P54).
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { all, call, textOf, type Key } from './api';
import { Dialog } from './dialog';
import * as format from './format';
import { KeyDialog } from './key_dialog';
import type { ServerClock } from './server_clock';
import { Table, type Column } from './table';
import { useUrlState } from './url_state';
import { Amount, Moment } from './values';

const expiresSoonMs = 7 * 24 * 3_600_000;
const periods = { day: '/day', week: '/week', month: '/month', total: ' in all' };

interface DeleteProperties {
  target: Key;
  clock: ServerClock;
  onDeleted: () => void;
  onClosed: () => void;
}

function DeleteDialog({ target, clock, onDeleted, onClosed }: DeleteProperties) {
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  async function remove() {
    setBusy(true);
    try {
      await call('DELETE', `/me/keys/${target.id}`);
      onDeleted();
    } catch (failure) {
      setError(textOf(failure));
      setBusy(false);
    }
  }
  return (
    <Dialog
      title={
        <>
          Delete “<bdi>{target.name}</bdi>” (<code>{target.hint}</code>)?
        </>
      }
      onCancel={onClosed}
    >
      <p>
        {target.last_used_at ? `Last used ${format.ago(target.last_used_at, clock())}.` : 'Never used.'} New requests with it fail at once; running ones
        finish. Its history is kept.
      </p>
      <p class="bad" role="alert">
        {error}
      </p>
      <div class="actions">
        <button autofocus onClick={onClosed}>
          Cancel
        </button>
        <button class="danger" disabled={busy} onClick={() => void remove()}>
          Delete
        </button>
      </div>
    </Dialog>
  );
}

function Name({ row, clock }: { row: Key; clock: ServerClock }) {
  if (row.deleted_at) {
    return (
      <>
        <s>
          <bdi>{row.name}</bdi>
        </s>{' '}
        <span class="visually-hidden">(deleted)</span>
      </>
    );
  }
  const expires = row.expires_at ? Date.parse(row.expires_at) : Infinity;
  return (
    <>
      <bdi>{row.name}</bdi>
      {row.paused && <span class="badge">paused</span>}
      {row.models && (
        <span class="badge" title={row.models.join(', ')}>
          {row.models.length === 1 ? row.models[0] : `${row.models.length} models`}
        </span>
      )}
      {expires < clock() && <span class="badge down">expired</span>}
      {expires >= clock() && expires < clock() + expiresSoonMs && (
        <span class="badge degraded">
          expires <Moment at={row.expires_at} never="" />
        </span>
      )}
    </>
  );
}

function Spent({ row }: { row: Key }) {
  return (
    <>
      <Amount value={row.coins} />
      {row.budget && (
        <span class="muted">
          {' '}
          of {row.budget.coins}
          {periods[row.budget.period]}
        </span>
      )}
    </>
  );
}

function columnsOf(clock: ServerClock, onDelete: (row: Key) => void): Column<Key>[] {
  return [
    { label: 'Name', width: 'minmax(0, 1fr)', order: { id: 'name', kind: 'name', value: (row) => row.name }, cell: (row) => <Name row={row} clock={clock} /> },
    { label: 'Hint', width: '7.5rem', cell: (row) => <code>{row.hint}</code> },
    { label: 'Requests', width: '6.5rem', number: true, order: { id: 'requests', kind: 'amount', value: (row) => row.requests }, cell: (row) => format.count(row.requests) },
    { label: 'Tokens', width: '7.75rem', number: true, order: { id: 'tokens', kind: 'amount', value: (row) => row.tokens }, cell: (row) => format.count(row.tokens) },
    { label: 'Coins', width: '9rem', number: true, order: { id: 'coins', kind: 'amount', value: (row) => BigInt(row.coins.nano) }, cell: (row) => <Spent row={row} /> },
    {
      label: 'Last Used', width: '7rem',
      number: true,
      order: { id: 'last_used', kind: 'amount', value: (row) => row.last_used_at },
      cell: (row) => <Moment at={row.last_used_at} never="never" />,
    },
    {
      label: 'Actions', width: '11rem',
      number: true,
      cell: (row) =>
        row.deleted_at ? (
          <span class="badge">
            deleted <Moment at={row.deleted_at} never="" />
          </span>
        ) : (
          <button class="danger" aria-label={`Delete key ${row.name}`} onClick={() => onDelete(row)}>
            Delete
          </button>
        ),
    },
  ];
}

/** The button that has the focus when `gone` has left: the next row's, else the one before, else the section's. */
function focusAfter(section: HTMLElement | null, gone: number): void {
  const buttons = section?.querySelectorAll<HTMLButtonElement>('tbody button.danger') ?? [];
  const next = buttons[Math.min(gone, buttons.length - 1)] ?? section?.querySelector<HTMLButtonElement>('.new-key');
  next?.focus();
}

interface Properties {
  /** Active keys, kept up to date by the page. */
  active: Key[];
  clock: ServerClock;
  models: string[];
  onChanged: (active: Key[]) => void;
}

export function Keys({ active, clock, models, onChanged }: Properties) {
  const section = useRef<HTMLElement>(null);
  const [showDeleted, setShowDeleted] = useUrlState('deleted');
  const [deleted, setDeleted] = useState<Key[]>([]);
  const [adding, setAdding] = useState(false);
  const [deleting, setDeleting] = useState<Key | null>(null);
  const [status, setStatus] = useState('');
  const columns = useMemo(() => columnsOf(clock, setDeleting), [clock]);

  async function loadDeleted() {
    try {
      setDeleted((await all<Key>('/me/keys?deleted=true')).filter((key) => key.deleted_at));
    } catch (failure) {
      setStatus(textOf(failure));
    }
  }
  useEffect(() => {
    if (showDeleted) void loadDeleted();
  }, [showDeleted]);

  const rows = useMemo(() => (showDeleted ? [...active, ...deleted] : active), [active, deleted, showDeleted]);
  const newKey = (
    <button class="primary new-key" onClick={() => setAdding(true)}>
      + New API Key
    </button>
  );
  return (
    <section ref={section} aria-labelledby="keys-title">
      <div class="heading">
        <h2 id="keys-title">API Keys</h2>
        <a class="button examples" href="/connect">
          Usage examples
        </a>
        {newKey}
      </div>
      <p role="status" class="visually-hidden">
        {status}
      </p>
      <Table
        name="keys"
        noun="key"
        caption="API Keys"
        rows={rows}
        columns={columns}
        first={{ id: 'name', descending: false }}
        idOf={(row) => row.id}
        nameOf={(row) => row.name}
        textOf={(row) => `${row.name} ${row.hint}`.toLowerCase()}
        classOf={(row) => (row.deleted_at ? 'deleted' : '')}
        searchLabel="Search keys by name or hint"
        noneFound="No API keys match"
        empty={
          <>
            <p>No API keys yet</p>
            <button onClick={() => setAdding(true)}>Make the first one</button>
          </>
        }
        tools={
          <label class="check">
            <input type="checkbox" checked={showDeleted !== ''} onChange={(event) => setShowDeleted(event.currentTarget.checked ? '1' : '')} />
            Show deleted keys
          </label>
        }
      />
      {adding && (
        <KeyDialog
          taken={active.map((key) => key.name)}
          models={models}
          onClosed={() => setAdding(false)}
          onSaved={(key) => {
            onChanged([...active, key]);
            setAdding(false);
            setStatus(`Key ${key.name} saved`);
          }}
        />
      )}
      {deleting && (
        <DeleteDialog
          target={deleting}
          clock={clock}
          onClosed={() => setDeleting(null)}
          onDeleted={() => {
            const buttons = [...(section.current?.querySelectorAll('tbody button.danger') ?? [])];
            const place = buttons.findIndex((button) => button.closest('tr')?.getAttribute('data-id') === deleting.id);
            onChanged(active.filter((key) => key.id !== deleting.id));
            setDeleted([...deleted, { ...deleting, deleted_at: new Date(clock()).toISOString() }]);
            setStatus(`Key ${deleting.name} deleted`);
            setDeleting(null);
            setTimeout(() => focusAfter(section.current, place));
          }}
        />
      )}
    </section>
  );
}
