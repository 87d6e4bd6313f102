/** The impact card as Hugging Face's model cards have it: `co2_eq_emissions` in front, and Markdown for people. */
import { stringify } from 'yaml';
import type { ImpactCard, InferenceUse, Training } from './card.ts';

/** Fields of https://huggingface.co/docs/hub/model-cards-co2: emissions are grams, of the training. */
export function emissionsOf({ training }: Pick<ImpactCard, 'training'>) {
  if (!training) return null;
  return {
    emissions: training.used.carbonGCo2e,
    source: `Commonwatt, ${training.quality} by ${training.method}, method version ${training.methodVersion}`,
    training_type: 'pre-training',
    geographical_location: training.zone,
    hardware_used: training.hardware,
  };
}

export function cardMarkdown(card: ImpactCard): string {
  const emissions = emissionsOf(card);
  const front = emissions
    ? `---\n${stringify({ co2_eq_emissions: emissions }, { lineWidth: 0 })}---\n\n`
    : '';
  const lines = [
    `# Environmental impact of ${text(card.model)}, version ${card.version}`,
    '',
    `Artifact \`sha256:${card.sha256}\`; as of ${card.asOf}.`,
    '',
    '## Training',
    '',
    ...(card.training ? trainingLines(card.training) : [sentence(card.unknown.training)]),
    '',
    '## Inference',
    '',
    ...(card.inference ? inferenceLines(card.inference) : [sentence(card.unknown.inference)]),
    '',
    '## Notes',
    '',
    ...Object.entries(card.unknown).map(([field, why]) => `- Not known: ${field}: ${text(why)}.`),
    ...card.notes.map((note) => `- ${sentence(note)}`),
    '- How every figure comes about: docs/accounting.md of Commonwatt; `commonwatt calc --list` computes each formula.',
  ];
  return `${front}${lines.join('\n')}\n`;
}

function trainingLines({ used, allocated, waterL, ...training }: Training): string[] {
  return [
    ...rows([
      ['Energy', `${number(used.energyWh)} Wh`],
      ['Carbon of electricity', `${number(used.carbonGCo2e)} gCO2e`],
      ['Embodied carbon of hardware', `${number(used.embodiedGCo2e)} gCO2e`],
      ['Reserved for it', allocated === null ? 'not known' : `${number(allocated.energyWh)} Wh`],
      ['Water', waterL === null ? 'not known' : `${number(waterL)} L`],
      ['Grid', `${training.zone}, ${number(training.gPerKwh)} gCO2e/kWh`],
      ['Hardware', training.hardware],
    ]),
    '',
    known(training),
  ];
}

function inferenceLines({ perRequest, perRequestAllocated, whPerRequest, ...use }: InferenceUse): string[] {
  return [
    ...rows([
      ['Energy of a request, mean', `${number(perRequest?.energyWh)} Wh`],
      ['… half of them up to', `${number(whPerRequest?.p50)} Wh`],
      ['… 90 % of them up to', `${number(whPerRequest?.p90)} Wh`],
      ['… 99 % of them up to', `${number(whPerRequest?.p99)} Wh`],
      ['… with all that is reserved for the model', `${number(perRequestAllocated?.energyWh)} Wh`],
      ['Carbon of a request, mean', `${number(perRequest?.carbonGCo2e)} gCO2e`],
      ['Embodied carbon of a request, mean', `${number(perRequest?.embodiedGCo2e)} gCO2e`],
      ...(use.requests === null ? [] : [['Requests', String(use.requests)]]),
      ['Time', `${use.from} to ${use.to}`],
    ]),
    '',
    `${known(use)} ${use.settled === true ? 'The energy per request has settled.' : 'The energy per request has not settled yet.'}`,
  ];
}

function known({ quality, method, methodVersion }: Pick<Training, 'quality' | 'method' | 'methodVersion'>) {
  return `How it is known: ${quality} by ${method}, method version ${methodVersion}.`;
}

function rows(cells: string[][]): string[] {
  return ['| | |', '|---|---|', ...cells.map((row) => `| ${row.map(text).join(' | ')} |`)];
}

const number = (value: number | null | undefined) =>
  value === null || value === undefined ? 'unknown ·' : String(Number(value.toPrecision(4)));
const sentence = (why = '') => `${text(why.charAt(0).toUpperCase() + why.slice(1))}.`;
/** No Markdown and no HTML in what others named. */
const text = (value: string) => value.replace(/[\\`*_[\]<>|#]/g, '\\$&').replaceAll('\n', ' ');
