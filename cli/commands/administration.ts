import type { Command } from 'commander';
import type { OperationAnswer } from '../api-client.ts';
import { EXIT } from '../exit-codes.ts';
import { instant, print, table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

export function register(program: Command, { action }: CliContext): void {
  const audit = program.command('audit').description('the decision log');
  audit
    .command('verify')
    .description('check its hash chain from the first record')
    .addHelpText('after', '\nExample:\n  serin audit verify')
    .action(
      action<GlobalOptions>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ holds: true; records: number; head: string }>('audit/verify');
        print(
          output,
          answer,
          ({ records, head }) => `the decision log holds: ${records} records, head ${head.slice(0, 12)}`,
        );
      }),
    );
  audit
    .command('log')
    .description('who or what decided what')
    .option('--subject <subject>', 'such as rollout/flight-delay/2')
    .addHelpText('after', '\nExample:\n  serin audit log --subject rollout/flight-delay/2')
    .action(
      action<GlobalOptions & { subject?: string }>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{
          decisions: { seq: number; decidedAt: number; subject: string; kind: string; actor: string; reason: string }[];
        }>('decisions', { query: { subject: options.subject, limit: 500 } });
        print(output, answer, ({ decisions }) =>
          table(
            output,
            ['seq', 'at', 'subject', 'kind', 'actor', 'reason'],
            decisions.map((each) => [
              each.seq,
              instant(each.decidedAt),
              each.subject,
              each.kind,
              each.actor,
              each.reason,
            ]),
          ),
        );
      }),
    );

  const token = program.command('token').description('API tokens');
  token
    .command('create')
    .argument('<principal>')
    .description('make a token; it is shown this once')
    .requiredOption('--role <role...>', 'viewer, engineer, approver, operator, admin')
    .addHelpText('after', '\nExample:\n  serin token create mary --role engineer')
    .action(
      action<GlobalOptions & { role: string[] }>(async ({ output, options, args: [principal] }) => {
        const { api } = await openSession(options, 'admin');
        const answer = await api.post<{ principal: string; roles: string[]; token: string }>('tokens', {
          principal,
          roles: options.role,
        });
        print(output, answer, (made) => made.token);
      }),
    );
  token
    .command('revoke')
    .argument('<principal>')
    .description('revoke every token of a principal')
    .addHelpText('after', '\nExample:\n  serin token revoke mary')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [principal] }) => {
        const { api } = await openSession(options, 'admin');
        const answer = await api.delete<{ principal: string; revoked: number }>(`tokens/${principal}`);
        print(output, answer, ({ revoked }) => `${revoked} revoked`);
      }),
    );

  program
    .command('operation')
    .argument('<id>', 'the id of a workflow')
    .description('how far a workflow has come; ends with 8 while it runs')
    .option('--wait', 'until it has ended')
    .addHelpText('after', '\nExample:\n  serin operation ingest/flights/2001-01')
    .action(
      action<GlobalOptions & { wait?: boolean }>(async ({ output, options, args: [id] }) => {
        const { api } = await openSession(options, 'viewer');
        const answer =
          options.wait === true
            ? await api.follow(id!)
            : await api.get<OperationAnswer>(`operations/${encodeURIComponent(id!)}`);
        print(output, answer, ({ workflowId, status, result, problem, links }) =>
          [
            `${workflowId} is ${status}`,
            ...(problem === undefined ? [] : [problem.detail]),
            ...(result === undefined ? [] : [JSON.stringify(result, null, 2)]),
            links.temporal,
          ].join('\n'),
        );
        if (answer.status === 'running') return EXIT.running;
        return answer.status === 'completed' ? EXIT.done : EXIT.failed;
      }),
    );
}
