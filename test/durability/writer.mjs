/**
 * The process that is killed. Uses the built rooms as the server does: imports versions, makes and revokes keys and
 * grants, moves aliases, and says on stdout what it is about to do and what was acknowledged, one JSON a line.
 *
 *     node writer.mjs forever|once|state <data folder>
 *
 * `forever` goes on until it is killed; `once` does each operation once and ends; `state` opens the folder as a
 * start does and prints all there is, with everything that is broken in `problems`.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { readdirSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sql } from 'kysely';

const dist = process.env.COMMONWATT_TEST_DIST ?? resolve(import.meta.dirname, '../../dist');
const room = (file) => import(pathToFileURL(join(dist, file)).href);
const [{ takeDataFolder }, { openDatabase }, { openVault }, { openDiskBlobs }, artifactsRoom] =
  await Promise.all(
    ['storage/folder.js', 'storage/db.js', 'vault/vault.js', 'storage/blobs.js', 'storage/artifacts.js'].map(
      room,
    ),
  );
const [{ Registry }, { Grants }, { Identity }, { createGate }] = await Promise.all(
  ['models/registry.js', 'models/grants.js', 'gate/identity.js', 'gate/gate.js'].map(room),
);

const [, , mode, folder] = process.argv;
const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

const held = takeDataFolder(folder);
const db = await openDatabase(join(folder, 'commonwatt.db'));
const vault = await openVault(folder, { wrappedBy: await artifactsRoom.wrappingKeys(db) });
const artifacts = new artifactsRoom.ArtifactStore({ db, vault, blobs: await openDiskBlobs(folder) });
await artifacts.removeOrphans();
const changed = () => gate.policyChanged();
const grants = new Grants({ db, changed });
const gate = createGate({ db, grants, usage: { listen() {} } });
const identity = new Identity({ db, changed });
const signature = { inputs: [], outputs: [] };
const registry = new Registry({
  db,
  artifacts,
  changed,
  inspect: async (bytes) => ({ format: 'keras-h5', signature, onnx: Buffer.concat([bytes, Buffer.of(1)]) }),
});

if (mode === 'state') say(await state());
else await write(mode === 'once' ? 1 : Number.POSITIVE_INFINITY);
await db.destroy();
held.release();
process.exit(0);

async function write(rounds) {
  await identity.bootstrap();
  const other = await identity.ensureOrganisation('globex', 'gil');
  const gil = await gate.authenticate(other.apiKey);
  const first = await identity.ensureOrganisation('acme', 'ada');
  say({ done: 'key', id: first.keyId, apiKey: first.apiKey });
  const ada = await gate.authenticate(first.apiKey);
  for (let round = 0; round < rounds; round++) {
    const name = `m${randomInt(4)}`;
    const bytes = randomBytes(round % 5 === 4 ? 1_200_000 : 100);
    const importing = { model: name, sha256: sha256(bytes) };
    say({ begin: 'import', ...importing });
    const version = await registry.importVersion({ principal: ada, organisation: 'acme', name, bytes });
    say({ done: 'import', ...importing, number: version.number });

    const aliasing = { model: name, alias: 'production', number: version.number };
    say({ begin: 'alias', ...aliasing });
    await registry.setAlias(version.modelId, 'production', version.number, ada);
    say({ done: 'alias', ...aliasing });

    const key = await identity.createKey(ada, { name: `key-${round}` });
    say({ done: 'key', id: key.id, apiKey: key.apiKey });

    const model = await registry.findModel('acme', name);
    // A killed run may have left its grant.
    const grant =
      (await grants.findActive(model.id, gil.organisationId)) ??
      (await grants.create(
        model,
        {
          organisation: 'globex',
          permissions: ['infer'],
          limit: { requests: 5, period: 'day' },
          expiresAt: null,
        },
        ada,
      ));
    say({ done: 'grant', id: grant.id });

    say({ begin: 'key-end', id: key.id });
    await identity.revokeKey(ada, key.id);
    say({ done: 'key-end', id: key.id });
    say({ begin: 'grant-end', id: grant.id });
    await grants.revoke(model, grant.id, ada);
    say({ done: 'grant-end', id: grant.id });
  }
}

/** Everything that is there, read as the server reads it. */
async function state() {
  const problems = [];
  const check = (fine, problem) => {
    if (!fine) problems.push(problem);
  };
  const integrity = await sql`pragma integrity_check`.execute(db);
  const verdict = JSON.stringify(integrity.rows);
  check(verdict === '[{"integrity_check":"ok"}]', `the database is damaged: ${verdict}`);

  const versions = [];
  const used = new Set();
  const owner = await db
    .selectFrom('organisations')
    .select('id')
    .where('name', '=', 'acme')
    .executeTakeFirst();
  const models = owner ? await registry.listModels(owner.id) : [];
  for (const model of models) {
    const all = await registry.listVersions(model.id);
    check(all.length > 0, `model ${model.name} has no version`);
    check(
      all.every(({ number }, i) => number === i + 1),
      `model ${model.name} has versions ${all.map(({ number }) => number)}`,
    );
    for (const version of all) {
      versions.push({ model: model.name, number: version.number, sha256: version.artifactSha256 });
      used.add(version.artifactSha256).add(version.onnxSha256);
      for (const form of ['keras-h5', 'onnx'])
        await registry
          .artifactBytes(version, form)
          .catch(({ message }) => problems.push(`${model.name}:${version.number} ${form}: ${message}`));
    }
  }
  const rows = await db.selectFrom('artifacts').selectAll().execute();
  for (const row of rows) check(used.has(row.sha256), `artifact ${row.sha256} belongs to no version`);
  const ids = new Set(rows.map(({ id }) => id));
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    check(!entry.name.endsWith('.tmp'), `a temporary file stayed: ${entry.name}`);
    if (entry.isFile() && entry.parentPath.includes('/blobs/'))
      check(ids.has(entry.name), `blob ${entry.name} belongs to nobody`);
  }

  const keys = await db.selectFrom('api_keys').select(['id', 'hash', 'revoked_at']).execute();
  const shared = await db.selectFrom('grants').select(['id', 'revoked_at']).execute();
  const aliases = await db
    .selectFrom('aliases')
    .innerJoin('versions', 'versions.id', 'aliases.version_id')
    .innerJoin('models', 'models.id', 'aliases.model_id')
    .select(['models.name as model', 'aliases.name as alias', 'versions.number'])
    .execute();
  // Each change and its audit event were one transaction, so neither is there without the other.
  const events = await db.selectFrom('audit_events').select(['action', 'subject', 'detail']).execute();
  const count = (action) => events.filter((event) => event.action === action).length;
  check(count('version.import') === versions.length, 'imports and audit events differ');
  check(count('grant.create') === shared.length, 'grants and audit events differ');
  check(
    count('grant.revoke') === shared.filter((grant) => grant.revoked_at).length,
    'ended grants and audit events differ',
  );
  return { problems, versions, keys, grants: shared, aliases };
}
