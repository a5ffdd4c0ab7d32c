/** Admission as hooks of the HTTP routes that compute something: before the body of a request is read, and while it is. */
import { finished, Transform } from 'node:stream';
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  onRequestHookHandler,
  preParsingHookHandler,
} from 'fastify';
import { PROBLEM_TYPE, sayWhenToRetry } from '../../platform/http-server.ts';
import type { Door, Ticket } from './admission.ts';
import { NORMAL } from './priority.ts';
import { errorOfRefusal, problemRefusal, protocolRefusal, type Refusal, statusOfRefusal } from './refusal.ts';

declare module 'fastify' {
  interface FastifyRequest extends Ticket {}
}

/** Writes a refusal in the form of the protocol at hand. */
export type RefusalWriter = (refusal: Refusal, request: FastifyRequest, reply: FastifyReply) => string;

/** Gives every request of the server room for its ticket. */
export function decorateTickets(app: FastifyInstance): void {
  app.decorateRequest('arrivedMs', 0);
  app.decorateRequest('deadlineMs', Infinity);
  app.decorateRequest('priority', NORMAL);
}

export interface DoorHooks {
  readonly onRequest: onRequestHookHandler;
  readonly preParsing: preParsingHookHandler;
}

/** For routes whose path names the model. */
export function doorHooks(door: Door, write: RefusalWriter): DoorHooks {
  return { onRequest: admitHook(door, write), preParsing: bodyHook(door) };
}

function admitHook(door: Door, write: RefusalWriter): onRequestHookHandler {
  return (request, reply, done) => {
    let refusal: Refusal | null;
    try {
      const { model } = request.params as { model: string };
      refusal = door.admit(request, request.raw, model, performance.now());
    } catch (error) {
      done(error as Error);
      return;
    }
    if (refusal === null) {
      done();
      return;
    }
    sayWhenToRetry(reply, refusal.retryAfterMs);
    void reply.code(statusOfRefusal(refusal)).send(write(refusal, request, reply));
  };
}

function bodyHook(door: Door): preParsingHookHandler {
  return (_request, reply, payload, done) => {
    let heldBytes = 0;
    const counted = new Transform({
      transform(piece: Buffer, _encoding, next) {
        const refusal = door.hold(piece.length);
        if (refusal !== null) {
          next(errorOfRefusal(refusal));
          return;
        }
        heldBytes += piece.length;
        next(null, piece);
      },
    });
    finished(reply.raw, () => door.letGo(heldBytes));
    payload.once('error', (error) => counted.destroy(error));
    // what is left of a refused body is read and dropped: the connection stays usable
    counted.once('error', () => payload.resume());
    done(null, payload.pipe(counted));
  };
}

/** As the Open Inference Protocol has it. */
export const writeProtocolRefusal: RefusalWriter = (refusal, _request, reply) => {
  void reply.type('application/json; charset=utf-8');
  return protocolRefusal(refusal);
};

/** As problem+json, like every other error of the product routes. */
export const writeProblemRefusal: RefusalWriter = (refusal, request, reply) => {
  void reply.type(PROBLEM_TYPE);
  return problemRefusal(refusal, request.url);
};
