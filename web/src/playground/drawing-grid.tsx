import { type KeyboardEvent, type PointerEvent, useRef, useState } from 'react';
import { percent } from '../format.ts';
import { blank, cellsByRow, type Drawing, erase, type Place, side, stroke, toggle } from './brush.ts';

const moves: Record<string, (index: number) => number> = {
  ArrowLeft: (index) => (index % side === 0 ? index : index - 1),
  ArrowRight: (index) => (index % side === side - 1 ? index : index + 1),
  ArrowUp: (index) => (index < side ? index : index - side),
  ArrowDown: (index) => (index >= side * (side - 1) ? index : index + side),
  Home: (index) => index - (index % side),
  End: (index) => index - (index % side) + side - 1,
};

/** The drawing: by pointer with a soft brush, or by keyboard (arrows, space, Delete). */
export function DrawingGrid(props: {
  drawing: Drawing;
  onDraw: (change: (before: Drawing) => Drawing) => void;
}) {
  const grid = useRef<HTMLFieldSetElement>(null);
  const [active, setActive] = useState(0);
  const lastPlace = useRef<Place | null>(null);

  const placeOf = (event: PointerEvent): Place => {
    const box = event.currentTarget.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * side,
      y: ((event.clientY - box.top) / box.height) * side,
    };
  };
  const drawTo = (event: PointerEvent) => {
    const place = placeOf(event);
    const from = lastPlace.current ?? place;
    lastPlace.current = place;
    props.onDraw((before) => stroke(before, from, place));
  };
  const lift = () => {
    lastPlace.current = null;
  };
  const focusCell = (index: number) => {
    setActive(index);
    grid.current?.querySelector<HTMLElement>(`[data-cell="${index}"]`)?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const move = moves[event.key];
    if (move) focusCell(move(active));
    else if (event.key === 'Delete' || event.key === 'Backspace')
      props.onDraw((before) => erase(before, active));
    else if (event.key === 'Escape') props.onDraw(() => blank);
    else return;
    event.preventDefault();
  };

  return (
    <fieldset
      ref={grid}
      className="drawing"
      aria-describedby="drawing-help"
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        drawTo(event);
      }}
      onPointerMove={(event) => lastPlace.current && drawTo(event)}
      onPointerUp={lift}
      onPointerCancel={lift}
    >
      <legend className="heard">Drawing, 10 by 10 cells</legend>
      {cellsByRow.map(({ row, cells }) =>
        cells.map(({ index, column }) => (
          <Cell
            key={index}
            index={index}
            ink={props.drawing[index] ?? 0}
            place={`row ${row}, column ${column}`}
            reachable={index === active}
            onReach={setActive}
            onToggle={(cell) => props.onDraw((before) => toggle(before, cell))}
          />
        )),
      )}
    </fieldset>
  );
}

function Cell(props: {
  index: number;
  ink: number;
  place: string;
  /** One cell takes part in the Tab order; arrows reach the others. */
  reachable: boolean;
  onReach: (index: number) => void;
  onToggle: (index: number) => void;
}) {
  return (
    <button
      type="button"
      className="drawing-cell"
      data-cell={props.index}
      tabIndex={props.reachable ? 0 : -1}
      aria-pressed={props.ink > 0.5}
      aria-label={`${props.place}: ${props.ink === 0 ? 'empty' : `${percent(props.ink)} ink`}`}
      onFocus={() => props.onReach(props.index)}
      // A click without a pointer: space, Enter, or a screen reader. The pointer draws by moving.
      onClick={(event) => event.detail === 0 && props.onToggle(props.index)}
    >
      <span style={{ opacity: props.ink }} />
    </button>
  );
}
