import { chance } from '../format.ts';
import type { Answer, Model } from '../server/shapes.ts';
import { Footprint } from './footprint.tsx';

/** The answer of the model: the probability that the drawn digit is even, and what the answer used. */
export function PredictionPanel({ model, answer }: { model: Model; answer: Answer | null }) {
  const probability = answer?.outputs[0]?.data[0];
  if (!answer || probability === undefined) {
    return (
      <div className="empty">
        <h3>Prediction</h3>
        <p className="quiet">Draw a digit and press Predict: is it even?</p>
      </div>
    );
  }
  const even = probability >= 0.5;
  return (
    <div className="prediction">
      <h3>Prediction</h3>
      <p className="verdict">{even ? 'even' : 'odd'}</p>
      <p>
        probability that the digit is even: <strong data-testid="probability">{chance(probability)}</strong>
      </p>
      <div className="odds" aria-hidden="true">
        <span style={{ inlineSize: `${probability * 100}%` }} />
      </div>
      <p className="odds-ends quiet" aria-hidden="true">
        <span>odd</span>
        <span>even</span>
      </p>
      <Footprint impact={answer.usage?.impact ?? null} />
      <p className="quiet">{`${model.ref}, version ${answer.model_version}`}</p>
    </div>
  );
}
