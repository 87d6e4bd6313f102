/** Signed receipts of what requests used. Verify them with any JWS library: EdDSA, keys at `/.well-known/commonwatt-receipts.json`. */
import type { SignedReceipt } from './shapes.ts';
import type { CallOptions, Transport } from './transport.ts';

export type ReceiptResource = ReturnType<typeof receiptResource>;

export function receiptResource(transport: Transport) {
  return {
    /** For a request of your own organisation, with the figures of the ledger. */
    settled(requestId: string, options?: CallOptions): Promise<SignedReceipt> {
      return transport.json('GET', `/api/v1/ledger/${encodeURIComponent(requestId)}/receipt`, options);
    },
    /** Operators only: another key signs from now on; what was signed stays valid. */
    rotateKey(options?: CallOptions): Promise<{ kid: string }> {
      return transport.json('POST', '/api/v1/receipt-keys', options);
    },
  };
}
