/** Questions to sensors over HTTP: bounded in time and size, certificates checked, no redirects followed. */
import { readFile } from 'node:fs/promises';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { digestAnswer } from './digest.ts';

export interface WebAccess {
  /** http:// or https:// */
  url: string;
  user?: string | undefined;
  password?: string | undefined;
  /** The password is not sent: only answers to a digest challenge. */
  digestOnly?: boolean;
  headers?: Record<string, string> | undefined;
  /** false: whoever answers is believed (management controllers often have certificates of their own making). */
  verifyTls?: boolean | undefined;
  /** File with the certificates to trust, PEM. */
  ca?: string | undefined;
}

export interface WebAnswer {
  status: number;
  text: string;
  headers: Record<string, string | string[] | undefined>;
}

const largestAnswer = 8 * 1024 * 1024;

export class Web {
  readonly #access: WebAccess;
  readonly #base: URL;
  #ca: Promise<string> | undefined;

  constructor(access: WebAccess) {
    this.#access = access;
    this.#base = new URL(access.url);
  }

  /** Without user and password, for messages. */
  get shownUrl(): string {
    return showUrl(this.#access.url);
  }

  /** A path is taken relative to the host; none: the URL itself. Throws an Error for everything but a 2xx answer. */
  async get(
    path: string | undefined,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<string> {
    let { status, text, headers: told } = await this.ask('GET', path, signal, { headers });
    const digest = status === 401 ? this.#digest(told['www-authenticate'], path) : null;
    if (digest !== null)
      ({ status, text } = await this.ask('GET', path, signal, {
        headers: { ...headers, authorization: digest },
      }));
    if (status === 401 || status === 403)
      throw new Error(`${this.#shown(path)} refuses this user or password (status ${status})`);
    if (status < 200 || status > 299) throw new Error(`${this.#shown(path)} answered with status ${status}`);
    return text;
  }

  async getJson(
    path: string | undefined,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<unknown> {
    const text = await this.get(path, signal, headers);
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw new Error(`${this.#shown(path)} did not answer with JSON`);
    }
  }

  async ask(
    method: 'GET' | 'POST' | 'DELETE',
    path: string | undefined,
    signal: AbortSignal,
    { headers = {}, body }: { headers?: Record<string, string>; body?: string } = {},
  ): Promise<WebAnswer> {
    const url = path === undefined ? this.#base : new URL(path, this.#base);
    if (url.origin !== this.#base.origin) throw new Error(`${path} leads to another host`);
    const { verifyTls = true, ca } = this.#access;
    if (ca !== undefined) this.#ca ??= readFile(ca, 'utf8');
    const secure = url.protocol === 'https:';
    const options = {
      method,
      signal,
      // Small devices close what they kept open just when it is used again.
      agent: false,
      headers: { accept: '*/*', ...this.#access.headers, ...this.#basic(), ...headers },
      ...(secure ? { rejectUnauthorized: verifyTls } : {}),
      ...(secure && this.#ca ? { ca: await this.#ca } : {}),
    };
    const shown = this.#shown(path);
    return new Promise((resolve, reject) => {
      const fail = (error: Error) =>
        reject(signal.aborted ? signal.reason : new Error(`${shown}: ${error.message}`));
      const sent = (secure ? tlsRequest : plainRequest)(url, options, (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on('data', (part: Buffer) => {
          bytes += part.length;
          if (bytes > largestAnswer) sent.destroy(new Error(`more than ${largestAnswer} bytes`));
          else parts.push(part);
        });
        response.on('error', fail);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            text: Buffer.concat(parts).toString('utf8'),
            headers: response.headers,
          }),
        );
      });
      sent.on('error', fail);
      sent.end(body);
    });
  }

  #signIn(): { user: string; password: string } {
    return {
      user: this.#access.user ?? decodeURIComponent(this.#base.username),
      password: this.#access.password ?? decodeURIComponent(this.#base.password),
    };
  }

  #digest(challenge: string | string[] | undefined, path: string | undefined): string | null {
    const { user, password } = this.#signIn();
    if (typeof challenge !== 'string' || user === '') return null;
    const { pathname, search } = path === undefined ? this.#base : new URL(path, this.#base);
    return digestAnswer(challenge, { user, password, method: 'GET', uri: `${pathname}${search}` });
  }

  #basic(): Record<string, string> {
    const { user, password } = this.#signIn();
    if (user === '' || this.#access.digestOnly) return {};
    return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
  }

  #shown(path: string | undefined): string {
    return path === undefined ? this.shownUrl : showUrl(new URL(path, this.#base).href);
  }
}

/** A URL without its secrets. */
export function showUrl(text: string): string {
  const url = new URL(text);
  url.username = '';
  url.password = '';
  // Tokens stand in queries, too; Tasmota's passwords do.
  for (const name of [...url.searchParams.keys()])
    if (/pass|token|key|secret|user/i.test(name)) url.searchParams.set(name, '***');
  return url.href;
}
