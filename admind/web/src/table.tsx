// A table that sorts and searches: headers are buttons, a phone gets cards and a "Sort by" list instead (B4, B5). Sort and
// search live in the address.
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { nextSort, parseSort, placesOf, sorted, sortText, type Order, type Sort } from './ordering';
import { RowGroups } from './table_rows';
import { useUrlState } from './url_state';

export interface Column<Row> {
  label: string;
  /** Absent: this column does not sort. */
  order?: Order<Row>;
  number?: boolean;
  /** As a track of a grid. It must not depend on what the cells hold: every row is laid out by itself. */
  width: string;
  /** Must depend on `row` alone: it is drawn again only when the row is another object. */
  cell: (row: Row) => ComponentChildren;
}

interface Properties<Row> {
  /** Of the parameters in the address: NAME, NAME_q. */
  name: string;
  /** What it is a table of: "key", "model". */
  noun: string;
  caption: string;
  rows: Row[];
  /** The first one names the row. */
  columns: Column<Row>[];
  first: Sort;
  idOf: (row: Row) => string;
  nameOf: (row: Row) => string;
  /** What the search looks at, in lower case. */
  textOf: (row: Row) => string;
  classOf?: (row: Row) => string;
  searchLabel: string;
  /** Beside the search. */
  tools?: ComponentChildren;
  /** Instead of the table when there is no row at all. */
  empty: ComponentChildren;
  /** Instead of the table when the search finds none. */
  noneFound: string;
}

const searchDelayMs = 200;
/** A screen is full with these; the others come in portions, so that no single task holds up the page (B14). */
const firstRows = 40;
const moreRows = 50;

/** How many rows are drawn by now. It only grows, so whoever sorts or searches later has all of them. */
function useDrawnRows(all: number): number {
  const [drawn, setDrawn] = useState(firstRows);
  useEffect(() => {
    if (drawn >= all) return;
    const timer = setTimeout(() => setDrawn(drawn + moreRows));
    return () => clearTimeout(timer);
  }, [drawn, all]);
  return drawn;
}

function SortHeader<Row>({ column, sort, onSort }: { column: Column<Row>; sort: Sort; onSort: (sort: Sort) => void }) {
  const { order, label, number } = column;
  const style = number ? 'number' : '';
  if (!order) {
    return (
      <th role="columnheader" scope="col" class={style}>
        {label}
      </th>
    );
  }
  const active = sort.id === order.id;
  const direction = active ? (sort.descending ? 'descending' : 'ascending') : undefined;
  return (
    <th role="columnheader" scope="col" class={style} aria-sort={direction}>
      <button class="sort" onClick={() => onSort(nextSort(order, sort))}>
        {label}
        <span class="arrow" aria-hidden="true">
          {active ? (sort.descending ? '▼' : '▲') : '↕'}
        </span>
      </button>
    </th>
  );
}

/** The phone's way to sort: every order in both directions. */
function SortList<Row>({ columns, sort, onSort }: { columns: Column<Row>[]; sort: Sort; onSort: (text: string) => void }) {
  const directions = { name: ['A–Z', 'Z–A'], amount: ['low to high', 'high to low'], rank: ['ascending', 'descending'] };
  return (
    <label class="sort-list">
      Sort by{' '}
      <select value={sortText(sort)} onChange={(event) => onSort(event.currentTarget.value)}>
        {columns.flatMap(({ label, order }) =>
          order
            ? [false, true].map((descending) => {
                const value = sortText({ id: order.id, descending });
                return (
                  <option key={value} value={value}>
                    {label}, {directions[order.kind][descending ? 1 : 0]}
                  </option>
                );
              })
            : [],
        )}
      </select>
    </label>
  );
}

function Cells<Row>({ row, columns }: { row: Row; columns: Column<Row>[] }) {
  return (
    <>
      {columns.map(({ label, cell, number }, index) =>
        index === 0 ? (
          <th role="rowheader" scope="row" key={label}>
            {cell(row)}
          </th>
        ) : (
          <td role="cell" key={label} class={number ? 'number' : ''} data-label={label}>
            {cell(row)}
          </td>
        ),
      )}
    </>
  );
}

export function Table<Row extends object>(properties: Properties<Row>) {
  const { name, noun, caption, rows, columns, first, idOf, nameOf, textOf, classOf, searchLabel, tools, empty, noneFound } = properties;
  const orders = columns.flatMap(({ order }) => (order ? [order] : []));
  const [sortInUrl, setSortInUrl] = useUrlState(name);
  const [search, setSearch] = useUrlState(`${name}_q`);
  const [typed, setTyped] = useState(search);
  const [said, setSaid] = useState('');
  const sort = parseSort(sortInUrl, orders, first);

  useEffect(() => {
    if (typed === search) return;
    const timer = setTimeout(() => setSearch(typed), searchDelayMs);
    return () => clearTimeout(timer);
  }, [typed, search]);

  const places = useMemo(() => placesOf(rows, nameOf, idOf), [rows]);
  const shown = useMemo(() => {
    const wanted = search.trim().toLowerCase();
    const found = wanted ? rows.filter((row) => textOf(row).includes(wanted)) : rows;
    const order = orders.find(({ id }) => id === sort.id);
    return order ? sorted(found, order, sort.descending, places) : found;
  }, [rows, search, sort.id, sort.descending]);

  const drawnRows = useDrawnRows(shown.length);

  const counted = `${shown.length} ${noun}${shown.length === 1 ? '' : 's'}`;
  useEffect(() => {
    if (search) setSaid(counted);
  }, [search, counted]);

  const bar = (
    <div class="toolbar">
      {tools}
      <SortList columns={columns} sort={sort} onSort={setSortInUrl} />
      <span class="spacer" />
      <label class="search">
        Search
        <input type="search" value={typed} aria-label={searchLabel} onInput={(event) => setTyped(event.currentTarget.value)} />
      </label>
    </div>
  );
  return (
    <>
      {bar}
      <p role="status" class="visually-hidden">
        {said}
      </p>
      {rows.length === 0 ? (
        <div class="empty">{empty}</div>
      ) : shown.length === 0 ? (
        <div class="empty">
          <p>{noneFound}</p>
          <button
            onClick={() => {
              setTyped('');
              setSearch('');
            }}
          >
            Clear the search
          </button>
        </div>
      ) : (
        <table role="table" aria-label={caption} class="data" style={{ '--columns': columns.map(({ width }) => width).join(' ') }}>
          <thead role="rowgroup">
            <tr role="row">
              {columns.map((column) => (
                <SortHeader key={column.label} column={column} sort={sort} onSort={(next) => setSortInUrl(sortText(next))} />
              ))}
            </tr>
          </thead>
          <RowGroups all={rows} shown={shown.slice(0, drawnRows)} drawing={{ idOf, classOf, cellsOf: (row) => <Cells row={row} columns={columns} />, with: columns }} />
        </table>
      )}
    </>
  );
}
