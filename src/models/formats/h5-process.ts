/**
 * A worker thread for one HDF5 file, seen from the server: bounded memory, a deadline, and gone afterwards.
 */
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';

export interface H5Plan {
  groups: string[];
  datasets: { path: string; data: Float32Array; shape: number[] }[];
  attributes: { path: string; name: string; value: string | string[] }[];
}

export type H5Call =
  | { kind: 'open'; bytes: ArrayBuffer }
  | { kind: 'tensors'; wanted: { path: string; shape: number[] }[] }
  | { kind: 'write'; plan: H5Plan };

export interface H5Description {
  modelConfig: string | undefined;
  kerasVersion: string | undefined;
  /** Layers that are stored, in order, with their weights in order. */
  weightNames: [string, string[]][];
}

export interface H5Tensor {
  data: Float32Array;
  /** No NaN, no infinity; looked at in the worker, since there may be many millions. */
  finite: boolean;
}

export interface H5ProcessLimits {
  /** For the library's own memory, bytes; the file and its weights are counted on top by the caller. */
  maxWasmBytes: number;
  deadlineMs: number;
}

const replySchema = z.union([
  z.object({ id: z.number(), error: z.string() }),
  z.object({ id: z.number(), value: z.unknown() }),
]);
const tensorsSchema = z.array(z.object({ data: z.instanceof(Float32Array), finite: z.boolean() }));
const descriptionSchema = z.object({
  modelConfig: z.string().optional(),
  kerasVersion: z.string().optional(),
  weightNames: z.array(z.tuple([z.string(), z.array(z.string())])),
});

/** Files read at the same time; the others wait, so that memory is bounded for any number of uploads. */
const maxWorkers = 2;
let working = 0;
const waiting: (() => void)[] = [];

/** Runs `work` with a worker of its own, which is gone when this returns. */
export async function withH5<T>(
  limits: H5ProcessLimits,
  work: (process: H5Process) => Promise<T>,
): Promise<T> {
  if (working < maxWorkers) working++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  const process = new H5Process(limits);
  try {
    return await work(process);
  } finally {
    await process.close();
    // The place goes straight to the next one.
    const next = waiting.shift();
    if (next) next();
    else working--;
  }
}

export class H5Process {
  readonly #worker: Worker;
  readonly #deadline: NodeJS.Timeout;
  readonly #pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #failure: CommonwattError | undefined;
  #nextId = 1;

  constructor(limits: H5ProcessLimits) {
    this.#worker = new Worker(new URL('./h5-worker.mjs', import.meta.url), {
      workerData: { maxWasmBytes: limits.maxWasmBytes },
      resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 },
      // The library explains its errors on the console; ours are in the answer.
      stdout: true,
      stderr: true,
      execArgv: [],
      env: {},
    });
    this.#worker.stdout.resume();
    this.#worker.stderr.resume();
    this.#worker.on('message', (message: unknown) => this.#settle(message));
    this.#worker.on('error', (cause) => this.#fail(broken(cause)));
    this.#worker.on('exit', () => this.#fail(damaged('the reader ended early')));
    this.#deadline = setTimeout(() => {
      this.#fail(damaged(`reading it takes longer than ${limits.deadlineMs} ms`));
      void this.#worker.terminate();
    }, limits.deadlineMs);
  }

  /** The bytes are copied: the caller's stay as they are. Throws CORRUPT_MODEL. */
  async open(bytes: Uint8Array): Promise<H5Description> {
    const copy = new Uint8Array(bytes).buffer;
    const value = descriptionSchema.parse(await this.#call({ kind: 'open', bytes: copy }, [copy]));
    return {
      modelConfig: value.modelConfig,
      kerasVersion: value.kerasVersion,
      weightNames: value.weightNames,
    };
  }

  /** Reads float32 data sets of exactly these shapes. Throws CORRUPT_MODEL. */
  async tensors(wanted: { path: string; shape: number[] }[]): Promise<H5Tensor[]> {
    return tensorsSchema.parse(await this.#call({ kind: 'tensors', wanted }, []));
  }

  /** Throws INTERNAL: the plan is ours, so a failure is not the user's. */
  async write(plan: H5Plan): Promise<Uint8Array> {
    try {
      return z.instanceof(Uint8Array).parse(await this.#call({ kind: 'write', plan }, []));
    } catch (cause) {
      throw new CommonwattError('INTERNAL', 'the Keras file could not be written', { cause });
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#deadline);
    await this.#worker.terminate();
  }

  #call(call: H5Call, transfer: ArrayBuffer[]): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, call }, transfer);
    });
  }

  #settle(message: unknown): void {
    const reply = replySchema.parse(message);
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if ('error' in reply) pending?.reject(damaged(firstLine(reply.error)));
    else pending?.resolve(reply.value);
  }

  #fail(error: CommonwattError): void {
    this.#failure ??= error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

function firstLine(text: string): string {
  return (text.split('\n').find((line) => line.trim() !== '') ?? 'unreadable').trim().slice(0, 200);
}

function broken(cause: unknown): CommonwattError {
  // The library itself is not there: no fault of the file.
  if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_MODULE_NOT_FOUND')
    return new CommonwattError('INTERNAL', 'the HDF5 library is not installed', {
      hint: 'install the packages again with npm ci',
      cause,
    });
  return damaged('its structure breaks the reader', cause);
}

function damaged(message: string, cause?: unknown): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the HDF5 file cannot be read: ${message}`, {
    where: 'file',
    hint: 'save the model again with model.save("model.h5")',
    cause,
  });
}
