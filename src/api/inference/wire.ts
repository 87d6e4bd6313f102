/**
 * An answer in one write. node's own way corks the socket and hands the kernel a vector of two parts, which for small
 * answers costs more than all else that is done for them. Only the plainest case goes the short way: HTTP/1.1, kept
 * alive, nothing of an earlier answer still to be sent. Everything else is left to node.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A connection that is idle for so long is closed; clients are told so. */
export const keepAliveMs = 72_000;

const connection = `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveMs / 1000}\r\n\r\n`;
/** Up to here a copy is cheaper than a second part. */
const copiedBytes = 64 * 1024;

/** `headers`: name, value, name, value …, without content-length and those that node adds. */
export function writeOnce(response: ServerResponse, headers: readonly string[], body: string | Buffer): void {
  const bytes = Buffer.byteLength(body);
  const { socket } = response;
  if (!socket || !isPlain(response, socket)) {
    response.writeHead(200, [...headers, 'content-length', String(bytes)]).end(body);
    return;
  }
  let head = 'HTTP/1.1 200 OK\r\n';
  for (let index = 0; index < headers.length; index += 2)
    head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  head += `content-length: ${bytes}\r\nDate: ${date()}\r\n${connection}`;
  if (typeof body === 'string') {
    // Where every character is one byte, the kernel gets the text as it lies in memory.
    socket.write(head + body, bytes === body.length ? 'latin1' : 'utf8');
  } else writeBytes(socket, head, body);
  // The answer is with the kernel: node takes up the next request of the connection, as after its own `end`.
  if (socket.writableLength === 0) response.emit('finish');
  else
    socket.write('', (error) => {
      if (!error) response.emit('finish');
    });
}

function isPlain(response: ServerResponse, socket: Socket): boolean {
  return (
    socket.writable &&
    socket.writableLength === 0 &&
    response.shouldKeepAlive &&
    response.req.httpVersionMinor === 1 &&
    !response.headersSent &&
    !response.hasHeader('connection')
  );
}

function writeBytes(socket: Socket, head: string, body: Buffer): void {
  if (body.length <= copiedBytes) {
    const all = Buffer.allocUnsafe(head.length + body.length);
    all.write(head, 'latin1');
    all.set(body, head.length);
    socket.write(all);
    return;
  }
  socket.cork();
  socket.write(head, 'latin1');
  socket.write(body);
  socket.uncork();
}

let dateText = '';
let dateSecond = 0;

/** As HTTP writes it, made once a second. */
function date(): string {
  const second = Math.trunc(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}
