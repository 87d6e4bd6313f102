/**
 * Artifacts are read in a process of their own, one at a time: requests are answered meanwhile, and a hostile file
 * takes neither the gateway's time nor its memory. A thread would not do: its bound of memory is a request, and an
 * array that breaks it ends the whole process (seen on Node 20).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CommonwattError, type ErrorCode, isErrorCode } from '../../errors.ts';
import { datatypes } from '../../runtimes/tensor.ts';
import { endingWithUs } from '../../serve/runner/orphan.ts';
import { residentBytesOf } from '../../serve/runner/resident.ts';
import type { InspectedArtifact } from '../registry.ts';
import type { FormatLimits } from './formats.ts';
import { receiveFrame, sendFrame } from './import-frames.ts';
import { computedMsOf } from './import-time.ts';

/** A TypeScript child cannot be started on Node 20: from the sources (tests), the built one is used. */
const entry = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../../dist/models/formats/import-main.js', import.meta.url)
    : new URL('./import-main.js', import.meta.url),
);

export interface ImportLimits {
  /** For objects; the bytes of the artifact and of its ONNX form are not among them. */
  heapMb: number;
  /** Of the whole process, looked at ten times a second. */
  residentBytes: number;
  /** Of computing, where the system tells it: a busy machine is no fault of the file. */
  deadlineMs: number;
  formats: Partial<FormatLimits>;
}

const replySchema = z.union([
  z.object({
    format: z.enum(['keras-h5', 'keras', 'tfjs-layers', 'onnx', 'pipeline', 'ensemble']),
    signature: z.object({
      inputs: z.array(specSchema()),
      outputs: z.array(specSchema()),
      deterministic: z.literal(false).optional(),
    }),
    /** The ONNX form is this piece of the artifact; without it, it comes as the frame's bytes. */
    at: z.object({ start: z.int().min(0), length: z.int().min(0) }).optional(),
  }),
  z.object({
    error: z.object({
      code: z.custom<ErrorCode>((code) => typeof code === 'string' && isErrorCode(code)),
      message: z.string(),
      where: z.string().optional(),
      hint: z.string().optional(),
    }),
  }),
  /** Nothing that a file should be able to cause. */
  z.object({ fault: z.object({ name: z.string(), message: z.string(), stack: z.string().optional() }) }),
]);
export type ImportReply = z.input<typeof replySchema>;

interface Answer {
  reply: z.output<typeof replySchema>;
  onnx: Buffer;
}

function specSchema() {
  return z.object({ name: z.string(), datatype: z.enum(datatypes), shape: z.array(z.number()) });
}

const maxOnnxBytes = 2 ** 32;
const lookMs = 100;
/** By the clock it may take so many times as long as it may compute. */
const busyTimes = 10;
const lastWordsBytes = 8192;
/** Each of them holds its artifact in memory. */
const maxWaiting = 32;
/** The process takes a fifth of a second to start; after a large artifact its memory goes back at once. */
const idleMs = 10_000;
const keptAfterBytes = 4 * 1024 * 1024;
let idle: Reader | undefined;
let ending: NodeJS.Timeout | undefined;
let reading = false;
const waiting: (() => void)[] = [];
const living = new Set<Reader>();
/** Of those that have ended. */
let endedMs = 0;

/** What all import processes have computed since this one began, CPU·s; 0 where the system does not tell. */
export function importCpuS(): number {
  let computedMs = endedMs;
  for (const reader of living) computedMs += reader.computedMs();
  return computedMs / 1000;
}

/** Throws what `inspectArtifact` throws, and OVERLOADED when too many wait for their turn. */
export async function inspectApart(
  bytes: Buffer,
  limits: Partial<ImportLimits> = {},
): Promise<InspectedArtifact> {
  await myTurn();
  try {
    return await readApart(bytes, { ...limitsFor(bytes.length), ...limits });
  } finally {
    const next = waiting.shift();
    if (next) next();
    else reading = false;
  }
}

