// The rows of a table, a thousand of them at once: each is an element that is drawn once, in a root of its own, and again
// when its row is another object. Sorting and searching move elements and draw nothing. They stand in groups, as a browser
// leaves a whole group that is off the screen out of its layout (style.css), and asks of each group whether it is.
import { render, type ComponentChild } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';

const rowsOfGroup = 20;

interface Drawn<Row> {
  row: Row;
  with: unknown;
  element: HTMLTableRowElement;
}

function newElement(id: string): HTMLTableRowElement {
  const element = document.createElement('tr');
  element.setAttribute('role', 'row');
  element.dataset.id = id;
  return element;
}

interface Drawing<Row> {
  idOf: (row: Row) => string;
  classOf: ((row: Row) => string) | undefined;
  cellsOf: (row: Row) => ComponentChild;
  /** What `cellsOf` draws with: another object draws every row anew. */
  with: unknown;
}

type ElementOf<Row> = (row: Row) => HTMLTableRowElement;

/** Row → its element, the same one for as long as `rows` has a row of that id. */
function useRowElements<Row extends object>(rows: Row[], drawing: Drawing<Row>): ElementOf<Row> {
  const drawn = useRef(new Map<string, Drawn<Row>>());
  useEffect(() => {
    const there = new Set(rows.map(drawing.idOf));
    for (const [id, { element }] of drawn.current) {
      if (there.has(id)) continue;
      render(null, element);
      drawn.current.delete(id);
    }
  }, [rows]);
  return (row) => {
    const id = drawing.idOf(row);
    const before = drawn.current.get(id);
    if (before?.row === row && before.with === drawing.with) return before.element;
    const element = before?.element ?? newElement(id);
    element.className = drawing.classOf?.(row) ?? '';
    render(drawing.cellsOf(row), element);
    drawn.current.set(id, { row, with: drawing.with, element });
    return element;
  };
}

/** Makes `elements` the children of `body`. One that stays in its place is not touched: it may have the focus. */
function place(body: HTMLElement, elements: HTMLElement[]): void {
  const wanted = new Set<Node>(elements);
  for (const child of [...body.childNodes]) {
    if (!wanted.has(child)) child.remove();
  }
  let next = body.firstChild;
  for (const element of elements) {
    if (element === next) next = next.nextSibling;
    else body.insertBefore(element, next);
  }
}

function RowGroup<Row>({ rows, elementOf }: { rows: Row[]; elementOf: ElementOf<Row> }) {
  const body = useRef<HTMLTableSectionElement>(null);
  useLayoutEffect(() => {
    if (body.current) place(body.current, rows.map(elementOf));
  });
  return <tbody role="rowgroup" ref={body} style={{ '--rows': String(rows.length) }} />;
}

/** `all`: the rows that may be shown again; `shown`: those that are, in their order. */
export function RowGroups<Row extends object>({ all, shown, drawing }: { all: Row[]; shown: Row[]; drawing: Drawing<Row> }) {
  const elementOf = useRowElements(all, drawing);
  const groups = [];
  for (let begin = 0; begin < shown.length; begin += rowsOfGroup) {
    groups.push(<RowGroup key={begin} rows={shown.slice(begin, begin + rowsOfGroup)} elementOf={elementOf} />);
  }
  return <>{groups}</>;
}
