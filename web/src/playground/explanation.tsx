import { chance, joulesOf, quantity, shareOf, times, whole } from '../format.ts';
import type { Explanation, Impact } from '../server/shapes.ts';
import type { Drawing } from './brush.ts';
import { Footprint } from './footprint.tsx';
import { HeatMap } from './heat-map.tsx';

/** What each cell added to the prediction or took from it, and what it cost to find out. */
export function ExplanationPanel(props: {
  drawing: Drawing;
  explanation: Explanation | null;
  predictionImpact: Impact | null;
}) {
  const { explanation } = props;
  if (!explanation) {
    return (
      <div className="empty">
        <h3>Explanation</h3>
        <p className="quiet">
          Which cells speak for even, which for odd? An explanation asks the model again and again, so it
          costs energy of its own: it is computed only when you ask.
        </p>
      </div>
    );
  }
  const sum = explanation.attributions.reduce((total, { value }) => total + value, 0);
  const ratio = shareOf(explanation.impact.energyWh, props.predictionImpact?.energyWh ?? null);
  return (
    <div className="explanation">
      <h3>Explanation</h3>
      <HeatMap drawing={props.drawing} attributions={explanation.attributions} />
      <p className="sum">
        <span>
          base value <strong>{chance(explanation.baseValue)}</strong>
        </span>
        <span>
          {sum < 0 ? '−' : '+'} cells <strong>{chance(Math.abs(sum))}</strong>
        </span>
        <span>
          = prediction <strong>{chance(explanation.prediction)}</strong>
        </span>
      </p>
      <p>
        <strong data-testid="explanation-joules">
          {quantity(joulesOf(explanation.impact.energyWh), 'J')}
        </strong>{' '}
        for {whole(explanation.modelRows)} model rows in {whole(explanation.modelCalls)} calls
        {ratio !== null && `, ${times(ratio)} times the prediction`} ({explanation.method.replace('_', ' ')})
      </p>
      <Footprint impact={explanation.impact} />
    </div>
  );
}
