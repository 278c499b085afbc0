// How the TypeScript client is generated: ES modules, for wherever there is a `fetch`.
export default {
  input: process.env.LATCHKEY_DOCUMENT,
  output: { path: 'src', importFileExtension: '.js' },
  plugins: ['@hey-api/client-fetch'],
}
