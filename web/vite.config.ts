import { defineConfig } from "vite";

// Everything is a file of its own: the content security policy allows nothing inline and no data: addresses.
export default defineConfig({
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8080", "/sign-in": "http://127.0.0.1:8080" } },
});
