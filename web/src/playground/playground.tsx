/**
 * The playground: a drawing goes to a model, its prediction, explanation and footprints come back.
 */
import { useEffect, useRef, useState } from 'react';
import { ProblemNote } from '../parts/problem-note.tsx';
import { asProblem, isAbort, type Problem } from '../server/problem.ts';
import type { Server } from '../server/server.ts';
import type { Answer, Explanation, Model } from '../server/shapes.ts';
import type { Polled } from '../use-polled.ts';
import { blank, type Drawing, isBlank } from './brush.ts';
import { DrawPanel } from './draw-panel.tsx';
import { ExplanationPanel } from './explanation.tsx';
import { PredictionPanel } from './prediction.tsx';
import { drawingInput, mayExplain, ownDataset, servedVersion, takesDrawings } from './served.ts';

export function PlaygroundSection(props: { server: Server; models: Polled<Model[]>; organisation: string }) {
  const usable = props.models.data?.filter(takesDrawings) ?? [];
  const [chosen, setChosen] = useState<string | null>(null);
  const model = usable.find(({ id }) => id === chosen) ?? usable[0];
  return (
    <section className="card" aria-labelledby="playground-title">
      <div className="section-head">
        <h2 id="playground-title">Playground</h2>
        {model && (
          <label className="row">
            Model
            <select value={model.id} onChange={(event) => setChosen(event.target.value)}>
              {usable.map(({ id, ref }) => (
                <option key={id} value={id}>
                  {ref}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      {!props.models.data && !props.models.problem && <p className="quiet">Loading the models…</p>}
      {props.models.data && !model && (
        <p className="quiet">
          No deployed model within your reach takes a drawing of 10 × 10 cells (100 inputs).
        </p>
      )}
      {model && (
        <Playground
          key={model.id}
          server={props.server}
          model={model}
          organisation={props.organisation}
          onUsed={props.models.reload}
        />
      )}
    </section>
  );
}

type Busy = 'predict' | 'explain' | null;

function Playground(props: {
  server: Server;
  model: Model;
  organisation: string;
  /** Called after each answer: it counted against the grant. */
  onUsed: () => void;
}) {
  const { server, model } = props;
  const version = servedVersion(model);
  const input = drawingInput(version);
  const [drawing, setDrawing] = useState<Drawing>(blank);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [explanation, setExplanation] = useState<Explanation | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState<Busy>(null);

  const inFlight = useRef<AbortController | null>(null);
  useEffect(() => () => inFlight.current?.abort(), []);

  // Another drawing has another answer: what is shown always belongs to what is drawn.
  const draw = (change: (before: Drawing) => Drawing) => {
    inFlight.current?.abort();
    setDrawing(change);
    setAnswer(null);
    setExplanation(null);
    setProblem(null);
  };
  const attempt = async (what: Busy, work: (signal: AbortSignal) => Promise<void>) => {
    // A busy button stays in reach: a disabled one would drop the keyboard's focus.
    if (busy !== null) return;
    const controller = new AbortController();
    inFlight.current = controller;
    setBusy(what);
    setProblem(null);
    try {
      await work(controller.signal);
      props.onUsed();
    } catch (thrown) {
      if (!isAbort(thrown)) setProblem(asProblem(thrown));
    }
    setBusy(null);
  };
  const predict = () =>
    attempt('predict', async (signal) => {
      if (input) setAnswer(await server.infer(model.flat, input, drawing, signal));
    });
  const explain = () =>
    attempt('explain', async (signal) => setExplanation(await server.explain(model.flat, drawing, signal)));

  return (
    <div className="playground" aria-busy={busy !== null}>
      <div>
        <DrawPanel
          server={server}
          drawing={drawing}
          dataset={ownDataset(version, props.organisation)}
          onDraw={draw}
        />
        <div className="row actions">
          <button type="button" disabled={isBlank(drawing)} aria-disabled={busy !== null} onClick={predict}>
            {busy === 'predict' ? 'Predicting…' : 'Predict'}
          </button>
          <button
            type="button"
            className="secondary"
            disabled={answer === null || !mayExplain(model)}
            aria-disabled={busy !== null}
            onClick={explain}
          >
            {busy === 'explain' ? 'Explaining…' : 'Explain'}
          </button>
        </div>
        {!mayExplain(model) && <p className="quiet">The grant does not include explanations.</p>}
      </div>
      <div aria-live="polite">
        {problem && <ProblemNote problem={problem} />}
        <PredictionPanel model={model} answer={answer} />
      </div>
      <div aria-live="polite">
        <ExplanationPanel
          drawing={drawing}
          explanation={explanation}
          predictionImpact={answer?.usage?.impact ?? null}
        />
      </div>
    </div>
  );
}
