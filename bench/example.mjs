// The first example as benchmarks use it: another organisation's key, and rows to send.

/** A grant with a limit nobody reaches: the quota is checked, and never refuses. */
export async function consumerOf(server) {
  const { baseUrl, model, owner, consumer } = server.example;
  const call = (path, init = {}) =>
    fetch(`${baseUrl}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${owner.apiKey}`, 'content-type': 'application/json' },
    });
  const { grants } = await (await call(`/api/v1/models/${model}/grants`)).json();
  for (const grant of grants) {
    if (!grant.revokedAt)
      await fetch(`${baseUrl}/api/v1/models/${model}/grants/${grant.id}`, {
        method: 'DELETE',
        headers: { authorization: `Bearer ${owner.apiKey}` },
      });
  }
  const granted = await call(`/api/v1/models/${model}/grants`, {
    method: 'POST',
    body: JSON.stringify({
      organisation: consumer.organisation,
      permissions: ['infer', 'explain'],
      limit: { requests: 1_000_000_000, period: 'month' },
    }),
  });
  if (!granted.ok) throw new Error(await granted.text());
  return {
    url: `${baseUrl}/v2/models/${model}/infer`,
    headers: { authorization: `Bearer ${consumer.apiKey}`, 'content-type': 'application/json' },
  };
}

/** `count` different rows of 100 numbers with three decimals, the same on every run. */
export function distinctRows(count) {
  return Array.from({ length: count }, (_, row) =>
    Array.from(
      { length: 100 },
      (_, index) => Math.round(1000 * Math.abs(Math.sin(row * 100 + index))) / 1000,
    ),
  );
}

/** The example network as its owner exports it. */
export async function exampleBytes({ example: { baseUrl, model, owner } }) {
  const answer = await fetch(`${baseUrl}/api/v1/models/${model}/versions/1/artifact?format=onnx`, {
    headers: { authorization: `Bearer ${owner.apiKey}` },
  });
  if (!answer.ok) throw new Error(await answer.text());
  return Buffer.from(await answer.arrayBuffer());
}
