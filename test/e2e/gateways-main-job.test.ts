/** The whole mission once more, with two door processes before the server. */
process.env.E2E_GATEWAYS = '2';
await import('./main-job.test.ts');
