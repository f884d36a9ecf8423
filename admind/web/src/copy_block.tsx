// Text to take away: a button copies it, or, where the browser does not let it, selects it (P35, N3).
import { useRef, useState } from 'preact/hooks';

export function CopyBlock({ caption, text, id }: { caption: string; text: string; id: string }) {
  const block = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState<'no' | 'yes' | 'by hand'>('no');
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setCopied('yes');
    } catch {
      if (block.current) getSelection()?.selectAllChildren(block.current);
      setCopied('by hand');
    }
  }
  return (
    <div class="snippet">
      <div class="caption">
        <strong>{caption}</strong>
        <span role="status" class="muted">
          {copied === 'yes' && 'Copied'}
          {copied === 'by hand' && 'Press Ctrl+C to copy the selected text'}
        </span>
        <button aria-label={`Copy: ${caption}`} onClick={() => void copy()}>
          Copy
        </button>
      </div>
      <pre id={id} ref={block} tabIndex={0} role="region" aria-label={caption}>
        {text}
      </pre>
    </div>
  );
}
