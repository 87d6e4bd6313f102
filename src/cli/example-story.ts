/** How the first example tells what an answer used, what idled, and what sharing saves. */
import { setTimeout as pause } from 'node:timers/promises';
import { Commonwatt, type ImpactReport } from '@commonwatt/client';
import type { ExampleFile } from './example-file.ts';
import { explanationLines } from './explain.ts';
import { impactLines } from './impact-report.ts';
import { showEnergy, showImpact, showPercent } from './quantities.ts';
import type { Terminal } from './terminal.ts';

const row = 7;

interface Parties {
  acme: Commonwatt;
  globex: Commonwatt;
  model: string;
  dataset: string;
}

export async function storyOfUse(
  { acme, globex, model, dataset }: Parties,
  say: (step: string, text: string) => void,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const { features, label } = await acme.datasets.row(dataset, 'test', row, { signal });
  const instance = Object.values(features);
  const answer = await globex.predict(model, [instance], { signal });
  say(
    'answer',
    `${answer.outputs[0]?.[0]?.toFixed(6)} for row ${row} (label ${label}), asked with the key of globex`,
  );
  say('', `used ${showImpact(answer.impact)}`);
  const { explanations } = await globex.explain(model, { instances: [instance] }, { signal });
  say('explain', '');
  for (const explanation of explanations)
    for (const line of explanationLines(explanation, terminal.outIsTty)) terminal.out(`${line}\n`);
  if (answer.impact?.method === 'off') {
    say('impact', 'nothing is metered, so there is no report (COMMONWATT_METER=auto meters)');
    return;
  }
  const report = await settledReport(acme, signal);
  const { split } = report;
  if (split.meterWh !== null && split.idleWh !== null && split.meterWh > 0)
    say(
      'idle',
      `${showEnergy(split.idleWh)} of ${showEnergy(split.meterWh)} metered (${showPercent(split.idleWh / split.meterWh)}) was the host waiting for work`,
    );
  for (const line of impactLines(report)) terminal.out(`${line}\n`);
}

/** Ledger entries settle when their interval closes, some seconds after the answer. */
async function settledReport(client: Commonwatt, signal: AbortSignal): Promise<ImpactReport> {
  for (let attempt = 0; ; attempt++) {
    const report = await client.impact({ groupBy: 'tenant' }, { signal });
    if (report.consumption.requests > 0 || attempt === 40) return report;
    await pause(500, undefined, { signal });
  }
}

/** Everything needed to go on from here; the same at every start. */
export async function summaryLines(example: ExampleFile, signal: AbortSignal): Promise<string[]> {
  const { baseUrl, grpcAddress, model, owner, consumer } = example;
  return [
    '',
    `endpoint   ${baseUrl}${grpcAddress ? `   gRPC ${grpcAddress}` : ''}`,
    `model      ${model}`,
    `owner      ${owner.organisation}: ${owner.apiKey}`,
    `consumer   ${consumer.organisation}: ${consumer.apiKey}`,
    `dashboard  ${baseUrl}/#key=${consumer.apiKey}`,
    `try        ${await curlLine(example, signal)}`,
    '',
  ];
}

async function curlLine({ baseUrl, model, consumer }: ExampleFile, signal: AbortSignal): Promise<string> {
  const { inputs } = await new Commonwatt({ baseUrl, apiKey: consumer.apiKey }).metadata(model, { signal });
  const input = inputs[0];
  const width = input?.shape[1] ?? 1;
  // A picture of a vertical stroke, short enough to be read on a terminal.
  const data = Array.from({ length: width }, (_, i) => (i % 10 === 4 || i % 10 === 5 ? 1 : 0));
  const body = {
    inputs: [{ name: input?.name, shape: [1, width], datatype: input?.datatype, data }],
  };
  return `curl -s ${baseUrl}/v2/models/${model}/infer -H 'Authorization: Bearer ${consumer.apiKey}' -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'`;
}
