// A modal dialog on the browser's own <dialog>: focus is kept inside, Esc asks `onCancel`, focus returns on close.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

interface Properties {
  title: ComponentChildren;
  onCancel: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, onCancel, children }: Properties) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const opener = document.activeElement;
    const dialog = element.current;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      aria-labelledby="dialog-title"
      // By hand, and not through the dialog's own `cancel`: browsers let only the first of two Esc be refused.
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.preventDefault();
        onCancel();
      }}
      onCancel={(event) => {
        event.preventDefault();
        onCancel();
      }}
    >
      <div class="dialog-head">
        <h2 id="dialog-title">{title}</h2>
        <button type="button" class="quiet close" aria-label="Close" onClick={onCancel}>
          ✕
        </button>
      </div>
      {children}
    </dialog>
  );
}
