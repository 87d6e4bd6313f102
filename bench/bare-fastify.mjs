// The limits to compare with: the least that a server over the same protocol does. BENCH_LIMIT: echo (node:http sends the same
// reply to whatever came), reply (Fastify that parses the same body and sends the same reply), gather (Fastify that
// computes what waits in one onnxruntime batch: no keys, no limits, no ledger).
import { createServer } from 'node:http';
import Fastify from 'fastify';

const { BENCH_LIMIT: limit, BENCH_REPLY: reply, BENCH_MODEL: model } = process.env;
process.on('SIGTERM', () => process.exit(0));

if (limit === 'echo') {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(reply) };
  const server = createServer((request, response) => {
    request.on('data', () => {});
    request.on('end', () => response.writeHead(200, headers).end(reply));
  });
  server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
} else {
  const app = Fastify();
  app.post('/v2/models/:model/infer', limit === 'gather' ? await gathering() : async () => JSON.parse(reply));
  console.log(await app.listen({ host: '127.0.0.1', port: 0 }));
}

async function gathering() {
  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const waiting = [];
  let busy = false;

  async function flush() {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, 128);
      const width = batch[0].row.length;
      const rows = new Float32Array(batch.length * width);
      batch.forEach(({ row }, at) => {
        rows.set(row, at * width);
      });
      const results = await session.run({ [input]: new Tensor('float32', rows, [batch.length, width]) });
      const { data } = results[output];
      batch.forEach(({ reply }, at) => {
        const outputs = [{ name: output, datatype: 'FP32', shape: [1, 1], data: [data[at]] }];
        reply.send({ model_name: 'x', model_version: '1', outputs });
      });
    }
    busy = false;
  }

  return (request, reply) => {
    waiting.push({ row: request.body.inputs[0].data, reply });
    if (busy) return;
    busy = true;
    setImmediate(flush);
  };
}
