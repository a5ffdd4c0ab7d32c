import type { FastifyInstance, FastifyReply } from 'fastify';
import { SerinError } from '../domain/errors.ts';

export interface AllowedMethods {
  /** What a request that met no route is told: 405 with the methods of its path (in `Allow`, too), or 404. */
  refuse(request: { readonly method: string; readonly url: string }, reply: FastifyReply): SerinError;
}

interface Path {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

/** Learns the routes of a server. Must be called before they are registered. */
export function learnMethods(app: FastifyInstance): AllowedMethods {
  const paths = new Map<string, Path>();
  app.addHook('onRoute', ({ url, method }) => {
    if (url.includes('*')) return;
    let path = paths.get(url);
    if (path === undefined) {
      const pattern = url
        .split('/')
        .map((part) => (part.startsWith(':') ? '[^/]+' : part.replace(/[.+]/g, '\\$&')))
        .join('/');
      paths.set(url, (path = { pattern: new RegExp(`^${pattern}$`), methods: new Set() }));
    }
    for (const each of [method].flat()) path.methods.add(each);
  });
  return {
    refuse({ method, url }, reply) {
      const path = url.split('?', 1)[0]!;
      const methods = [...paths.values()].flatMap((each) => (each.pattern.test(path) ? [...each.methods] : []));
      // a path that looks right and was not found all the same has a name that is none
      if (methods.length === 0 || methods.includes(method))
        return new SerinError('NOT_FOUND', `nothing answers ${method} ${path}`);
      const allowed = [...new Set(methods)].sort().join(', ');
      void reply.header('allow', allowed);
      return new SerinError('METHOD_NOT_ALLOWED', `${method} ${path} is not answered; it takes ${allowed}`);
    },
  };
}
