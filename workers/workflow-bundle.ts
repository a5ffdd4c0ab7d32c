import { fileURLToPath } from 'node:url';
import { compiledModule } from '../domain/compiled-module.ts';

/** Where the build leaves the bundled workflows. */
export const WORKFLOW_BUNDLE = fileURLToPath(compiledModule(import.meta.url, './workflow-bundle/workflows.ts'));
