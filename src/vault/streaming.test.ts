import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { runPython } from '../../test/python.ts';
import {
  decrypt,
  decryptBuffer,
  encrypt,
  encryptBuffer,
  HEADER_BYTES,
  SEGMENT_BYTES,
  TAG_BYTES,
} from './streaming.ts';

const key = Buffer.from([...Array(32).keys()]);
const context = '3:acm,2:id,';
/** Plaintext bytes of the first segment and of the following ones. */
const first = SEGMENT_BYTES - HEADER_BYTES - TAG_BYTES;
const rest = SEGMENT_BYTES - TAG_BYTES;
const borders = [0, 1, first - 1, first, first + 1, first + rest - 1, first + rest, first + rest + 1];

/**
 * The Tink library itself, with our raw key in a keyset. Reads lines "encrypt|decrypt key context hex"; a refusal
 * is printed as "refused".
 */
const tink = `
import io, sys, tink
from tink import streaming_aead, secret_key_access
from tink.proto import tink_pb2, aes_gcm_hkdf_streaming_pb2 as p, common_pb2
streaming_aead.register()

def primitive(key):
    value = p.AesGcmHkdfStreamingKey(version=0, key_value=key, params=p.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=1048576, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256))
    data = tink_pb2.KeyData(type_url='type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey',
        value=value.SerializeToString(), key_material_type=tink_pb2.KeyData.SYMMETRIC)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[tink_pb2.Keyset.Key(key_data=data, status=tink_pb2.ENABLED,
        key_id=1, output_prefix_type=tink_pb2.RAW)])
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)

class Kept(io.BytesIO):
    def close(self): self.kept = self.getvalue(); super().close()

for line in sys.stdin:
    what, key, context, data = line.rstrip('\\n').split(' ')
    aead, context, data = primitive(bytes.fromhex(key)), bytes.fromhex(context), bytes.fromhex(data)
    try:
        if what == 'encrypt':
            out = Kept()
            with aead.new_encrypting_stream(out, context) as stream: stream.write(data)
            print(out.kept.hex())
        else:
            with aead.new_decrypting_stream(io.BytesIO(data), context) as stream: print(stream.read().hex())
    except Exception as error:
        print('refused')
`;

function askTink(what: 'encrypt' | 'decrypt', all: Buffer[]): string[] {
  const hex = Buffer.from(context).toString('hex');
  const lines = all.map((data) => `${what} ${key.toString('hex')} ${hex} ${data.toString('hex')}\n`);
  return runPython(tink, [], lines.join('')).split('\n').slice(0, all.length);
}

describe('the Tink library', () => {
  const plaintexts = borders.map((size) => randomBytes(size));

  it('reads what we write, at every segment border', async () => {
    const ours = await Promise.all(plaintexts.map((plaintext) => encryptBuffer(key, context, plaintext)));
    const read = askTink('decrypt', ours);
    for (const [i, plaintext] of plaintexts.entries())
      expect(read[i] === plaintext.toString('hex'), `${plaintext.length} bytes`).toBe(true);
  });

  it('writes what we read, at every segment border', async () => {
    const theirs = askTink('encrypt', plaintexts).map((hex) => Buffer.from(hex, 'hex'));
    for (const [i, plaintext] of plaintexts.entries())
      expect(plaintext.equals(await decryptBuffer(key, context, theirs[i]!)), `${plaintext.length}`).toBe(
        true,
      );
  });

  it('refuses what we refuse: changed bytes', async () => {
    const changed = await encryptBuffer(key, context, Buffer.from('weights'));
    changed[changed.length - 1]! ^= 1;
    expect(askTink('decrypt', [changed])).toEqual(['refused']);
  });
});

describe('encryption in a stream', () => {
  it('gives the same bytes back however they are cut, around every border', async () => {
    const size = fc
      .tuple(fc.constantFrom(...borders), fc.integer({ min: -3, max: 3 }))
      .map(([border, off]) => Math.max(0, border + off));
    await fc.assert(
      fc.asyncProperty(size, fc.integer({ min: 1, max: 700_000 }), async (length, cut) => {
        const plaintext = randomBytes(length);
        const ciphertext = await collect(encrypt(key, context, pieces(plaintext, cut)));
        const segments = length <= first ? 1 : 1 + Math.ceil((length - first) / rest);
        expect(ciphertext.length).toBe(HEADER_BYTES + length + segments * TAG_BYTES);
        const back = await collect(decrypt(key, context, pieces(ciphertext, cut)));
        expect(back.equals(plaintext)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('never gives the same ciphertext twice', async () => {
    const plaintext = Buffer.from('weights');
    expect(await encryptBuffer(key, context, plaintext)).not.toEqual(
      await encryptBuffer(key, context, plaintext),
    );
  });
});

describe('what is not as it was written', () => {
  let plaintext: Buffer;
  let whole: Buffer;
  beforeAll(async () => {
    plaintext = randomBytes(first + rest + 100);
    whole = await encryptBuffer(key, context, plaintext);
  });
  const refused = (ciphertext: Buffer, of = context, by = key) =>
    expect(decryptBuffer(by, of, ciphertext)).rejects.toMatchObject({ code: 'STORE_FAILED' });

  it('is refused when any one bit was flipped', async () => {
    const small = await encryptBuffer(key, context, Buffer.from('weights'));
    for (let at = 0; at < small.length; at++) {
      const flipped = Buffer.from(small);
      flipped[at]! ^= 1 << (at % 8);
      await refused(flipped);
    }
    const flipped = Buffer.from(whole);
    flipped[SEGMENT_BYTES + 7]! ^= 4;
    await refused(flipped);
  });

  it('is refused when cut: in a segment, at the border of segments, to the header, to nothing', async () => {
    for (const length of [
      whole.length - 1,
      2 * SEGMENT_BYTES,
      SEGMENT_BYTES,
      SEGMENT_BYTES + 3,
      HEADER_BYTES + TAG_BYTES,
      HEADER_BYTES,
      0,
    ])
      await refused(whole.subarray(0, length));
  });

  it('is refused when longer', () => refused(Buffer.concat([whole, Buffer.of(0)])));

  it('is refused when segments changed places', () => {
    const [head, a, b] = [
      whole.subarray(0, SEGMENT_BYTES),
      whole.subarray(SEGMENT_BYTES, 2 * SEGMENT_BYTES),
      whole.subarray(2 * SEGMENT_BYTES),
    ];
    return refused(Buffer.concat([head, b, a]));
  });

  it('is refused with other associated data or another key', async () => {
    await refused(whole, '3:acm,2:ie,');
    await refused(whole, context, randomBytes(32));
  });
});

function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
