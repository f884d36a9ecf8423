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

export function compare(a: Sortable, b: Sortable): number {
  if (typeof a === 'string' && typeof b === 'string') return collator.compare(a, b);
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

/** `nameOf` and `idOf` break ties. */
export function sorted<Row>(rows: Row[], order: Order<Row>, descending: boolean, nameOf: (row: Row) => string, idOf: (row: Row) => string): Row[] {
  const keyed = rows.map((row) => ({ row, value: order.value(row), name: nameOf(row), id: idOf(row) }));
  keyed.sort((a, b) => {
    if ((a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1;
    const by = compare(a.value, b.value);
    if (by !== 0) return descending ? -by : by;
    return collator.compare(a.name, b.name) || (a.id.length - b.id.length || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  });
  return keyed.map(({ row }) => row);
}
