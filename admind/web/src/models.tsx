// /models: what there is, what it costs, and whether it works (M1–M4). Everybody may look; who is signed in sees theirs.
import { useEffect, useState } from 'preact/hooks';
import { all, textOf, type PublicModel } from './api';
import { isPriced, ModelStatus, Price } from './model_facts';
import { drawPage, Failed } from './shell';
import { Table, type Column } from './table';
import { wearLastTheme } from './themes';
import { useUrlState } from './url_state';
import { ModelLink, Moment } from './values';
import { welcome } from './visitor';

const refreshMs = 30_000;
const statuses = ['down', 'degraded', 'ok'];

const nano = (row: PublicModel, meter: string) => BigInt(row.prices[meter]?.nano ?? '0');

function Name({ row }: { row: PublicModel }) {
  return (
    <>
      <ModelLink name={row.name} />
      {row.description && <span class="description muted">{row.description}</span>}
    </>
  );
}

function InputPrice({ row }: { row: PublicModel }) {
  const perHour = isPriced(row, 'audio_per_hour');
  return (
    <>
      {(!perHour || isPriced(row, 'input_per_million')) && <Price of={row.prices.input_per_million} />}
      {perHour && (
        <span class="per-hour">
          <Price of={row.prices.audio_per_hour} /> / hour
        </span>
      )}
    </>
  );
}

const columns: Column<PublicModel>[] = [
  { label: 'Model', width: 'minmax(0, 1fr)', order: { id: 'model', kind: 'name', value: (row) => row.name }, cell: (row) => <Name row={row} /> },
  {
    label: 'Coins / 1M input', width: '9rem',
    number: true,
    order: { id: 'input', kind: 'amount', value: (row) => nano(row, 'input_per_million') },
    cell: (row) => <InputPrice row={row} />,
  },
  {
    label: 'Coins / 1M output', width: '9.5rem',
    number: true,
    order: { id: 'output', kind: 'amount', value: (row) => nano(row, 'output_per_million') },
    cell: (row) => <Price of={row.prices.output_per_million} />,
  },
  { label: 'Healthy', width: '6.5rem', number: true, order: { id: 'healthy', kind: 'amount', value: (row) => row.healthy }, cell: (row) => `${row.healthy} / ${row.endpoints}` },
  {
    label: 'Last Checked', width: '8rem',
    number: true,
    order: { id: 'checked', kind: 'amount', value: (row) => row.last_checked_at },
    cell: (row) => <Moment at={row.last_checked_at} never="Never" />,
  },
  { label: 'Status', width: '8rem', order: { id: 'status', kind: 'rank', value: (row) => statuses.indexOf(row.status) }, cell: (row) => <ModelStatus model={row} /> },
  {
    label: 'Acknowledgment', width: '9.5rem',
    order: { id: 'ack', kind: 'rank', value: (row) => (row.needs_ack ? 0 : 1) },
    cell: (row) => (row.needs_ack ? row.access === 'consented' ? <span class="badge consented">✓ given</span> : <span class="badge required">required</span> : '—'),
  },
];

/** "any", or a kind of input that some models take. */
function ModalityFilter({ rows, value, onChange }: { rows: PublicModel[]; value: string; onChange: (value: string) => void }) {
  const kinds = [...new Set(rows.flatMap((row) => row.input_modalities))].sort();
  if (kinds.length < 2) return null;
  return (
    <label>
      Takes{' '}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">anything</option>
        {kinds.map((kind) => (
          <option key={kind} value={kind}>
            {kind}
          </option>
        ))}
      </select>
    </label>
  );
}

function Page({ first }: { first: PublicModel[] }) {
  const [rows, setRows] = useState(first);
  const [kind, setKind] = useUrlState('takes');
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) all<PublicModel>('/models').then(setRows, () => undefined);
    }, refreshMs);
    return () => clearInterval(timer);
  }, []);
  const shown = kind ? rows.filter((row) => row.input_modalities.includes(kind)) : rows;
  return (
    <>
      <div class="heading">
        <h1>Models</h1>
        <span class="spacer" />
        <a class="button" href="/connect">
          Connect your tools
        </a>
      </div>
      <Table
        name="sort"
        noun="model"
        caption="Models"
        rows={shown}
        columns={columns}
        first={{ id: 'model', descending: false }}
        idOf={(row) => row.name}
        nameOf={(row) => row.name}
        textOf={(row) => `${row.name} ${row.description}`.toLowerCase()}
        searchLabel="Search models by name or description"
        noneFound="No models match"
        empty={<p>No models are available yet</p>}
        tools={<ModalityFilter rows={rows} value={kind} onChange={setKind} />}
      />
    </>
  );
}

wearLastTheme();
Promise.all([all<PublicModel>('/models'), welcome()]).then(
  ([models]) => drawPage(<Page first={models} />),
  (failure) => drawPage(<Failed title="Models" text={textOf(failure)} />),
);