async function myTurn(): Promise<void> {
  if (waiting.length >= maxWaiting)
    throw new CommonwattError('OVERLOADED', `${maxWaiting} imports wait already`, {
      hint: 'import it again in a while',
      retryAfterS: 30,
    });
  if (reading) await new Promise<void>((resolve) => waiting.push(resolve));
  reading = true;
}

/** Reading 200 MB takes some seconds; it is in memory up to four times. */
function limitsFor(size: number): ImportLimits {
  const deadlineMs = 60_000 + size / 4000;
  return {
    heapMb: 1024,
    residentBytes: 1.5 * 2 ** 30 + 6 * size,
    deadlineMs,
    // Parts of it go by the clock.
    formats: { deadlineMs: busyTimes * deadlineMs },
  };
}

async function readApart(bytes: Buffer, limits: ImportLimits): Promise<InspectedArtifact> {
  const reader = takeReader(limits.heapMb);
  reader.guard(limits);
  const answer = await answerOf(reader, bytes, limits).catch((error: unknown) => {
    reader.end();
    throw error;
  });
  if (bytes.length > keptAfterBytes) reader.end();
  else keep(reader);
  return understood(answer, bytes);
}

async function answerOf(reader: Reader, bytes: Buffer, limits: ImportLimits): Promise<Answer> {
  try {
    sendFrame(reader.socket, limits.formats, bytes);
    const frame = await receiveFrame(reader.socket, maxOnnxBytes);
    if (frame) return { reply: replySchema.parse(frame.head), onnx: frame.bytes };
    throw new Error('it ended');
  } catch (cause) {
    throw await reader.verdict(cause);
  }
}

/** One that has just read another small artifact, or a new one. */
function takeReader(heapMb: number): Reader {
  const kept = idle;
  idle = undefined;
  clearTimeout(ending);
  if (kept?.alive && kept.heapMb === heapMb) return kept;
  kept?.end();
  return new Reader(heapMb);
}

function keep(reader: Reader): void {
  reader.rest();
  idle = reader;
  ending = setTimeout(() => {
    idle = undefined;
    reader.end();
  }, idleMs).unref();
}

function understood({ reply, onnx }: Answer, artifact: Buffer): InspectedArtifact {
  if ('error' in reply) {
    const { code, message, where, hint } = reply.error;
    throw new CommonwattError(code, message, {
      ...(where === undefined ? {} : { where }),
      ...(hint === undefined ? {} : { hint }),
    });
  }
  if ('fault' in reply) throw faulty(reply.fault);
  const { format, at } = reply;
  const { inputs, outputs, deterministic } = reply.signature;
  const signature = { inputs, outputs, ...(deterministic === undefined ? {} : { deterministic }) };
  const whole = at?.start === 0 && at.length === artifact.length;
  if (whole) return { format, signature, onnx: artifact };
  return { format, signature, onnx: at ? artifact.subarray(at.start, at.start + at.length) : onnx };
}

function faulty({ name, message, stack }: { name: string; message: string; stack?: string | undefined }) {
  if (/allocation failed|Invalid (typed )?array (buffer )?length/i.test(message)) return tooMuch(message);
  if (/call stack/i.test(message)) return broken('it is nested too deeply');
  const cause = Object.assign(new Error(message), { name, stack });
  return new CommonwattError('INTERNAL', 'the artifact could not be read', { cause });
}

/** One child process, from its start to its end. */
class Reader {
  readonly heapMb: number;
  readonly socket: Socket;
  readonly #child: ChildProcess;
  readonly #exited: Promise<NodeJS.Signals | null>;
  alive = true;
  #look: NodeJS.Timeout | undefined;
  /** Why we ended it. */
  #ended: CommonwattError | undefined;
  #lastWords = '';
  #computedMs = 0;

