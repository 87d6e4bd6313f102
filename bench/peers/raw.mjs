// The limit of a model: an onnxruntime session with one thread, run again and again on a batch of one size.
import { InferenceSession, Tensor } from 'onnxruntime-node';

const tensorTypes = { FP32: ['float32', Float32Array], INT64: ['int64', BigInt64Array] };

export async function rawSession(workload) {
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1 };
  const session = await InferenceSession.create(workload.bytes, options);
  /** Rows/s and CPU-seconds per 1,000 rows at `rows` rows a run, over about `seconds`. */
  return async function measure(rows, seconds) {
    const feeds = batchOf(workload, rows);
    await session.run(feeds);
    const cpu = process.cpuUsage();
    const began = performance.now();
    let runs = 0;
    while (performance.now() - began < seconds * 1000 || runs < 2) {
      await session.run(feeds);
      runs++;
    }
    const took = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return { perSecond: (runs * rows) / took, cpuPer1000: (user + system) / 1000 / (runs * rows) };
  };
}

/** One answer, to check those of servers against. */
export async function rawAnswer(workload) {
  const session = await InferenceSession.create(workload.bytes, { intraOpNumThreads: 1 });
  const results = await session.run(batchOf(workload, 1));
  return results[session.outputNames[0]].data;
}

/** The workload's rows one after another until the batch is full. */
function batchOf({ inputs, rows }, size) {
  return Object.fromEntries(
    inputs.map(({ name, datatype, shape }, at) => {
      const [type, Values] = tensorTypes[datatype];
      const width = shape.reduce((product, dim) => product * dim, 1);
      const values = new Values(size * width);
      for (let row = 0; row < size; row++) values.set(rows[row % rows.length][at], row * width);
      return [name, new Tensor(type, values, [size, ...shape])];
    }),
  );
}
