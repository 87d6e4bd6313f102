/**
 * A bounded look at an HDF5 file's structure before a native parser opens it: superblock, groups, object
 * headers. Refuses truncation, links and data that lead out of the file, and shapes the file cannot hold.
 * Source: HDF5 File Format Specification version 3.0 (superblocks 0 to 3, object headers 1 and 2).
 */
import { CommonwattError } from '../../errors.ts';
import { corrupt, Hdf5Bytes, nowhere, uncommon, unsafe } from './hdf5-bytes.ts';
import {
  checkAttribute,
  checkFilters,
  type Datatype,
  type Layout,
  type Message,
  messageTypes,
  product,
  readDataspace,
  readDatatype,
  readLayout,
} from './hdf5-messages.ts';

export const hdf5Signature = Buffer.from([0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a]);

export interface Hdf5Dataset {
  kind: 'dataset';
  shape: number[];
  datatype: Datatype;
  /** Bytes in memory when it is read. */
  bytes: number;
  /** Where they are in the file, when they are there as they are: in one piece, not compressed. */
  offset?: number;
}

export interface Hdf5Group {
  kind: 'group';
  children: Map<string, Hdf5Node>;
}

type Hdf5Node = Hdf5Dataset | Hdf5Group;

export interface StructureLimits {
  /** Largest data set in memory, bytes. */
  maxDatasetBytes: number;
  maxStructures: number;
}

const maxDepth = 32;
const maxChunkBytes = 64 * 1024 * 1024;
/** Weights hardly shrink; what unpacks to more than this many times the file is a bomb. */
const maxUnpacking = 64;

/** The tree of groups and data sets. Throws CORRUPT_MODEL, UNSAFE_MODEL or UNSUPPORTED_FORMAT. */
export function readStructure(bytes: Buffer, limits: StructureLimits): Hdf5Group {
  const walk = new Walk(new Hdf5Bytes(bytes, limits.maxStructures), limits);
  const root = walk.superblock();
  const node = walk.object(root.header, '/', 0, root.cached);
  if (node.kind !== 'group') throw corrupt('its root is not a group', root.header);
  return node;
}

interface CachedGroup {
  tree: bigint;
  heap: bigint;
}

class Walk {
  readonly #bytes: Hdf5Bytes;
  readonly #limits: StructureLimits;
  readonly #seen = new Map<number, Hdf5Node>();
  #chunkedBytes = 0;

  constructor(bytes: Hdf5Bytes, limits: StructureLimits) {
    this.#bytes = bytes;
    this.#limits = limits;
  }

