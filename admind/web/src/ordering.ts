// How tables sort (P44, P63): the first click gives names A–Z and numbers or dates descending, the second flips; what is not
// there ("never", "—") is last either way; ties go by name, then id.

export type Sortable = string | number | bigint | null;

export interface Order<Row> {
  id: string;
  /** `name` and `rank` begin ascending, `amount` (numbers, dates) descending. */
  kind: 'name' | 'amount' | 'rank';
  value: (row: Row) => Sortable;
}

/** "-coins" → coins, descending. */
export interface Sort {
  id: string;
  descending: boolean;
}

const collator = new Intl.Collator([], { numeric: true, sensitivity: 'base' });

function compare(a: Sortable, b: Sortable): number {
  if (a === b || a === null || b === null) return 0;
  return a < b ? -1 : 1;
}

export function parseSort<Row>(text: string, orders: Order<Row>[], first: Sort): Sort {
  const descending = text.startsWith('-');
  const id = descending ? text.slice(1) : text;
  return orders.some((order) => order.id === id) ? { id, descending } : first;
}

export function sortText({ id, descending }: Sort): string {
  return descending ? `-${id}` : id;
}

/** What a click on the header of `order` makes of `now`. */
export function nextSort<Row>(order: Order<Row>, now: Sort): Sort {
  return { id: order.id, descending: now.id === order.id ? !now.descending : order.kind === 'amount' };
}

/** Where a row is by name; equal names share `name`, and go by id in `all`. */
export interface Place {
  name: number;
  all: number;
}

/** Names are compared in the reader's language, which is slow: once for all sorts to come. */
export function placesOf<Row extends object>(rows: Row[], nameOf: (row: Row) => string, idOf: (row: Row) => string): Map<Row, Place> {
  const named = rows.map((row) => ({ row, name: nameOf(row), id: idOf(row) }));
  named.sort((a, b) => collator.compare(a.name, b.name) || a.id.length - b.id.length || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const places = new Map<Row, Place>();
  let name = 0;
  named.forEach((one, all) => {
    const before = named[all - 1];
    if (before && collator.compare(before.name, one.name) !== 0) name = all;
    places.set(one.row, { name, all });
  });
  return places;
}

/** `places` are what names sort by, and break ties. */
export function sorted<Row extends object>(rows: Row[], order: Order<Row>, descending: boolean, places: Map<Row, Place>): Row[] {
  const keyed = rows.map((row) => {
    const { name, all } = places.get(row) ?? { name: 0, all: 0 };
    return { row, all, value: order.kind === 'name' ? name : order.value(row) };
  });
  keyed.sort((a, b) => {
    if ((a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1;
    const by = compare(a.value, b.value);
    return (descending ? -by : by) || a.all - b.all;
  });
  return keyed.map(({ row }) => row);
}
