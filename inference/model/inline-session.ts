import type { SessionChoice } from './create-session.ts';
import { openOrtSession } from './ort-session.ts';
import type { TensorSession } from './tensor-session.ts';

/**
 * An ONNX Runtime session on the event loop, for a model whose creation and runs another thread has measured to be short.
 * @throws SerinError MODEL_FILE_INVALID
 */
export async function createInlineSession(
  { inputs, outputs, batched }: Pick<TensorSession, 'inputs' | 'outputs' | 'batched'>,
  path: string,
  name: string,
  choice: SessionChoice,
): Promise<TensorSession> {
  const session = await openOrtSession(path, name, choice);
  return { ...session, inputs, outputs, batched };
}
