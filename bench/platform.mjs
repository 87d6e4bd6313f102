// A server on an empty data folder with one organisation, for benchmarks that bring models of their own.
import { Commonwatt } from '@commonwatt/client';
import { startProgram } from './servers.mjs';

/** `folder` and `apiKey`: those of an earlier start; `prefix`: see `startProgram`. */
export async function startPlatform({ apiKey, ...options } = {}) {
  const program = await startProgram(['up', '--json'], options, (text) =>
    text.includes('\n}\n') ? JSON.parse(text) : undefined,
  );
  const { told, folder, pid, readyMs, stop } = program;
  const { baseUrl, operatorKey } = told;
  const key = apiKey ?? (await organise(baseUrl, operatorKey));
  const client = new Commonwatt({ baseUrl, apiKey: key });
  return { baseUrl, readyMs, folder, apiKey: key, operatorKey, pid, client, stop };
}

async function organise(baseUrl, operatorKey) {
  const operator = new Commonwatt({ baseUrl, apiKey: operatorKey });
  const { admin } = await operator.organisations.create({ name: 'acme', admin: 'ada' });
  return admin.apiKey;
}

/** One row of ones as binary tensor data, which costs the client next to nothing whatever the width. */
export async function inferOnes({ baseUrl, apiKey }, model, columns) {
  const data = Buffer.from(new Float32Array(columns).fill(1).buffer);
  const head = JSON.stringify({
    inputs: [
      { name: 'input', shape: [1, columns], datatype: 'FP32', parameters: { binary_data_size: data.length } },
    ],
  });
  const response = await fetch(`${baseUrl}/v2/models/${model.replace('/', '--')}/infer`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(Buffer.byteLength(head)),
    },
    body: Buffer.concat([Buffer.from(head), data]),
  });
  const answer = await response.arrayBuffer();
  if (response.status !== 200)
    throw new Error(`${model} answered ${response.status}: ${Buffer.from(answer)}`);
  return answer.byteLength;
}
