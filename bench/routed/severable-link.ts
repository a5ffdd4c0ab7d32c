import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';

export interface SeverableLink {
  /** `target`, reached through the link. */
  readonly url: string;
  /** Breaks every connection and takes no new one. */
  sever(): Promise<void>;
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** A TCP relay in front of a server that can be taken away and given back. */
export async function openSeverableLink(target: string): Promise<SeverableLink> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<net.Socket>();
  const relay = (client: net.Socket): void => {
    const server = net.connect(Number(port), hostname);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from
        .on('error', () => to.destroy())
        .on('close', () => {
          sockets.delete(from);
          to.destroy();
        });
    }
  };
  let listener = net.createServer(relay).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port: own } = listener.address() as AddressInfo;
  const url = new URL(target);
  url.host = `127.0.0.1:${own}`;
  const sever = async (): Promise<void> => {
    if (!listener.listening) return;
    const closed = once(listener, 'close');
    listener.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    url: url.href,
    sever,
    async restore() {
      listener = net.createServer(relay).listen(own, '127.0.0.1');
      await once(listener, 'listening');
    },
    close: sever,
  };
}
