import { describe, expect, it } from 'vitest';
import { configSchema } from '../config.ts';
import { gridService } from '../energy/grid/testing/service.ts';
import { checkGrid } from './doctor-grid.ts';

const check = (energy: object) => checkGrid(configSchema.parse({ energy }), {});

describe('what the doctor says of the grid', () => {
  it('is what would be closer than a yearly average', async () => {
    expect(await check({})).toMatchObject({
      state: 'note',
      message: expect.stringContaining('472.94 gCO2e/kWh in WORLD (average, life-cycle, estimated)'),
      hint: expect.stringContaining('COMMONWATT_ZONE'),
    });
    expect((await check({ zone: 'DEU' })).hint).not.toContain('COMMONWATT_ZONE');
  });

  it('is which credentials are absent, and that a zone is not known', async () => {
    expect(await check({ grid: 'electricity-maps:DE' })).toMatchObject({
      state: 'problem',
      hint: expect.stringContaining('COMMONWATT_ELECTRICITY_MAPS_TOKEN'),
    });
    expect(await check({ zone: 'Atlantis' })).toMatchObject({ state: 'problem' });
  });

  it('is what a service answers when it is asked', async () => {
    const service = await gridService(() => ({ status: 500, body: '' }));
    const { url: baseUrl, asked } = service;
    const finding = await check({ grid: { sources: [{ type: 'carbonintensity-uk', baseUrl }] } });
    await service.close();
    expect(asked.length).toBeGreaterThan(0);
    expect(finding).toMatchObject({ state: 'note', hint: 'carbonintensity.org.uk answered 500' });
  });
});
