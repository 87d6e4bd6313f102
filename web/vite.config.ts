import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react()],
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    // The server's content security policy allows nothing but its own files: no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // For work on the page alone: `npx vite web`, with a server beside it.
  server: { proxy: { '/api': 'http://127.0.0.1:8080', '/v2': 'http://127.0.0.1:8080' } },
});
