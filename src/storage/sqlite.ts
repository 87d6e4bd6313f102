/**
 * The embedded database under Kysely: SQLite (libsql), WAL, every commit synced. After the disk failed SQLite would
 * report it once and go on, though the kernel may have dropped what it was to keep. Here nothing is read or
 * written after such a failure until the file was opened anew and verified.
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type SqliteDatabase as KyselyDatabase,
  SqliteAdapter,
  SqliteDialect,
  SqliteDriver,
  type SqliteStatement,
} from 'kysely';
import Database from 'libsql';
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';

export interface StoreLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What SQLite says when the disk or the file is at fault and not the statement: https://sqlite.org/rescode.html */
const diskCodes = new Map([
  [8, 'read-only'],
  [10, 'I/O error'],
  [11, 'corrupt'],
  [13, 'full'],
  [14, 'cannot be opened'],
  [15, 'locking failed'],
  [26, 'no database'],
]);
const full = 13;

/** Time between two attempts to open the file again, ms. */
const retryMs = 1000;

/** One row each; quick_check says `ok` or the first problem. */
const checkpointSchema = z.tuple([z.object({ busy: z.number() })]);
const checkSchema = z.tuple([z.object({ quick_check: z.string() })]);

interface Failure {
  code: number;
  error: CommonwattError;
}

/** One file, one connection, replaced after a failure. */
class EmbeddedDatabase implements KyselyDatabase {
  readonly #file: string;
  readonly #log: StoreLog | undefined;
  #connection: Database.Database;
  #failure: Failure | undefined;
  #triedAt = Number.NEGATIVE_INFINITY;

  /** Throws STORE_FAILED when the file cannot be used. */
  constructor(file: string, log: StoreLog | undefined) {
    this.#file = file;
    this.#log = log;
    try {
      this.#connection = connect(file);
      // What a server that died with a failing disk left in the log is written anew, whatever the kernel kept of it.
      this.#connection.pragma('wal_checkpoint(TRUNCATE)');
    } catch (cause) {
      throw failureOf(cause, file)?.error ?? storeFailed(cause, file);
    }
  }

  /** Set from a failure until the file was opened again. */
  get failure(): CommonwattError | undefined {
    return this.#failure?.error;
  }

  prepare(sql: string): SqliteStatement {
    const statement = this.#watch(() => this.#connection.prepare<unknown[]>(sql));
    return {
      reader: statement.reader,
      all: (parameters) => this.#watch(() => statement.all(...parameters)),
      run: (parameters) => this.#watch(() => statement.run(...parameters)),
      iterate: (parameters) => this.#watch(() => statement.iterate(...parameters)),
    };
  }

