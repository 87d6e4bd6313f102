import { useEffect, useRef } from 'react';

/** Asks before callers lose a model. Escape and "Keep serving" change nothing; the browser gives the focus back. */
export function StopDialog({ name, onClose }: { name: string; onClose: (confirmed: boolean) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="stop-title"
      onClose={({ currentTarget }) => onClose(currentTarget.returnValue === 'stop')}
    >
      <form method="dialog">
        <h3 id="stop-title">{`Stop serving ${name}?`}</h3>
        <p>
          Whoever asks for this version from then on is told that it is not served. The version itself stays.
        </p>
        <div className="row">
          <button type="submit" value="keep" className="secondary">
            Keep serving
          </button>
          <button type="submit" value="stop">
            Stop serving
          </button>
        </div>
      </form>
    </dialog>
  );
}
