import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runPython } from '../../test/python.ts';
import { keyContext, openVault } from './vault.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vault-'));
  file = join(folder, 'keys/master.key');
});
afterEach(() => rmSync(folder, { recursive: true }));

const stored = (message: RegExp) => ({ code: 'STORE_FAILED', message: expect.stringMatching(message) });

describe('the master key', () => {
  it('is made at the first start, for its owner only, and found at the second', async () => {
    const made = await openVault(folder);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'keys')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(folder, 'keys'))).toEqual(['master.key']);
    expect((await openVault(folder, { wrappedBy: [made.keyId] })).keyId).toBe(made.keyId);
  });

  it('is made private again when others could read it', async () => {
    await openVault(folder);
    chmodSync(file, 0o644);
    await openVault(folder);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('is not made anew when something stored was wrapped by a lost one', async () => {
    const { keyId } = await openVault(folder);
    rmSync(file);
    await expect(openVault(folder, { wrappedBy: [keyId] })).rejects.toMatchObject(stored(/is missing/));
    expect(readdirSync(join(folder, 'keys'))).toEqual([]);
  });

  it('is refused when it is another than the one that wrapped what is stored', async () => {
    await openVault(folder);
    await expect(openVault(folder, { wrappedBy: ['0123456789abcdef'] })).rejects.toMatchObject(
      stored(/encrypted under master key 0123456789abcdef/),
    );
  });

  it('is refused when it was cut, or cannot be read', async () => {
    await openVault(folder);
    writeFileSync(file, readFileSync(file).subarray(0, 31));
    await expect(openVault(folder)).rejects.toMatchObject(stored(/31 bytes where 32/));
    rmSync(file);
    // A folder in its place cannot be read, not even by root.
    mkdirSync(file);
    await expect(openVault(folder)).rejects.toMatchObject(stored(/cannot be read: EISDIR/));
  });

  it('leaves nothing of an interrupted first start', async () => {
    await openVault(folder);
    writeFileSync(`${file}.0011223344556677.tmp`, 'half');
    await openVault(folder);
    expect(readdirSync(join(folder, 'keys'))).toEqual(['master.key']);
  });
});

describe('a data key', () => {
  it('opens in its own context only, and is new each time', async () => {
    const vault = await openVault(folder);
    const a = await vault.newDataKey(keyContext('acme', 'a'));
    const b = await vault.newDataKey(keyContext('acme', 'a'));
    expect(a.key).toHaveLength(32);
    expect(a.key.equals(b.key)).toBe(false);
    expect(await vault.unwrap(a.wrapped, a.keyId, keyContext('acme', 'a'))).toEqual(a.key);
    await expect(vault.unwrap(a.wrapped, a.keyId, keyContext('acme', 'b'))).rejects.toMatchObject(
      stored(/changed, or belongs to something else/),
    );
    await expect(vault.unwrap(a.wrapped, 'another', keyContext('acme', 'a'))).rejects.toMatchObject(
      stored(/under master key another/),
    );
    const bytes = Buffer.from(a.wrapped, 'base64');
    bytes[20]! ^= 1;
    for (const changed of [bytes, bytes.subarray(1), Buffer.alloc(0)])
      await expect(
        vault.unwrap(changed.toString('base64'), a.keyId, keyContext('acme', 'a')),
      ).rejects.toMatchObject(stored(/changed/));
  });

  it('is wrapped as another implementation of AES-256-GCM reads it', async () => {
    const vault = await openVault(folder);
    const { key, wrapped } = await vault.newDataKey('4:acme,');
    // Tink's raw AES-GCM has the same form: nonce ‖ ciphertext ‖ tag.
    const script = `
import sys, base64, tink
from tink import aead, secret_key_access
from tink.proto import tink_pb2, aes_gcm_pb2
aead.register()
value = aes_gcm_pb2.AesGcmKey(version=0, key_value=bytes.fromhex(sys.argv[1])).SerializeToString()
data = tink_pb2.KeyData(type_url='type.googleapis.com/google.crypto.tink.AesGcmKey', value=value, key_material_type=1)
keyset = tink_pb2.Keyset(primary_key_id=1, key=[tink_pb2.Keyset.Key(key_data=data, status=1, key_id=1, output_prefix_type=3)])
handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
print(handle.primitive(aead.Aead).decrypt(base64.b64decode(sys.argv[2]), b'4:acme,').hex())`;
    const master = readFileSync(file).toString('hex');
    expect(runPython(script, [master, wrapped]).trim()).toBe(key.toString('hex'));
  });
});

it('contexts of different tuples are different', () => {
  const tuple = fc.array(fc.string({ unit: 'grapheme', maxLength: 4 }), { maxLength: 3 });
  fc.assert(
    fc.property(tuple, tuple, (a, b) => {
      expect(keyContext(...a) === keyContext(...b)).toBe(JSON.stringify(a) === JSON.stringify(b));
    }),
  );
  expect(keyContext('ab', 'c')).not.toBe(keyContext('a', 'bc'));
});
