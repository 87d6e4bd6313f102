// Dependencies point down only (DESIGN §2): doors → decisions and services → machinery.
const rooms = (names) => `^dist/(${names.join('|')})/`;
const doors = ['api', 'cli'];
const services = ['gate', 'serve', 'models', 'datasets', 'jobs', 'training', 'quality', 'explain', 'energy'];
const machinery = ['runtimes', 'vault', 'storage', 'telemetry'];
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'services-never-call-doors',
      severity: 'error',
      from: { path: rooms(services) },
      to: { path: rooms(doors) },
    },
    {
      name: 'machinery-knows-no-service',
      severity: 'error',
      from: { path: rooms(machinery) },
      to: { path: rooms([...doors, ...services]) },
    },
    {
      name: 'only-the-entry-knows-the-whole',
      severity: 'error',
      from: { path: rooms([...doors.filter((d) => d !== 'cli'), ...services, ...machinery]) },
      to: { path: '^dist/(app|main)\\.js$' },
    },
    {
      name: 'the-command-line-is-a-client',
      severity: 'error',
      from: { path: '^dist/cli/', pathNot: '^dist/cli/(up|doctor|example|calc|calibrate)' },
      to: { path: rooms([...services, ...machinery]) },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },

    // The built files are checked: what is imported for its type only is gone there, and makes no dependency.
    exclude: { path: '\\.test\\.js$' },
  },
};
