import type { Forms } from '../../energy/forms/forms.ts';

/** What the server tells a door process besides frames, and what the door is started with. */
export interface DoorSettings {
  /** Where the server takes requests that doors pass on. */
  serverPath: string;
  /** Where this door itself listens, to nobody; the number of its process is added. */
  ownPath: string;
  maxBodyBytes: number;
  logLevel: string;
  /** Of the product, for traces. */
  version: string;
  forms: Forms;
  /** Every answer carries a receipt, which only the server itself can sign. */
  receipts: boolean;
}

/** connection: the socket that comes with it; drain: answer what is under way, and end. */
export type DoorOrder = 'connection' | 'drain';

export const doorReady = 'ready';
