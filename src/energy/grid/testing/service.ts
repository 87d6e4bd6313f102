/** A grid service on the loopback: answers as recorded, and remembers what it was asked. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  path: string;
  query: Record<string, string>;
  headers: IncomingHttpHeaders;
}

export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  /** Sent as it is when it is text, otherwise as JSON. */
  body?: unknown;
  /** Never answers. */
  silent?: boolean;
}

export interface Service {
  url: string;
  asked: Asked[];
  close(): Promise<void>;
}

export async function gridService(answer: (asked: Asked, count: number) => Answer): Promise<Service> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const one = { path: url.pathname, query: Object.fromEntries(url.searchParams), headers: request.headers };
    asked.push(one);
    const { status = 200, headers = {}, body = {}, silent } = answer(one, asked.length);
    if (silent) return;
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
