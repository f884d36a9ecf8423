// The API keys of the account: table, new, delete (P42–P54).
import { useState } from 'preact/hooks';
import { all, ApiError, call, type Key } from './api';
import { Dialog } from './dialog';
import * as format from './format';
import { KeyDialog } from './key_dialog';
import { Amount, Moment } from './shell';

function DeleteDialog({ target, onDeleted, onClosed }: { target: Key; onDeleted: () => void; onClosed: () => void }) {
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  async function remove() {
    setBusy(true);
    try {
      await call('DELETE', `/me/keys/${target.id}`);
      onDeleted();
    } catch (failure) {
      setError((failure as ApiError).message);
      setBusy(false);
    }
  }
  return (
    <Dialog title="Delete key?" onCancel={onClosed}>
      <p>
        <strong>
          <bdi>{target.name}</bdi>
        </strong>{' '}
        (<code>{target.hint}</code>), last used <Moment at={target.last_used_at} never="never" />.
      </p>
      <p>New requests with it fail at once; running ones finish. Its history is kept.</p>
      <p class="bad" role="alert">
        {error}
      </p>
      <div class="actions">
        <button class="quiet" onClick={onClosed}>
          Cancel
        </button>
        <button class="danger" disabled={busy} onClick={() => void remove()}>
          Delete
        </button>
      </div>
    </Dialog>
  );
}

function Row({ row, onDelete }: { row: Key; onDelete: () => void }) {
  const deleted = row.deleted_at !== null;
  return (
    <tr class={deleted ? 'deleted' : ''}>
      <th scope="row">
        {deleted ? (
          <s>
            <bdi>{row.name}</bdi>
          </s>
        ) : (
          <bdi>{row.name}</bdi>
        )}
      </th>
      <td data-label="Hint">
        <code>{row.hint}</code>
      </td>
      <td data-label="Requests" class="number">
        {format.count(row.requests)}
      </td>
      <td data-label="Tokens" class="number">
        {format.count(row.tokens)}
      </td>
      <td data-label="Coins" class="number">
        <Amount value={row.coins} />
      </td>
      <td data-label="Last Used" class="number">
        <Moment at={row.last_used_at} never="never" />
      </td>
      <td class="number">
        {deleted ? (
          <span class="badge">
            deleted <Moment at={row.deleted_at} never="" />
          </span>
        ) : (
          <button class="danger quiet" aria-label={`Delete key ${row.name}`} onClick={onDelete}>
            Delete
          </button>
        )}
      </td>
    </tr>
  );
}

export function Keys({ initial }: { initial: Key[] }) {
  const [rows, setRows] = useState(initial);
  const [showDeleted, setShowDeleted] = useState(false);
  const [adding, setAdding] = useState(false);
  const [deleting, setDeleting] = useState<Key | null>(null);
  const [status, setStatus] = useState('');

  async function load(withDeleted: boolean) {
    setShowDeleted(withDeleted);
    try {
      setRows(await all<Key>(`/me/keys?deleted=${String(withDeleted)}`));
    } catch (failure) {
      setStatus((failure as ApiError).message);
    }
  }

  return (
    <section>
      <div class="heading">
        <h2>API Keys</h2>
        <button class="primary" onClick={() => setAdding(true)}>
          + New API Key
        </button>
      </div>
      <label class="check">
        <input type="checkbox" checked={showDeleted} onChange={(event) => void load(event.currentTarget.checked)} />
        Show deleted keys
      </label>
      <p role="status" class="visually-hidden">
        {status}
      </p>
      {rows.length === 0 ? (
        <p class="empty">No API keys yet</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Hint</th>
              <th scope="col" class="number">
                Requests
              </th>
              <th scope="col" class="number">
                Tokens
              </th>
              <th scope="col" class="number">
                Coins
              </th>
              <th scope="col" class="number">
                Last Used
              </th>
              <th scope="col" class="number">
                Actions
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row key={row.id} row={row} onDelete={() => setDeleting(row)} />
            ))}
          </tbody>
        </table>
      )}
      {adding && (
        <KeyDialog
          onClosed={() => setAdding(false)}
          onSaved={(key) => {
            setRows([...rows, key]);
            setAdding(false);
            setStatus(`Key ${key.name} saved`);
          }}
        />
      )}
      {deleting && (
        <DeleteDialog
          target={deleting}
          onClosed={() => setDeleting(null)}
          onDeleted={() => {
            setStatus(`Key ${deleting.name} deleted`);
            setDeleting(null);
            void load(showDeleted);
          }}
        />
      )}
    </section>
  );
}
