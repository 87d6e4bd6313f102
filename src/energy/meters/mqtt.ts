/** A meter that publishes by MQTT, e.g. Tasmota's `tele/plug/SENSOR`; the last message is its answer. */
import type { IClientOptions, MqttClient } from 'mqtt';
import type { Coverage } from './meter.ts';
import { coverageTold } from './plug.ts';
import type { Source, SourceAnswer } from './polled.ts';
import { type EnergyUnit, excerpt, type PowerUnit, readPaths } from './quantity.ts';
import { showUrl } from './web.ts';

export interface MqttSettings {
  /** mqtt:// or mqtts:// */
  url: string;
  topic: string;
  user?: string | undefined;
  password?: string | undefined;
  verifyTls: boolean;
  energyPath?: string | undefined;
  energyUnit: EnergyUnit;
  powerPath?: string | undefined;
  powerUnit: PowerUnit;
  covers: Exclude<Coverage, 'accelerators'>;
  /** How often the meter publishes, s. */
  everyS: number;
}

export function mqttSource(settings: MqttSettings): Source {
  let feed: Promise<Feed> | undefined;
  return {
    name: 'mqtt',
    methodVersion: '1',
    covers: settings.covers,
    interval: settings.covers === 'wall' ? { low: 0.97, high: 1.03 } : { low: 0.9, high: 1.1 },
    told: `the topic ${settings.topic} at ${showUrl(settings.url)}, which covers ${coverageTold[settings.covers]}`,
    everyS: settings.everyS,
    async ask(signal) {
      feed ??= Feed.open(settings);
      return (await feed).next(signal);
    },
    close: async () => (await feed)?.close(),
  };
}

/** Messages of one topic. Reconnects by itself. */
class Feed {
  readonly #client: MqttClient;
  readonly #settings: MqttSettings;
  #answer: { told: SourceAnswer | Error; arrivedMs: number } | undefined;
  #problem: string | undefined;
  #arrived: (() => void) | undefined;

  /** The library is heavy and few need it. */
  static async open(settings: MqttSettings): Promise<Feed> {
    const { default: mqtt } = await import('mqtt');
    const options: IClientOptions = {
      ...(settings.user === undefined ? {} : { username: settings.user }),
      ...(settings.password === undefined ? {} : { password: settings.password }),
      rejectUnauthorized: settings.verifyTls,
      reconnectPeriod: 2000,
    };
    return new Feed(mqtt.connect(settings.url, options), settings);
  }

  constructor(client: MqttClient, settings: MqttSettings) {
    this.#client = client;
    this.#settings = settings;
    client.on('connect', () => {
      this.#problem = undefined;
      client.subscribe(settings.topic, (error, granted) => {
        if (error) this.#problem = error.message;
        else if (granted?.some(({ qos }) => qos > 2))
          this.#problem = `the broker refuses the topic ${settings.topic}`;
      });
    });
    client.on('error', (error) => {
      this.#problem = error.message || String(error);
    });
    client.on('message', (_topic, payload, packet) => {
      // What the broker kept may be days old.
      if (packet.retain) return;
      this.#answer = { told: this.#parse(payload.toString('utf8')), arrivedMs: performance.now() };
      this.#arrived?.();
    });
  }

  /** The next message, or the one that came since the last question. */
  async next(signal: AbortSignal): Promise<SourceAnswer> {
    if (this.#answer === undefined) await this.#message(signal);
    const answer = this.#answer;
    this.#answer = undefined;
    if (!answer) throw new Error(this.#problem ?? `no message on ${this.#settings.topic}`);
    if (answer.told instanceof Error) throw answer.told;
    return { ...answer.told, ageS: (performance.now() - answer.arrivedMs) / 1000 };
  }

  #message(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done);
        this.#arrived = undefined;
        resolve();
      };
      this.#arrived = done;
      signal.addEventListener('abort', done);
    });
  }

  #parse(text: string): SourceAnswer | Error {
    try {
      return readPaths(
        /^\s*[-+.\d]/.test(text) ? Number(text) : (JSON.parse(text) as unknown),
        this.#settings,
      );
    } catch (error) {
      return error instanceof SyntaxError
        ? new Error(`a message is no JSON: ${excerpt(text)}`)
        : (error as Error);
    }
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#client.end(true, {}, () => resolve()));
  }
}
