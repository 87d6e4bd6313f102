/** The forms of a footprint as text: headers, fields of a JSON object, the comment of a stream. */
import { impactText } from '../footprint.ts';
import { greenPtImpact, knownFigures, neuralwattEnergy, openGateImpacts, serverTiming } from './figures.ts';
import type { Answered, Forms } from './forms.ts';

/** Adds name, value, name, value, … */
export function pushFormHeaders(headers: string[], answered: Answered, forms: Forms): void {
  if (forms.timing) headers.push('server-timing', serverTiming(answered));
  if (forms.headers) {
    const { energyWh, carbonGCo2e } = impactText(answered.footprint);
    if (energyWh !== null) headers.push('x-commonwatt-energy-wh', energyWh);
    if (carbonGCo2e !== null) headers.push('x-commonwatt-carbon-gco2e', carbonGCo2e);
  }
  if (forms.greenjoules) pushGreenJoules(headers, answered);
  if ((forms.headers || forms.greenjoules) && !forms.impact) pushReasons(headers, answered);
}

function pushGreenJoules(headers: string[], { footprint }: Answered): void {
  const { energyJ, carbonG } = knownFigures(footprint);
  if (energyJ !== null) headers.push('x-energy-joules', String(energyJ), 'x-energy-method', footprint.method);
  if (carbonG !== null) headers.push('x-carbon-mg', String(carbonG * 1000));
}

/** Where no body says why a figure is not there, a header does. */
function pushReasons(headers: string[], { footprint }: Answered): void {
  const { energyJ, carbonG, why } = knownFigures(footprint);
  const reasons: string[] = [];
  if (energyJ === null) reasons.push(`energy; ${why.energy}`);
  if (carbonG === null) reasons.push(`carbon; ${why.carbon}`);
  if (reasons.length > 0)
    headers.push('x-commonwatt-unknown', reasons.join(', ').replace(/[^\x20-\x7e]/g, '?'));
}

/** Fields to be put behind others of a JSON object, each with a comma before it. */
export function formFields(answered: Answered, forms: Forms): string {
  let usage = forms.impact ? `"impact":${impactText(answered.footprint).json}` : '';
  if (forms.impacts)
    usage += `${usage === '' ? '' : ','}"impacts":${JSON.stringify(openGateImpacts(answered))}`;
  let fields = usage === '' ? '' : `,"usage":{${usage}}`;
  if (forms.energy) fields += `,"energy":${JSON.stringify(neuralwattEnergy(answered))}`;
  if (forms.greenpt) fields += `,"impact":${JSON.stringify(greenPtImpact(answered))}`;
  return fields;
}

/** Neuralwatt's comment, to be sent as the last thing of a stream (before `data: [DONE]` where there is one). */
export function energyComment(answered: Answered): string {
  return `: energy ${JSON.stringify(neuralwattEnergy(answered))}\n\n`;
}
