// Shows markup of the server's (markup.ts) as part of a page.
import { useLayoutEffect, useRef } from 'preact/hooks';
import { nodesOf } from './markup';

export function MarkupView({ html }: { html: string }) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => box.current?.replaceChildren(nodesOf(html)), [html]);
  return <div class="markdown" ref={box} />;
}
