// The linter's rules for all JavaScript of the repository: what its authors recommend. run.sh runs it in the repository's root.
import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['**/node_modules/', 'target/', 'src/web/vendor/'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: 'module' },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
  },
  // A field is taken out of a copy: `const { left, ...rest } = all`.
  { rules: { 'no-unused-vars': ['error', { ignoreRestSiblings: true }] } },
  { files: ['src/web/**/*.{js,jsx}'], languageOptions: { globals: globals.browser, parserOptions: { ecmaFeatures: { jsx: true } } } },
  { files: ['**/*.mjs'], languageOptions: { globals: globals.nodeBuiltin } },
  // Functions in these tests run in the page, which has these globals.
  {
    files: ['tests/browser/**', 'tests/examples/**'],
    languageOptions: {
      globals: { ...globals.browser, ...globals.nodeBuiltin, call: 'off', calls: 'readonly', refusedByPolicy: 'readonly', clicked: 'readonly' },
    },
  },
  { files: ['tests/browser/*.mjs'], languageOptions: { globals: { call: 'readonly', peer: 'readonly', room: 'readonly', shared: 'readonly' } } },
  { files: ['tests/examples/*.mjs'], languageOptions: { globals: { heard: 'readonly', hear: 'readonly', answer: 'readonly', map: 'readonly', room: 'readonly' } } },
];
