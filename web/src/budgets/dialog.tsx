import { type ReactNode, useEffect, useId, useRef } from 'react';

/** A modal dialog; Escape closes it, and the browser gives the focus back. */
export function Dialog(props: { title: string; onClose: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby={title} onClose={props.onClose}>
      <h3 id={title}>{props.title}</h3>
      {props.children}
    </dialog>
  );
}

/** A label with its field below. */
export function Field({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the field is among its children
    <label className="field">
      {label}
      {children}
    </label>
  );
}
