/**
 * The process that reads artifacts for the gateway (`import-process.ts`), one after another: it gets the bytes over
 * the socket at file descriptor 3, answers with what they are, and ends when the gateway does. What a hostile file can
 * do to it, it does to nobody else.
 */
import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { setPriority } from 'node:os';
import { CommonwattError } from '../../errors.ts';
import { endWithParent } from '../../serve/runner/orphan.ts';
import type { ModelSignature } from '../models.ts';
import { type FormatLimits, inspectArtifact } from './formats.ts';
import { type ImportFrame, receiveFrame, sendFrame } from './import-frames.ts';
import type { ImportReply } from './import-process.ts';

/** With a large artifact it works behind whoever serves requests; with a small one it is done before that matters. */
const niceness = 5;
const largeBytes = 4 * 1024 * 1024;
const maxSignature = 1024 * 1024;

/** When the machine runs out of memory, this process goes, not the gateway or a runner. */
function goFirst(): void {
  if (process.platform !== 'linux') return;
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000');
  } catch {
    // Then the system chooses.
  }
}

async function read(bytes: Buffer, limits: Partial<FormatLimits>): Promise<[ImportReply, Uint8Array]> {
  const { format, signature, onnx } = await inspectArtifact(bytes, limits);
  checkLength(signature);
  // The gateway has the artifact: what is a piece of it need not go back.
  const within = onnx.buffer === bytes.buffer && onnx.byteOffset >= bytes.byteOffset;
  const at = within ? { start: onnx.byteOffset - bytes.byteOffset, length: onnx.length } : undefined;
  return [{ format, signature, at }, at ? new Uint8Array() : onnx];
}

function checkLength(signature: ModelSignature): void {
  const { length } = JSON.stringify(signature);
  if (length > maxSignature)
    throw new CommonwattError(
      'PAYLOAD_TOO_LARGE',
      `the names and shapes of its ${signature.inputs.length} inputs and ${signature.outputs.length} outputs take ${length} characters; at most ${maxSignature} are kept`,
      { where: 'inputs', hint: 'give the model fewer inputs and outputs' },
    );
}

function refusal(error: unknown): ImportReply {
  if (!(error instanceof CommonwattError)) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    return { fault: { name, message, stack } };
  }
  const { code, message, where, hint } = error;
  return { error: { code, message, where, hint } };
}

function answerTo({ head, bytes }: ImportFrame): Promise<[ImportReply, Uint8Array]> {
  return read(bytes, head as Partial<FormatLimits>).catch((error: unknown) => [
    refusal(error),
    new Uint8Array(),
  ]);
}

endWithParent(process.argv);
goFirst();
const gateway = new Socket({ fd: 3, readable: true, writable: true });
gateway.on('error', () => process.exit());
for (;;) {
  const frame = await receiveFrame(gateway, Number.MAX_SAFE_INTEGER);
  if (!frame) break;
  const large = frame.bytes.length > largeBytes;
  if (large) setPriority(niceness);
  const answer = await answerTo(frame);
  // Here it is not needed any more, and the gateway is about to hold the answer as well.
  frame.bytes = Buffer.alloc(0);
  if (large) global.gc?.();
  sendFrame(gateway, ...answer);
}
gateway.end();