  /** Opens the file again after a failure, at most once a second. Throws STORE_FAILED when it cannot. */
  recover(): void {
    if (!this.#failure) return;
    const now = performance.now();
    if (now - this.#triedAt < retryMs) throw this.#failure.error;
    this.#triedAt = now;
    try {
      this.#end();
      this.#connection = connect(this.#file);
      this.#verify(this.#failure.code);
    } catch (cause) {
      this.#log?.error({ err: cause, file: this.#file }, 'the database cannot be opened again yet');
      const again = failureOf(cause, this.#file);
      if (again && again.code !== full) this.#failure = again;
      throw this.#failure.error;
    }
    this.#failure = undefined;
    this.#log?.info({ file: this.#file }, 'the database was opened again and verified');
  }

  close(): void {
    this.#connection.close();
  }

  /** Every commit that was acknowledged is moved out of the log, written and synced anew, and the file is checked. */
  #verify(code: number): void {
    // On a full disk no sync has failed: the log is as good as it was, and whoever still reads it is not waited for.
    const mode = code === full ? 'PASSIVE' : 'TRUNCATE';
    try {
      const [{ busy }] = checkpointSchema.parse(this.#connection.pragma(`wal_checkpoint(${mode})`));
      if (busy !== 0 && code !== full) throw new Error('another program is reading the database');
    } catch (error) {
      // While it is full reading can go on.
      if (code !== full || failureOf(error, this.#file)?.code !== full) throw error;
    }
    const [{ quick_check }] = checkSchema.parse(this.#connection.pragma('quick_check(1)'));
    if (quick_check !== 'ok') throw new Error(quick_check);
  }

  #end(): void {
    if (!this.#connection.open) return;
    try {
      // A transaction left open would hold its lock for as long as any statement of this connection is remembered.
      if (this.#connection.inTransaction) this.#connection.exec('rollback');
    } catch (err) {
      this.#log?.error({ err, file: this.#file }, 'a transaction could not be rolled back');
    }
    this.#connection.close();
  }

  #watch<T>(work: () => T): T {
    if (this.#failure) throw this.#failure.error;
    try {
      return work();
    } catch (cause) {
      const failure = failureOf(cause, this.#file);
      if (!failure) throw cause;
      this.#failure = failure;
      this.#log?.error({ err: cause, file: this.#file }, 'the database failed; nothing is acknowledged');
      throw failure.error;
    }
  }
}

/** Opens the file again between two pieces of work, never inside a transaction. */
class EmbeddedDriver extends SqliteDriver {
  readonly #database: EmbeddedDatabase;

  constructor(database: EmbeddedDatabase) {
    super({ database });
    this.#database = database;
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    const connection = await super.acquireConnection();
    try {
      this.#database.recover();
    } catch (error) {
      await super.releaseConnection();
      throw error;
    }
    return connection;
  }

  /**
   * The write lock is taken at once: the ledger writes over a connection of its own, and what a transaction read
   * first would otherwise be too old to write upon, however long it were ready to wait.
   */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    // SQLite has rolled back, or will when the connection is closed; the caller learns of the failure itself.
    if (!this.#database.failure) await super.rollbackTransaction(connection);
  }
}

/**
 * SQLite changes its schema in transactions, which Kysely does not count on: without this, a server killed in its
 * first start would find half of the tables and never start again.
 */
class EmbeddedAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

export class EmbeddedDialect extends SqliteDialect {
  readonly #database: EmbeddedDatabase;

  /** Throws STORE_FAILED when the file cannot be used. */
  constructor(file: string, log?: StoreLog) {
    const database = new EmbeddedDatabase(file, log);
    super({ database });
    this.#database = database;
  }

  override createDriver(): SqliteDriver {
    return new EmbeddedDriver(this.#database);
  }

  override createAdapter(): SqliteAdapter {
    return new EmbeddedAdapter();
  }
}

function connect(file: string): Database.Database {
  const connection = new Database(file);
  try {
    connection.pragma('busy_timeout = 5000');
    connection.pragma('journal_mode = WAL');
    connection.pragma('synchronous = FULL');
    connection.pragma('foreign_keys = ON');
  } catch (error) {
    connection.close();
    throw error;
  }
  return connection;
}

/** Undefined when the statement is at fault, and neither the disk nor the file. */
function failureOf(cause: unknown, file: string): Failure | undefined {
  if (!(cause instanceof Error && 'rawCode' in cause && typeof cause.rawCode === 'number')) return undefined;
  // The low byte is the kind of error, the rest its detail.
  const code = cause.rawCode & 0xff;
  return diskCodes.has(code) ? { code, error: storeFailed(cause, file, diskCodes.get(code)) } : undefined;
}

function storeFailed(cause: unknown, file: string, kind = 'failed'): CommonwattError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new CommonwattError('STORE_FAILED', `the database cannot be used (${kind}): ${message}`, {
    where: file,
    hint:
      kind === 'corrupt' || kind === 'no database'
        ? 'restore the data folder from a backup'
        : 'free or repair the disk of the data folder; the server goes on by itself when the database can be used again',
    retryAfterS: retryMs / 1000,
    cause,
  });
}
