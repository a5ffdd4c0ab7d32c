import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../domain/errors.ts';
import { loadConfig } from '../../platform/config.ts';
import { freePort } from '../../platform/embedded/free-port.ts';
import { eventually } from './eventually.ts';
import { KAFKA_JARS, KAFKA_VERSION } from './kafka-jars.ts';

const MAVEN_CENTRAL = 'https://repo1.maven.org/maven2/';
const DOWNLOADS_AT_A_TIME = 6;

export interface TestBroker {
  /** `host:port` */
  readonly address: string;
  /** Ends the broker as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again, on the same port and data. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A real broker (KRaft, one node) for the caller alone, of Kafka's own jars from Maven Central, which are kept in the
 * machine's cache. Where there is no Java, or the jars cannot be had: says so on a line, and null.
 */
export async function startTestBroker(): Promise<TestBroker | null> {
  try {
    const { stderr } = await promisify(execFile)('java', ['-version']);
    const major = Number(/version "(\d+)/.exec(stderr)?.[1]);
    if (!(major >= 17)) throw new Error(`Kafka ${KAFKA_VERSION} needs Java 17, not ${stderr.split('\n')[0]}`);
    return await startBroker(await obtainJars());
  } catch (error) {
    console.error(`tests on Kafka are skipped: ${messageOf(error)}`);
    return null;
  }
}

/** @returns the folder that they lie in */
async function obtainJars(): Promise<string> {
  const folder = join(loadConfig().cacheDir, 'serin', 'kafka', KAFKA_VERSION);
  await mkdir(folder, { recursive: true });
  const next = KAFKA_JARS[Symbol.iterator]();
  const lane = async (): Promise<void> => {
    for (const [path, sha256] of next) await obtainJar(folder, path, sha256);
  };
  await Promise.all(Array.from({ length: DOWNLOADS_AT_A_TIME }, lane));
  return folder;
}

async function obtainJar(folder: string, path: string, sha256: string): Promise<void> {
  const target = join(folder, basename(path));
  if (
    await access(target).then(
      () => true,
      () => false,
    )
  )
    return;
  const response = await fetch(MAVEN_CENTRAL + path);
  if (!response.ok) throw new Error(`${MAVEN_CENTRAL}${path} answers ${response.status}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) throw new Error(`${path} has the SHA-256 ${found}, not ${sha256}`);
  const staged = `${target}.${process.pid}`;
  await writeFile(staged, bytes);
  await rename(staged, target);
}

async function startBroker(jars: string): Promise<TestBroker> {
  const dir = await mkdtemp(join(tmpdir(), 'serin-kafka-'));
  // below the ports of outgoing connections: a restart must find them free
  const [port, controllerPort] = [await freePort(), await freePort()];
  const config = join(dir, 'server.properties');
  await writeFile(config, properties(join(dir, 'data'), port, controllerPort));
  const java = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', join(jars, '*')];
  const clusterId = randomBytes(16).toString('base64url');
  const format = ['kafka.tools.StorageTool', 'format', '--standalone', '-t', clusterId, '-c', config];
  await promisify(execFile)('java', [...java, ...format]);

  const run = async () => {
    const child = spawn('java', [...java, 'kafka.Kafka', config], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    await eventually('the broker answers', async () => child.exitCode !== null || (await answers(port)), 60_000);
    if (child.exitCode !== null) throw new Error(`the broker ended with ${child.exitCode}`);
    const kill = async (): Promise<void> => {
      child.kill('SIGKILL');
      await ended;
    };
    return kill;
  };
  let kill = await run();
  return {
    address: `127.0.0.1:${port}`,
    kill: () => kill(),
    async restart() {
      kill = await run();
    },
    async close() {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function properties(data: string, port: number, controllerPort: number): string {
  return Object.entries({
    'process.roles': 'broker,controller',
    'node.id': 1,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': data,
    'log.retention.check.interval.ms': 500,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'auto.create.topics.enable': false,
  })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
