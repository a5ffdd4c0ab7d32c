import { mkdir, writeFile } from 'node:fs/promises';
import { configurationTable } from '../platform/config.ts';

await mkdir('docs/reference', { recursive: true });
await writeFile('docs/reference/configuration.md', configurationTable());
