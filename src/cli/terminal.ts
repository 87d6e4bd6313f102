/** What a command may touch of the outside: where it prints, what it reads, its environment. */
import { text } from 'node:stream/consumers';

export interface Terminal {
  env: NodeJS.ProcessEnv;
  out(text: string): void;
  err(text: string): void;
  /** Whether a person looks at standard output, and at standard error. */
  outIsTty: boolean;
  errIsTty: boolean;
  inIsTty: boolean;
  readInput(): Promise<string>;
  /** Set by a command that finished but whose verdict is bad (a gate that failed). */
  exitCode: number;
}

export function processTerminal(): Terminal {
  // `commonwatt models | head` closes the pipe early; that is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return {
    env: process.env,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    outIsTty: process.stdout.isTTY === true,
    errIsTty: process.stderr.isTTY === true,
    inIsTty: process.stdin.isTTY === true,
    readInput: () => text(process.stdin),
    exitCode: 0,
  };
}

/** Prints a value for programs with --json, otherwise lines for people. */
export function answer(terminal: Terminal, json: boolean | undefined, value: unknown, lines: string[]): void {
  terminal.out(json ? `${JSON.stringify(value, null, 2)}\n` : lines.map((line) => `${line}\n`).join(''));
}

/** Progress of long work on standard error: one line that changes where a person looks, plain lines elsewhere. */
export function progressLine(terminal: Terminal) {
  let open = false;
  return {
    update(line: string): void {
      if (terminal.errIsTty) terminal.err(`\r\x1b[2K${line}`);
      else terminal.err(`${line}\n`);
      open = terminal.errIsTty;
    },
    end(): void {
      if (open) terminal.err('\n');
      open = false;
    },
  };
}

/** Columns padded to their widest cell; the first row is the heading. */
export function table(rows: string[][]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
