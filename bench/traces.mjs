// What tracing costs: the product without a collector, with one request in a hundred traced, and with all of them, in
// turns on one machine. CPU seconds per 1,000 requests say it; requests/s as well where nothing else runs.
import { consumerOf, distinctRows } from './example.mjs';
import { load, median, requireWrk } from './load.mjs';
import { startCommonwatt, startScript } from './servers.mjs';

requireWrk();
const numberOf = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const rounds = numberOf('rounds', 3);
const seconds = numberOf('seconds', 5);
const connections = numberOf('connections', 16);

const collector = await startScript('./collector.mjs');
const traced = (ratio) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
  OTEL_TRACES_SAMPLER_ARG: String(ratio),
});
const variants = [
  { name: 'no collector', env: {} },
  { name: '1 % traced', env: traced(0.01) },
  { name: 'all traced', env: traced(1) },
];
const bodies = distinctRows(1000).map((data) =>
  JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data }] }),
);
const off = { COMMONWATT_CACHE_BYTES: '0' };
for (const variant of variants) {
  variant.server = await startCommonwatt({ env: { ...off, ...variant.env } });
  variant.target = await consumerOf(variant.server);
  variant.results = [];
  await load({ ...variant.target, bodies, connections, seconds: 2 });
}
for (let round = 0; round < rounds; round++) {
  for (const { target, server, results } of variants)
    results.push(await load({ ...target, bodies, connections, seconds, pids: [server.pid] }));
}
console.log('| | requests/s | p50 ms | p99 ms | CPU s per 1,000 | failed |\n|---|---|---|---|---|---|');
for (const { name, results } of variants) {
  const of = (key) => median(results.map((result) => result[key]));
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  const cpu = `${of('cpuPer1000').toFixed(4)} (${results.map(({ cpuPer1000 }) => cpuPer1000.toFixed(4)).join(', ')})`;
  console.log(
    `| ${name} | ${of('perSecond').toFixed(0)} | ${of('p50Ms').toFixed(2)} | ${of('p99Ms').toFixed(2)} | ${cpu} | ${failed} |`,
  );
}
for (const { server } of variants) await server.stop();
await collector.stop();
