import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig, type UserConfig } from 'vite';

const config: UserConfig = defineConfig({
  root: 'src/web',
  // Relative, so that the page also works below a prefix of a reverse proxy.
  base: './',
  plugins: [react()],
  // What jmuxer has for Node.js alone.
  resolve: { alias: { stream: fileURLToPath(new URL('src/web/no-stream.ts', import.meta.url)) } },
  build: {
    outDir: '../../page',
    emptyOutDir: true,
    target: 'es2023',
    // The page's security policy allows no data: addresses.
    assetsInlineLimit: 0,
    // Licences of what the page contains; the font's is in src/web/public.
    license: { fileName: 'licenses.md' },
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
});

export default config;
