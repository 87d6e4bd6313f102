/** Opens the HTTP port: in this process, or in as many doors as the configuration says. */
import type { AddressInfo } from 'node:net';
import type { Config } from '../../config.ts';
import type { Http } from '../http.ts';
import { type Gateways, type GatewaysOptions, gatewayCount, openGateways } from './gateways.ts';

export interface ListenOptions extends Pick<GatewaysOptions, 'house' | 'log' | 'changed'> {
  config: Pick<Config, 'host' | 'port' | 'gateways' | 'logLevel'>;
  http: Http;
}

export async function listen({ config, http, house, log, changed }: ListenOptions): Promise<Gateways> {
  const { host, port, logLevel } = config;
  const count = gatewayCount(config.gateways);
  if (count === 1) {
    await http.app.listen({ host, port });
    return { port: (http.app.server.address() as AddressInfo).port, drain: http.drain };
  }
  await http.app.ready();
  const { ordinary } = http;
  const gateways = await openGateways({ count, host, port, ordinary, house, log, logLevel, changed });
  return {
    port: gateways.port,
    // What streams to a client is ended by the framework, what is under way by the doors.
    drain: async () => void (await Promise.all([gateways.drain(), http.app.close()])),
  };
}
