// Triton's own load generator against the product, over every door that it speaks: does it work, unmodified?
//   COMMONWATT_PERF_ANALYZER=/path/to/perf_analyzer node bench/perf-analyzer.mjs [--seconds 3] [--concurrency 4]
// It comes with the PyPI package perf-analyzer (2.60.0: 7 MB, needs glibc 2.38, as Ubuntu 24.04 and Debian 13 have).
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { startCommonwatt } from './servers.mjs';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, concurrency: { type: 'string', default: '4' } },
});
const command = process.env.COMMONWATT_PERF_ANALYZER ?? 'perf_analyzer';
const server = await startCommonwatt();
// The owner's key: perf_analyzer asks for the statistics of the model, too, which are its owner's.
const { grpcAddress, baseUrl, model, owner } = server.example;
const http = new URL(baseUrl).host;
const doors = {
  'gRPC, one call after another': ['-i', 'grpc', '-u', grpcAddress],
  'gRPC, asynchronous': ['-i', 'grpc', '-u', grpcAddress, '--async'],
  'gRPC, one stream': ['-i', 'grpc', '-u', grpcAddress, '--async', '--streaming'],
  'HTTP, one call after another': ['-i', 'http', '-u', http],
  'HTTP, asynchronous': ['-i', 'http', '-u', http, '--async'],
};
let failed = 0;
console.log('| door | inferences/s | p50 µs | p99 µs |\n|---|---|---|---|');
for (const [name, args] of Object.entries(doors)) {
  const { status, stdout, stderr, error } = spawnSync(
    command,
    [
      // No space after the colon: over gRPC it would belong to the value, and HTTP/2 drops a header that begins so.
      ...['-m', model, '-b', '1', '-H', `authorization:Bearer ${owner.apiKey}`, ...args],
      ...['--concurrency-range', values.concurrency, '--measurement-interval', `${values.seconds}000`],
      // What is asked here is whether it works: a busy machine need not hold still for it.
      ...['--stability-percentage', '1000', '--max-trials', '5'],
    ],
    { encoding: 'utf8' },
  );
  if (error) throw error;
  const figure = (pattern) => pattern.exec(stdout)?.[1] ?? '–';
  if (status !== 0) {
    failed += 1;
    console.error(`${name}: perf_analyzer ended with ${status}\n${stdout}${stderr}`);
  }
  console.log(
    `| ${name} | ${figure(/Throughput: ([\d.]+)/)} | ${figure(/p50 latency: (\d+)/)} | ${figure(/p99 latency: (\d+)/)} |`,
  );
}
await server.stop();
process.exitCode = failed > 0 ? 1 : 0;
