// The product with everything on: the model belongs to one organisation, is asked with the key of another one through a
// grant with a limit, and every request is booked in the ledger.
import { Commonwatt } from '@commonwatt/client';
import { uniqueMark } from '../load.mjs';
import { startCommonwatt } from '../servers.mjs';
import { rawAnswer } from './raw.mjs';
import { v2Binary, v2Json, withoutMark } from './workloads.mjs';

const forms = { JSON: v2Json, binary: v2Binary };

export async function startProduct(env = {}) {
  const server = await startCommonwatt({ env });
  const { baseUrl, owner } = server.example;
  return { ...server, client: new Commonwatt({ baseUrl, apiKey: owner.apiKey }) };
}

/** Imports, deploys and shares the workload's model, as `acme/<model>`; gives what `contender` needs. */
export async function serve(product, workload, settings = {}) {
  const { client, example } = product;
  const model = `acme/${workload.model}`;
  await client.versions.import(model, workload.bytes);
  await client.deployments.create({ model: `${model}:1`, settings: { pinned: true, ...settings } });
  const limit = { requests: 1_000_000_000, period: 'month' };
  await client.grants.create(model, {
    organisation: example.consumer.organisation,
    permissions: ['infer'],
    limit,
  });
  return { product, workload, name: model.replace('/', '--') };
}

/**
 * `form`: JSON or binary. Every request is computed: it is another one each time, or says that no earlier answer will do.
 */
export async function contender({ product, workload, name }, form, label = `Commonwatt, ${form}`) {
  const { baseUrl, owner, consumer } = product.example;
  const requests = workload.rows.map((row) => forms[form](workload, row));
  const url = `${baseUrl}/v2/models/${name}/infer`;
  const headers = {
    ...requests[0].headers,
    authorization: `Bearer ${consumer.apiKey}`,
    ...(requests[0].body.includes(uniqueMark) ? {} : { 'cache-control': 'no-store' }),
  };
  const first = await fetch(url, { method: 'POST', body: withoutMark(requests[0]).body, headers });
  if (!first.ok) throw new Error(await first.text());
  checkAnswer(label, workload, Buffer.from(await first.arrayBuffer()), first.headers);
  return {
    name: label,
    url,
    headers,
    bodies: requests.map(({ body }) => body),
    pids: [product.pid],
    /** Only its owner is told. */
    async statistics() {
      const options = { headers: { authorization: `Bearer ${owner.apiKey}` } };
      const { model_stats } = await (await fetch(`${baseUrl}/v2/models/${name}/stats`, options)).json();
      const { inference_count, execution_count, inference_stats } = model_stats[0];
      const hits = inference_stats.cache_hit.count;
      return { rows: inference_count, runs: execution_count, hits };
    },
  };
}

/** Whoever computes the same network gives the same answer to float32. */
export async function expectAnswers(workload) {
  workload.expected = Array.from(await rawAnswer(workload));
}

export function checkAnswer(name, { expected }, body, headers) {
  const head = Number(headers.get('inference-header-content-length') ?? 0);
  const seen = head > 0 ? new Float32Array(Uint8Array.from(body.subarray(head)).buffer) : numbersOf(body);
  const wrong = expected.findIndex(
    (value, index) => !(Math.abs(seen[index] - value) <= 1e-4 * Math.max(1, Math.abs(value))),
  );
  if (wrong >= 0) throw new Error(`${name} answers ${seen[wrong]} at ${wrong} instead of ${expected[wrong]}`);
}

function numbersOf(body) {
  const answer = JSON.parse(body.toString());
  return [answer.outputs?.[0]?.data ?? answer.outputs ?? answer].flat(3);
}
