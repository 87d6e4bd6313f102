import { useState } from 'react';
import { ProblemNote } from '../parts/problem-note.tsx';
import { asProblem, type Problem } from '../server/problem.ts';
import type { Server } from '../server/server.ts';
import type { DatasetRow } from '../server/shapes.ts';
import { blank, type Drawing } from './brush.ts';
import { DrawingGrid } from './drawing-grid.tsx';
import { exampleDrawings } from './examples.ts';

/** Where the drawing comes from: the hand, an example, or a row of the caller's own data set. */
export function DrawPanel(props: {
  server: Server;
  drawing: Drawing;
  dataset: string | null;
  onDraw: (change: (before: Drawing) => Drawing) => void;
}) {
  return (
    <div className="draw-panel">
      <DrawingGrid drawing={props.drawing} onDraw={props.onDraw} />
      <p id="drawing-help" className="quiet">
        Draw with the pointer, or move with the arrow keys and press space. Delete clears a cell, Escape all.
      </p>
      <fieldset className="row examples" aria-label="Example drawings">
        {exampleDrawings.map(({ name, drawing }) => (
          <button type="button" className="secondary" key={name} onClick={() => props.onDraw(() => drawing)}>
            {name}
          </button>
        ))}
        <button type="button" className="secondary" onClick={() => props.onDraw(() => blank)}>
          Clear
        </button>
      </fieldset>
      {props.dataset !== null && (
        <RowLoader
          server={props.server}
          dataset={props.dataset}
          onDrawing={(drawing) => props.onDraw(() => drawing)}
        />
      )}
    </div>
  );
}

function RowLoader(props: { server: Server; dataset: string; onDrawing: (drawing: Drawing) => void }) {
  const [row, setRow] = useState(7);
  const [loaded, setLoaded] = useState<DatasetRow | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const load = async () => {
    try {
      const answer = await props.server.datasetRow(props.dataset, 'test', row);
      props.onDrawing(Object.values(answer.features));
      setLoaded(answer);
      setProblem(null);
    } catch (thrown) {
      setProblem(asProblem(thrown));
    }
  };
  return (
    <>
      <form
        className="row"
        onSubmit={(event) => {
          event.preventDefault();
          void load();
        }}
      >
        <label htmlFor="example-row">Test row</label>
        <input
          id="example-row"
          type="number"
          min={0}
          step={1}
          required
          value={row}
          onChange={(event) => setRow(event.target.valueAsNumber)}
        />
        <button type="submit" className="secondary">
          Load example row
        </button>
        <output className="quiet">{loaded && `Row ${loaded.row}: its label is ${loaded.label}.`}</output>
      </form>
      {problem && <ProblemNote problem={problem} />}
    </>
  );
}
