/** HTTP/1.1 on a socket of its own: what is sent and received is seen byte for byte, and the socket can be cut. */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface HttpReply {
  status: number;
  headers: Map<string, string>;
  body: Buffer;
}

export interface HttpRequest {
  path: string;
  headers: Record<string, string>;
  body: Buffer;
  /** The socket is cut after so long. */
  leaveAfterMs?: number | undefined;
  /** The body is sent in so many pieces. */
  pieces?: number | undefined;
}

export class HttpCaller {
  readonly #port: number;
  readonly #host: string;
  #socket: Socket | undefined;
  #got: Buffer = nothing;
  #look: () => void = () => {};

  constructor(baseUrl: string) {
    const { hostname, port } = new URL(baseUrl);
    this.#host = hostname;
    this.#port = Number(port);
  }

  /** Undefined: the caller left. Throws when the server broke off, or said something that was not asked. */
  async send(request: HttpRequest): Promise<HttpReply | undefined> {
    if (this.#got.length > 0) throw new Error(`an answer to nothing: ${this.#got.subarray(0, 200)}`);
    const socket = await this.#open();
    let left = false;
    const leave =
      request.leaveAfterMs === undefined
        ? undefined
        : setTimeout(() => {
            left = true;
            socket.destroy();
          }, request.leaveAfterMs);
    try {
      await this.#write(socket, request);
      for (;;) {
        const reply = this.#take();
        if (reply) {
          if (reply.headers.get('connection') === 'close') this.close();
          return reply;
        }
        if (socket.destroyed || socket.readableEnded) {
          this.close();
          if (left) return undefined;
          throw new Error(`the server broke off: ${socket.errored ?? 'it closed the connection'}`);
        }
        await new Promise<void>((resolve) => {
          this.#look = resolve;
        });
      }
    } finally {
      clearTimeout(leave);
      if (left) this.close();
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#got = nothing;
  }

  async #open(): Promise<Socket> {
    if (this.#socket && !this.#socket.destroyed && !this.#socket.readableEnded) return this.#socket;
    const socket = connect(this.#port, this.#host);
    socket.setNoDelay(true);
    this.#socket = socket;
    this.#got = nothing;
    socket.on('data', (chunk: Buffer) => {
      if (this.#socket !== socket) return;
      this.#got = this.#got.length === 0 ? chunk : Buffer.concat([this.#got, chunk]);
      this.#look();
    });
    for (const event of ['end', 'close']) socket.on(event, () => this.#look());
    socket.on('error', () => {});
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return socket;
  }

  async #write(socket: Socket, { path, headers, body, pieces = 1 }: HttpRequest): Promise<void> {
    let head = `POST ${path} HTTP/1.1\r\nhost: canary\r\ncontent-length: ${body.length}\r\n`;
    for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
    const all = Buffer.concat([Buffer.from(`${head}\r\n`), body]);
    const size = Math.ceil(all.length / pieces);
    for (let at = 0; at < all.length; at += size) {
      socket.write(all.subarray(at, at + size));
      if (pieces > 1) await sleep(1);
    }
  }

  #take(): HttpReply | undefined {
    const end = this.#got.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const [first = '', ...lines] = this.#got.toString('latin1', 0, end).split('\r\n');
    const headers = new Map<string, string>();
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    const length = Number(headers.get('content-length'));
    if (!Number.isSafeInteger(length)) throw new Error(`no length is said: ${first} ${lines.join(', ')}`);
    if (this.#got.length < end + 4 + length) return undefined;
    const body = this.#got.subarray(end + 4, end + 4 + length);
    this.#got = this.#got.subarray(end + 4 + length);
    return { status: Number(first.split(' ')[1]), headers, body };
  }
}

const nothing = Buffer.alloc(0);