  superblock(): { header: number; cached: CachedGroup | undefined } {
    const b = this.#bytes;
    const version = b.u8(8);
    if (version > 3) throw corrupt(`superblock version ${version} is unknown`, 8);
    const old = version < 2;
    const [offsetsAt, lengthsAt, at] = old ? [13, 14, version === 0 ? 24 : 28] : [9, 10, 12];
    if (b.u8(offsetsAt) !== 8 || b.u8(lengthsAt) !== 8)
      throw uncommon('uses addresses of another size than 8 bytes', `byte ${offsetsAt}`);
    if (b.u64(at) !== 0n) throw uncommon('does not begin at byte 0 of the file', `byte ${at}`);
    const end = b.u64(at + 16);
    if (end > BigInt(b.length))
      throw new CommonwattError(
        'CORRUPT_MODEL',
        `the HDF5 file is truncated: it should have ${end} bytes and has ${b.length}`,
        { where: `byte ${b.length}`, hint: 'copy or upload the file again, whole' },
      );
    if (old) {
      if (b.u64(at + 24) !== nowhere) throw unsafe('the HDF5 file is one part of several', `byte ${at + 24}`);
      return { header: b.address(at + 40), cached: this.#cachedGroup(at + 32) };
    }
    if (b.u64(at + 8) !== nowhere)
      for (const message of this.#messages(b.address(at + 8))) this.#refuse(message, '/');
    return { header: b.address(at + 24), cached: undefined };
  }

  object(header: number, path: string, depth: number, cached: CachedGroup | undefined): Hdf5Node {
    const known = this.#seen.get(header);
    if (known) return known;
    if (depth > maxDepth) throw unsafe(`groups are nested deeper than ${maxDepth}`, path.slice(0, 200));
    const messages = this.#messages(header);
    for (const message of messages) this.#refuse(message, path);
    const layout = messages.find((message) => message.type === messageTypes.layout);
    if (layout) {
      const dataset = this.#dataset(messages, layout, path, header);
      this.#seen.set(header, dataset);
      return dataset;
    }
    const group: Hdf5Group = { kind: 'group', children: new Map() };
    // Known before its children are read: hard links may lead back here.
    this.#seen.set(header, group);
    for (const message of messages) {
      if (message.type === messageTypes.link) this.#link(group, message, path, depth);
      if (message.type !== messageTypes.symbolTable) continue;
      const table = { tree: this.#bytes.u64(message.offset), heap: this.#bytes.u64(message.offset + 8) };
      if (cached && (cached.tree !== table.tree || cached.heap !== table.heap))
        throw unsafe(`group ${path} has two different tables of contents`, path);
      this.#symbolTable(group, message.offset, path, depth);
    }
    return group;
  }

  #dataset(messages: Message[], layoutMessage: Message, path: string, header: number): Hdf5Dataset {
    const space = messages.find((message) => message.type === messageTypes.dataspace);
    const type = messages.find((message) => message.type === messageTypes.datatype);
    if (!space || !type) throw corrupt(`data set ${path} has no shape or type`, header);
    const shape = readDataspace(this.#bytes, space.offset, space.size) ?? [0];
    const datatype = readDatatype(this.#bytes, type.offset, type.size);
    const layout = readLayout(this.#bytes, layoutMessage, path);
    const bytes = product(shape) * datatype.size;
    this.#checkSize(path, shape, datatype, bytes, layout);
    const { offset } = layout;
    return { kind: 'dataset', shape, datatype, bytes, ...(offset === undefined ? {} : { offset }) };
  }

  #checkSize(path: string, shape: number[], datatype: Datatype, bytes: number, layout: Layout): void {
    const declared = `data set ${path} declares the shape [${shape.join(', ')}] of ${datatype.description}`;
    if (bytes > this.#limits.maxDatasetBytes)
      throw unsafe(
        `${declared}: ${bytes} bytes, more than the limit of ${this.#limits.maxDatasetBytes}`,
        path,
      );
    if (layout.kind === 'chunked') {
      if (layout.bytes > maxChunkBytes)
        throw unsafe(`${declared} in chunks of ${layout.bytes} bytes; the limit is ${maxChunkBytes}`, path);
      this.#chunkedBytes += bytes;
      const allowed = maxUnpacking * this.#bytes.length + 2 ** 20;
      if (this.#chunkedBytes > allowed)
        throw unsafe(`${declared}: chunked data would unpack to more than ${allowed} bytes`, path);
    } else if (bytes > layout.bytes)
      throw unsafe(`${declared}: ${bytes} bytes, but the file holds ${layout.bytes} for it`, path);
  }

  /** What leads out of the file, or hides from this reader, is refused wherever it is. */
  #refuse(message: Message, path: string): void {
    const b = this.#bytes;
    // A shared message is elsewhere; only fill values and times could be so harmlessly, and nobody writes that.
    if ((message.flags & 2) !== 0) throw uncommon(`shares parts of ${path} with other objects`, path);
    switch (message.type) {
      case messageTypes.externalFiles:
        throw unsafe(`data set ${path} keeps its data in another file`, path);
      case messageTypes.driverInfo:
        throw unsafe('the HDF5 file is one part of several', path);
      case messageTypes.filters:
        checkFilters(b, message, path);
        return;
      case messageTypes.attribute:
        checkAttribute(b, message, path);
        return;
      case messageTypes.linkInfo:
      case messageTypes.attributeInfo: {
        const indexed = (b.u8(message.offset + 1) & 1) !== 0;
        const width = message.type === messageTypes.linkInfo ? 8 : 2;
        if (b.u64(message.offset + 2 + (indexed ? width : 0)) !== nowhere)
          throw uncommon(
            `stores the contents of ${path} in the dense form of HDF5 1.8 (libver="latest")`,
            path,
          );
      }
    }
  }

  #link(group: Hdf5Group, message: Message, path: string, depth: number): void {
    const b = this.#bytes;
    const flags = b.u8(message.offset + 1);
    let at = message.offset + 2;
    const kind = flags & 8 ? b.u8(at++) : 0;
    if (flags & 4) at += 8;
    if (flags & 16) at += 1;
    const width = 1 << (flags & 3);
    const length = b.size(at, width);
    at += width;
    if (at + length + 8 > message.offset + message.size && kind === 0)
      throw corrupt(`a link of ${path} is longer than its message`, at);
    const name = b.text(at, Math.min(length, 4096));
    if (kind !== 0) throw linkRefused(kind === 1 ? 'soft' : 'external', join(path, name));
    this.#add(group, name, b.address(at + length), path, depth, undefined);
  }

  #symbolTable(group: Hdf5Group, at: number, path: string, depth: number): void {
    const b = this.#bytes;
    const heap = b.address(at + 8);
    b.signature(heap, 'HEAP');
    const names = b.address(heap + 24);
    const namesEnd = names + b.size(heap + 8, 8);
    b.check(names, namesEnd - names);
    const visit = (node: number, level: number | undefined): void => {
      b.step(node);
      if (level === -1) {
        b.signature(node, 'SNOD');
        for (let i = 0, count = b.u16(node + 6); i < count; i++) {
          const entry = node + 8 + i * 40;
          b.step(entry);
          const name = b.textUntilZero(names + Math.min(b.size(entry, 8), b.length), namesEnd);
          if (b.u32(entry + 16) === 2) throw linkRefused('soft', join(path, name));
          this.#add(group, name, b.address(entry + 8), path, depth, this.#cachedGroup(entry));
        }
        return;
      }
      b.signature(node, 'TREE');
      const own = b.u8(node + 5);
      if (b.u8(node + 4) !== 0 || (level !== undefined && own !== level))
        throw corrupt(`the index of group ${path} is malformed`, node);
      for (let i = 0, count = b.u16(node + 6); i < count; i++) visit(b.address(node + 32 + i * 16), own - 1);
    };
    visit(b.address(at), undefined);
  }

  #add(
    group: Hdf5Group,
    name: string,
    header: number,
    path: string,
    depth: number,
    cached: CachedGroup | undefined,
  ): void {
    if (group.children.has(name)) throw corrupt(`${join(path, name)} is there twice`, header);
    group.children.set(name, this.object(header, join(path, name), depth + 1, cached));
  }

  /** A symbol table entry may repeat where its group's table is; the library trusts that copy. */
  #cachedGroup(entry: number): CachedGroup | undefined {
    if (this.#bytes.u32(entry + 16) !== 1) return undefined;
    return { tree: this.#bytes.u64(entry + 24), heap: this.#bytes.u64(entry + 32) };
  }

  #messages(header: number): Message[] {
    const b = this.#bytes;
    const messages: Message[] = [];
    const blocks: { start: number; end: number }[] = [];
    const modern = b.u8(header) !== 1;
    let flags = 0;
    if (modern) {
      b.signature(header, 'OHDR');
      flags = b.u8(header + 5);
      const at = header + 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
      const width = 1 << (flags & 3);
      blocks.push({ start: at + width, end: at + width + b.size(at, width) });
    } else blocks.push({ start: header + 16, end: header + 16 + b.u32(header + 8) });
    const head = modern ? 4 + (flags & 4 ? 2 : 0) : 8;
    for (let block = blocks.shift(); block; block = blocks.shift()) {
      b.step(block.start);
      b.check(block.start, block.end - block.start);
      for (let at = block.start; at + head <= block.end; ) {
        b.step(at);
        const message: Message = modern
          ? { type: b.u8(at), size: b.u16(at + 1), flags: b.u8(at + 3), offset: at + head }
          : { type: b.u16(at), size: b.u16(at + 2), flags: b.u8(at + 4), offset: at + head };
        at = message.offset + message.size;
        if (at > block.end) throw corrupt('a message is longer than its header', message.offset);
        if (message.type === messageTypes.continuation) {
          const start = b.address(message.offset);
          const size = b.size(message.offset + 8, 8);
          b.check(start, size);
          if (modern) b.signature(start, 'OCHK');
          blocks.push(modern ? { start: start + 4, end: start + size - 4 } : { start, end: start + size });
        } else messages.push(message);
      }
    }
    return messages;
  }
}

function linkRefused(kind: 'soft' | 'external', path: string): CommonwattError {
  return unsafe(
    `${path} is ${kind === 'soft' ? 'a soft' : 'an external'} link; links are not followed`,
    path,
  );
}

function join(path: string, name: string): string {
  return `${path === '/' ? '' : path}/${name}`;
}
