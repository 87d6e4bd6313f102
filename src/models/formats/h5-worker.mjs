// @ts-check
/**
 * The only place where the HDF5 library touches a file: a worker thread with its own memory, which its parent
 * (`h5-process.ts`) ends as soon as the answer is there or the deadline has passed. Plain JavaScript, because a
 * worker cannot load TypeScript on Node 20. The browser build is used on purpose: its files are in memory, so
 * nothing in a hostile file can name a file of this machine.
 */
import { parentPort, workerData } from 'node:worker_threads';

/** @typedef {import('./h5-process.ts').H5Call} H5Call */
/** @typedef {import('./h5-process.ts').H5Plan} H5Plan */

const port = parentPort;
if (!port) throw new Error('h5-worker runs in a worker thread');

// Resource limits of a worker cover JavaScript only; WebAssembly grows through this one door.
// (Node's types do not declare it.)
/** @type {{ grow(this: { buffer: ArrayBuffer }, pages: number): number }} */
const memory = Reflect.get(globalThis, 'WebAssembly').Memory.prototype;
const grow = memory.grow;
memory.grow = function bounded(pages) {
  if (this.buffer.byteLength + pages * 65536 > workerData.maxWasmBytes) throw new RangeError('memory limit');
  return grow.call(this, pages);
};

const { default: h5 } = await import('h5wasm');
const library = await h5.ready;
library.activate_throwing_error_handler();

/**
 * The library keeps the very bytes it is given, instead of a copy (an option its types leave out).
 * @type {{ flags?: string, canOwn: boolean }}
 */
const owned = { canOwn: true };

/** @type {InstanceType<typeof h5.File> | undefined} */
let file;

port.on('message', (/** @type {{ id: number, call: H5Call }} */ { id, call }) => {
  try {
    const { value, transfer } = run(call);
    port.postMessage({ id, value }, transfer);
  } catch (error) {
    port.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});

/**
 * @param {H5Call} call
 * @returns {{ value: unknown, transfer: ArrayBuffer[] }}
 */
function run(call) {
  switch (call.kind) {
    case 'open':
      library.FS.writeFile('model.h5', new Uint8Array(call.bytes), owned);
      file = new h5.File('model.h5', 'r');
      return { value: describe(file), transfer: [] };
    case 'tensors':
      return tensors(call.wanted);
    case 'write':
      return write(call.plan);
  }
}

/** @param {InstanceType<typeof h5.File>} root */
function describe(root) {
  const weights = root.get('model_weights');
  const group = weights instanceof h5.Group ? weights : root;
  const layerNames = names(group, 'layer_names');
  /** @type {[string, string[]][]} */
  const weightNames = [];
  for (const layer of layerNames) {
    const entry = group.get(layer);
    weightNames.push([layer, entry instanceof h5.Group ? names(entry, 'weight_names') : []]);
  }
  return {
    modelConfig: text(root, 'model_config'),
    kerasVersion: text(root, 'keras_version') ?? text(group, 'keras_version'),
    weightNames,
  };
}

/**
 * @param {{ attrs: Record<string, { value: unknown }> }} owner
 * @param {string} name
 */
function text(owner, name) {
  const value = owner.attrs[name]?.value;
  return typeof value === 'string' ? value : undefined;
}

/**
 * A list of names; Keras cuts a list that is longer than 64 kB into name0, name1, …
 * @param {{ attrs: Record<string, { value: unknown }> }} owner
 * @param {string} name
 * @returns {string[]}
 */
function names(owner, name) {
  const attrs = owner.attrs;
  /** @type {string[]} */
  const all = [];
  for (let part = -1; ; part++) {
    const value = attrs[part < 0 ? name : `${name}${part}`]?.value;
    if (value === undefined && part >= 0) return all;
    if (Array.isArray(value)) for (const item of value) all.push(String(item));
    if (all.length > 100_000) throw new Error(`${name} has more than 100000 entries`);
  }
}

/** @param {{ path: string, shape: number[] }[]} wanted */
function tensors(wanted) {
  if (!file) throw new Error('no file is open');
  /** @type {{ data: Float32Array, finite: boolean }[]} */
  const value = [];
  /** @type {ArrayBuffer[]} */
  const transfer = [];
  for (const { path, shape } of wanted) {
    const dataset = file.get(path);
    if (!(dataset instanceof h5.Dataset)) throw new Error(`${path} is not a data set`);
    const { type, size, littleEndian, shape: found } = dataset.metadata;
    if (type !== 1 || size !== 4 || !littleEndian || found?.join() !== shape.join())
      throw new Error(`${path} is not float32 of shape [${shape.join(', ')}]`);
    const data = dataset.value;
    if (!(data instanceof Float32Array)) throw new Error(`${path} did not give float32`);
    const own = new Float32Array(data);
    value.push({ data: own, finite: own.every(Number.isFinite) });
    transfer.push(own.buffer);
  }
  return { value, transfer };
}

/** @param {H5Plan} plan */
function write(plan) {
  // The oldest form, which is h5py's default and so Keras's. The library's own would put a group of more than eight
  // entries into a fractal heap, which our bounded reader refuses.
  const out = new h5.File('out.h5', 'w', { libver: ['earliest', 'latest'] });
  for (const path of plan.groups) out.create_group(path);
  for (const { path, data, shape } of plan.datasets)
    out.create_dataset({ name: path, data, shape, dtype: '<f4' });
  for (const { path, name, value } of plan.attributes) {
    const owner = path === '/' ? out : out.get(path);
    if (!(owner instanceof h5.Group)) throw new Error(`${path} is not a group`);
    // An empty list is what numpy makes of [], float64 of length 0: so does Keras.
    if (Array.isArray(value) && value.length === 0)
      owner.create_attribute(name, new Float64Array(0), [0], '<f8');
    else owner.create_attribute(name, value);
  }
  out.flush();
  out.close();
  const bytes = Uint8Array.from(library.FS.readFile('out.h5'));
  return { value: bytes, transfer: [bytes.buffer] };
}