  constructor(heapMb: number) {
    this.heapMb = heapMb;
    const options = [`--max-old-space-size=${heapMb}`, '--max-semi-space-size=16', '--expose-gc'];
    const [command, args] = endingWithUs(process.execPath, [...options, entry]);
    // Of the environment it gets what finds programs, and no secret.
    const env = Object.fromEntries(['PATH', 'SystemRoot'].map((name) => [name, process.env[name]]));
    this.#child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], env });
    const socket = this.#child.stdio[3];
    if (!(socket instanceof Socket)) throw new TypeError('the process has no socket');
    this.socket = socket;
    living.add(this);
    socket.on('error', () => {});
    this.#child.stderr?.on('data', (text: Buffer) => {
      this.#lastWords = (this.#lastWords + text.toString('latin1')).slice(-lastWordsBytes);
    });
    this.#exited = new Promise((resolve) => {
      const gone = (signal: NodeJS.Signals | null) => {
        this.alive = false;
        if (living.delete(this)) endedMs += this.#computedMs;
        resolve(signal);
      };
      this.#child.on('error', (error) => {
        this.#lastWords += error.message;
        gone(null);
      });
      this.#child.on('close', (_code, signal) => gone(signal));
    });
  }

  guard(limits: ImportLimits): void {
    this.#handles('ref');
    const began = performance.now();
    const before = computedMsOf(this.#pid);
    this.#look = setInterval(() => {
      const took = performance.now() - began;
      const computed = this.#read();
      const worked = computed === undefined || before === undefined ? took : computed - before;
      const resident = residentBytesOf(this.#pid) ?? 0;
      if (worked > limits.deadlineMs)
        this.#kill(broken(`reading it takes longer than ${Math.round(limits.deadlineMs / 1000)} s`));
      else if (took > busyTimes * limits.deadlineMs) this.#kill(tooBusy());
      else if (resident > limits.residentBytes)
        this.#kill(tooMuch(`${Math.round(resident / 2 ** 20)} MiB were not enough`));
    }, lookMs);
  }

  /** As far as it can be read; what it computes after the last look before its end is not known. */
  computedMs(): number {
    this.#read();
    return this.#computedMs;
  }

  #read(): number | undefined {
    const computed = this.alive ? computedMsOf(this.#pid) : undefined;
    this.#computedMs = Math.max(this.#computedMs, computed ?? 0);
    return computed;
  }

  get #pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Waits for the next artifact, and keeps nobody from ending. */
  rest(): void {
    clearInterval(this.#look);
    this.#handles('unref');
  }

  #handles(change: 'ref' | 'unref'): void {
    const { stderr } = this.#child;
    for (const handle of [this.#child, this.socket, stderr instanceof Socket ? stderr : undefined])
      handle?.[change]();
  }

  /** Why there is no answer. */
  async verdict(cause: unknown): Promise<CommonwattError> {
    this.#read();
    // It may live and talk nonsense.
    this.#child.kill('SIGTERM');
    const signal = await this.#exited;
    if (this.#ended) return this.#ended;
    if (/heap out of memory|allocation failed/i.test(this.#lastWords))
      return tooMuch('its heap was full', cause);
    if (signal === 'SIGKILL') return tooBusy(cause);
    if (signal !== null && signal !== 'SIGTERM') return broken(`it breaks the reader (${signal})`, cause);
    return new CommonwattError('INTERNAL', 'the artifact could not be read', {
      cause: new Error(this.#lastWords || 'the process ended without an answer', { cause }),
    });
  }

  end(): void {
    this.rest();
    this.#read();
    this.socket.destroy();
    this.#child.kill('SIGKILL');
  }

  #kill(why: CommonwattError): void {
    this.#ended ??= why;
    this.#child.kill('SIGKILL');
  }
}

function broken(message: string, cause?: unknown): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the artifact cannot be read: ${message}`, {
    where: 'file',
    hint: 'export or save the model again',
    cause,
  });
}

/** The system has taken it for its memory, or has hardly let it compute. */
function tooBusy(cause?: unknown): CommonwattError {
  return new CommonwattError('OVERLOADED', 'the machine had no room to read the artifact', {
    hint: 'see that it has memory and processor time to spare, then import the artifact again',
    retryAfterS: 30,
    cause,
  });
}

function tooMuch(message: string, cause?: unknown): CommonwattError {
  return new CommonwattError('PAYLOAD_TOO_LARGE', `reading the artifact takes too much memory: ${message}`, {
    where: 'file',
    hint: 'store weights as raw data (onnx.numpy_helper.from_array does), or import a smaller model',
    cause,
  });
}
