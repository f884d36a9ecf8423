// Model access: every model with what the viewer may do, and the one-time acknowledgment (P55–P65).
import { useEffect, useMemo, useState } from 'preact/hooks';
import { all, textOf, type Model } from './api';
import { ConsentDialog } from './consent';
import * as format from './format';
import { Table, type Column } from './table';
import { useUrlState } from './url_state';
import { Amount, ModelLink, Moment, StatusBadge } from './values';

// In the order in which they sort (P63).
const accesses = ['need_consent', 'consented', 'allowed', 'blocked'] as const;
const statuses = ['down', 'degraded', 'ok', 'disabled'] as const;

const accessLabels = {
  need_consent: ['⚠', 'Need Consent'],
  consented: ['✓', 'Consented'],
  allowed: ['✓', 'Allowed'],
  blocked: ['✕', 'Blocked'],
} as const;

function Access({ row, onConsent }: { row: Model; onConsent: (row: Model) => void }) {
  const [icon, label] = accessLabels[row.access];
  const words = (
    <>
      <span aria-hidden="true">{icon} </span>
      {label}
    </>
  );
  if (row.access === 'need_consent' && row.status !== 'disabled') {
    return (
      <button class="warn" onClick={() => onConsent(row)}>
        {words}
        <span class="visually-hidden"> for {row.model}</span>
      </button>
    );
  }
  const since = row.consented_at && row.access === 'consented' ? `Acknowledged ${format.exactUtc(row.consented_at)}, notice ${row.notice_version}` : undefined;
  return (
    <span class={`badge ${row.access}`} title={since}>
      {words}
    </span>
  );
}

const used = (row: Model, value: number | bigint) => (row.requests > 0 ? value : null);

function columnsOf(onConsent: (row: Model) => void): Column<Model>[] {
  return [
    { label: 'Model', width: 'minmax(0, 1fr)', order: { id: 'model', kind: 'name', value: (row) => row.model }, cell: (row) => <ModelLink name={row.model} /> },
    {
      label: 'Requests', width: '6.75rem',
      number: true,
      order: { id: 'requests', kind: 'amount', value: (row) => used(row, row.requests) },
      cell: (row) => (row.requests ? format.count(row.requests) : '—'),
    },
    {
      label: 'Tokens', width: '8.25rem',
      number: true,
      order: { id: 'tokens', kind: 'amount', value: (row) => used(row, row.tokens) },
      cell: (row) => (row.requests ? format.count(row.tokens) : '—'),
    },
    {
      label: 'Coins', width: '8rem',
      number: true,
      order: { id: 'coins', kind: 'amount', value: (row) => used(row, BigInt(row.coins.nano)) },
      cell: (row) => (row.requests ? <Amount value={row.coins} /> : '—'),
    },
    {
      label: 'Last Used', width: '7rem',
      number: true,
      order: { id: 'last_used', kind: 'amount', value: (row) => row.last_used_at },
      cell: (row) => <Moment at={row.last_used_at} never="—" />,
    },
    {
      label: 'Access', width: '10.5rem',
      order: { id: 'access', kind: 'rank', value: (row) => accesses.indexOf(row.access) },
      cell: (row) => <Access row={row} onConsent={onConsent} />,
    },
    {
      label: 'Status', width: '7rem',
      order: { id: 'status', kind: 'rank', value: (row) => statuses.indexOf(row.status) },
      cell: (row) => <StatusBadge status={row.status} />,
    },
  ];
}

interface Properties {
  /** All models that are turned on, kept up to date by the page. */
  enabled: Model[];
  onChanged: (enabled: Model[]) => void;
}

export function ModelAccess({ enabled, onChanged }: Properties) {
  const [showDisabled, setShowDisabled] = useUrlState('disabled');
  const [disabled, setDisabled] = useState<Model[]>([]);
  const [asking, setAsking] = useState<Model | null>(null);
  const [status, setStatus] = useState('');
  const columns = useMemo(() => columnsOf(setAsking), []);

  useEffect(() => {
    if (!showDisabled) return;
    all<Model>('/me/models?disabled=true').then(
      (rows) => setDisabled(rows.filter((row) => row.status === 'disabled')),
      (failure) => setStatus(textOf(failure)),
    );
  }, [showDisabled]);

  const rows = useMemo(() => (showDisabled ? [...enabled, ...disabled] : enabled), [enabled, disabled, showDisabled]);
  return (
    <section aria-labelledby="access-title">
      <div class="heading">
        <h2 id="access-title">Model Access</h2>
      </div>
      <p role="status" class="visually-hidden">
        {status}
      </p>
      <Table
        name="models"
        noun="model"
        caption="Model Access"
        rows={rows}
        columns={columns}
        first={{ id: 'model', descending: false }}
        idOf={(row) => row.model}
        nameOf={(row) => row.model}
        textOf={(row) => row.model.toLowerCase()}
        searchLabel="Search models by name"
        noneFound="No models match"
        empty={<p>No models are set up yet</p>}
        tools={
          <label class="check">
            <input type="checkbox" checked={showDisabled !== ''} onChange={(event) => setShowDisabled(event.currentTarget.checked ? '1' : '')} />
            Show disabled
          </label>
        }
      />
      {asking && (
        <ConsentDialog
          model={asking.model}
          noticeHtml={asking.notice_html}
          noticeVersion={asking.notice_version}
          onClosed={() => setAsking(null)}
          onGiven={() => {
            const given = { ...asking, access: 'consented' as const, consented_at: new Date().toISOString() };
            onChanged(enabled.map((row) => (row.model === asking.model ? given : row)));
            setAsking(null);
            setStatus(`${asking.model} is enabled`);
          }}
        />
      )}
    </section>
  );
}
