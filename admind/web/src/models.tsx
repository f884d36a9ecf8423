// Model access: every model with what the viewer may do, and the one-time acknowledgment (P55–P62).
import { useState } from 'preact/hooks';
import { ApiError, call, type Model } from './api';
import { Dialog } from './dialog';
import * as format from './format';
import { Amount, Moment } from './shell';

const accessLabels = {
  need_consent: 'Need Consent',
  consented: '✓ Consented',
  allowed: '✓ Allowed',
  blocked: '✕ Blocked',
} as const;

function ConsentDialog({ model, onGiven, onClosed }: { model: Model; onGiven: () => void; onClosed: () => void }) {
  const [error, setError] = useState<string | null>(null);
  async function accept() {
    try {
      await call('POST', '/me/consents', { model: model.model, notice_version: model.notice_version });
      onGiven();
    } catch (failure) {
      setError((failure as ApiError).message);
    }
  }
  return (
    <Dialog title={`Enable ${model.model}`} onCancel={onClosed}>
      <p class="prose">{model.notice || 'This model asks to be acknowledged once before use.'}</p>
      <p class="bad" role="alert">
        {error}
      </p>
      <div class="actions">
        <button class="quiet" onClick={onClosed}>
          Cancel
        </button>
        <button class="primary" onClick={() => void accept()}>
          Accept
        </button>
      </div>
    </Dialog>
  );
}

function Access({ model, onConsent }: { model: Model; onConsent: () => void }) {
  if (model.access === 'need_consent') {
    return (
      <button class="warn" onClick={onConsent}>
        ⚠ {accessLabels.need_consent}
      </button>
    );
  }
  return <span class={`badge ${model.access}`}>{accessLabels[model.access]}</span>;
}

export function Models({ initial }: { initial: Model[] }) {
  const [rows, setRows] = useState(initial);
  const [asking, setAsking] = useState<Model | null>(null);
  return (
    <section>
      <h2>Model Access</h2>
      {rows.length === 0 ? (
        <p class="empty">No models are set up yet</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">Model</th>
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
              <th scope="col">Access</th>
              <th scope="col">Status</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.model}>
                <th scope="row">
                  <bdi>{row.model}</bdi>
                </th>
                <td data-label="Requests" class="number">
                  {row.requests ? format.count(row.requests) : '—'}
                </td>
                <td data-label="Tokens" class="number">
                  {row.requests ? format.count(row.tokens) : '—'}
                </td>
                <td data-label="Coins" class="number">
                  {row.requests ? <Amount value={row.coins} /> : '—'}
                </td>
                <td data-label="Last Used" class="number">
                  <Moment at={row.last_used_at} never="—" />
                </td>
                <td data-label="Access">
                  <Access model={row} onConsent={() => setAsking(row)} />
                </td>
                <td data-label="Status">
                  <span class={`badge ${row.status}`}>{row.status}</span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {asking && (
        <ConsentDialog
          model={asking}
          onClosed={() => setAsking(null)}
          onGiven={() => {
            setRows(rows.map((row) => (row.model === asking.model ? { ...row, access: 'consented' } : row)));
            setAsking(null);
          }}
        />
      )}
    </section>
  );
}
