/**
 * The impact card as an SPDX 3.0.1 document (JSON-LD) with the AI profile: `ai_energyConsumption` of training and of one
 * inference. Source: https://spdx.github.io/spdx-spec/v3.0.1/model/AI/AI/. Quantities are decimals, as it demands.
 */
import type { ImpactCard } from './card.ts';

export function cardSpdx(card: ImpactCard) {
  const id = (name: string) => `urn:uuid:${card.versionId}#${name}`;
  const comment = [
    card.inference && `inference: the mean of single requests, ${known(card.inference)}`,
    card.training && `training: ${known(card.training)}`,
    ...Object.entries(card.unknown).map(([field, why]) => `${field} is not known: ${why}`),
    ...card.notes,
  ];
  const package_ = {
    type: 'ai_AIPackage',
    spdxId: id('model'),
    creationInfo: '_:creation',
    name: card.model,
    comment: comment.filter(Boolean).join('; '),
    software_packageVersion: String(card.version),
    software_primaryPurpose: 'model',
    software_downloadLocation: `urn:uuid:${card.versionId}`,
    releaseTime: seconds(card.createdAt),
    suppliedBy: id('owner'),
    verifiedUsing: [{ type: 'Hash', algorithm: 'sha256', hashValue: card.sha256 }],
    ...energyOf(card),
  };
  const creator = {
    type: 'SoftwareAgent',
    spdxId: id('commonwatt'),
    creationInfo: '_:creation',
    name: 'Commonwatt',
  };
  const owner = { type: 'Organization', spdxId: id('owner'), creationInfo: '_:creation', name: card.owner };
  return {
    '@context': 'https://spdx.org/rdf/3.0.1/spdx-context.jsonld',
    '@graph': [
      {
        type: 'CreationInfo',
        '@id': '_:creation',
        specVersion: '3.0.1',
        created: seconds(card.asOf),
        createdBy: [creator.spdxId],
      },
      creator,
      owner,
      package_,
      {
        type: 'SpdxDocument',
        spdxId: id('document'),
        creationInfo: '_:creation',
        name: `Impact of ${card.model}, version ${card.version}`,
        profileConformance: ['core', 'software', 'ai'],
        rootElement: [package_.spdxId],
        element: [package_.spdxId, owner.spdxId, creator.spdxId],
      },
    ],
  };
}

function energyOf({ training, inference }: ImpactCard) {
  const trained = training ? { ai_trainingEnergyConsumption: [kilowattHours(training.used.energyWh)] } : {};
  const asked = inference?.perRequest
    ? { ai_inferenceEnergyConsumption: [kilowattHours(inference.perRequest.energyWh)] }
    : {};
  if (!training && !inference?.perRequest) return {};
  return { ai_energyConsumption: { type: 'ai_EnergyConsumption', ...trained, ...asked } };
}

function kilowattHours(wh: number) {
  return {
    type: 'ai_EnergyConsumptionDescription',
    ai_energyQuantity: decimal(wh / 1000),
    ai_energyUnit: 'kilowattHour',
  };
}

/** xsd:decimal has no exponent: 1.5e-9 is 0.0000000015. */
export function decimal(value: number): string {
  const [, sign = '', digits = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? [];
  const all = digits + fraction;
  const point = digits.length + Number(exponent);
  const whole = point > 0 ? all.slice(0, point).padEnd(point, '0') : '0';
  const rest = point > 0 ? all.slice(point) : '0'.repeat(-point) + all;
  return `${sign}${whole}${rest === '' ? '' : `.${rest}`}`;
}

/** SPDX's times have no fractions of a second. */
const seconds = (iso: string) => `${new Date(iso).toISOString().slice(0, 19)}Z`;

function known({
  quality,
  method,
  methodVersion,
}: {
  quality: string;
  method: string;
  methodVersion: string;
}) {
  return `${quality} by ${method}, method version ${methodVersion}`;
}
