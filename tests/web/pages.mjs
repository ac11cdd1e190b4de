// The documents of the repository.

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

const below = (folder) => readdirSync(join(root, folder), { withFileTypes: true })
  .flatMap((entry) => (entry.isDirectory() ? below(join(folder, entry.name)) : [join(folder, entry.name)]));

/** Their paths. */
export const documents = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', ...below('docs'), ...below('src/web')]
  .filter((path) => path.endsWith('.md'));

/** The text of a file. */
export const text = (path) => readFileSync(join(root, path), 'utf8');
